"""What is known of a reply beside its text: figures, the way it came, and what was sent for it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from chatserver import words
from chatserver.domain.calls import Attempt
from chatserver.domain.messages import FilePart, ImagePart, ToolCallPart, ToolResultPart, text_of
from chatserver.domain.prompts import SentMessage, SentPrompt
from chatserver.domain.turns import Turn
from chatserver.web.views.times import seconds_text
from chatserver.words import gettext as _
from chatserver.words import ngettext

SHOWN_AT_ONCE = 60
"""Messages of a prompt in the dialog; the page shows all of them."""
BEGIN_CHARS = 90


class Fact(msgspec.Struct, frozen=True):
    name: str
    text: str


class SentView(msgspec.Struct, frozen=True):
    """A message as it was sent. begin: its first words, for the line one opens it by."""

    role: str
    begin: str
    size: str
    text: str
    files: tuple[str, ...]
    is_hidden: bool
    is_open: bool


class OfferedTool(msgspec.Struct, frozen=True):
    name: str
    description: str


class PromptView(msgspec.Struct, frozen=True):
    """start: the number of the first message shown; before: how many stand above it, in words, '' for none."""

    about: str
    notes: tuple[str, ...]
    facts: tuple[Fact, ...]
    messages: tuple[SentView, ...]
    start: int
    before: str
    tools: tuple[OfferedTool, ...]
    all_href: str
    json_href: str


def reply_facts(turn: Turn, title: str) -> tuple[Fact, ...]:
    """Figures of a reply that was written here. title: the name people know its model by."""
    usage = turn.usage
    read = usage.input + usage.cached + usage.cache_write
    facts = [Fact(_("Model"), title or turn.model)]
    if turn.attempts:
        facts.append(Fact(_("Answered by") if turn.state == "done" else _("Asked"), turn.attempts[-1].channel))
    if read:
        cached = ""
        if usage.cached:
            cached = " · " + _("{count} from the cache").format(count=words.number_text(usage.cached))
        facts.append(Fact(_("Read"), _tokens(read, usage.estimated) + cached))
    if usage.reasoning:
        facts.append(Fact(_("Thought"), _tokens(usage.reasoning, usage.estimated)))
    if usage.output:
        facts.append(Fact(_("Written"), _tokens(usage.output, usage.estimated)))
    facts += _time_facts(turn)
    if len(turn.attempts) > 1:
        facts.append(Fact(_("Tries"), " · ".join(f"{one.channel}: {outcome_text(one)}" for one in turn.attempts)))
    return tuple(facts)


def prompt_view(sent: SentPrompt, title: str, *, whole: bool) -> PromptView:
    """What was sent, for its owner. whole: every message, else the last ones."""
    total = len(sent.messages)
    shown = sent.messages if whole else sent.messages[-SHOWN_AT_ONCE:]
    above = total - len(shown)
    tokens = sum(one.tokens for one in sent.messages)
    before = ngettext("{count} earlier message", "{count} earlier messages", above) if above else ""
    return PromptView(
        about=_("{messages}, about {tokens}, as the model was given them.").format(
            messages=ngettext("{count} message", "{count} messages", total).format(count=words.number_text(total)),
            tokens=_tokens(tokens),
        ),
        notes=_notes(sent),
        facts=_sent_facts(sent, title),
        messages=tuple(
            _sent_view(one, sent.unseen, is_open=number == len(shown)) for number, one in enumerate(shown, 1)
        ),
        start=above + 1,
        before=before.format(count=words.number_text(above)),
        tools=tuple(OfferedTool(tool.name, tool.description) for tool in sent.tools),
        all_href=f"/t/{sent.turn.id}/prompt?all=1",
        json_href=f"/api/turns/{sent.turn.id}/prompt",
    )


def outcome_text(attempt: Attempt) -> str:
    """How a try on a channel went, in a word or two."""
    texts = {
        "done": _("answered"),
        "cancelled": _("stopped"),
        "timeout": _("too slow"),
        "connect": _("not reached"),
        "rate_limit": _("busy"),
        "overloaded": _("busy"),
        "cut": _("broke off"),
        "key_refused": _("key refused"),
        "pair_refused": _("refused"),
        "content": _("declined"),
        "too_long": _("too long"),
    }
    took = seconds_text(max(0, attempt.ended_at - attempt.started_at) // 1000)
    return f"{texts.get(attempt.outcome, _('failed'))}, {took}"


def _time_facts(turn: Turn) -> list[Fact]:
    facts = []
    first = (turn.first_token_at - turn.created_at) // 1000 if turn.first_token_at else None
    whole = (turn.ended_at - turn.created_at) // 1000 if turn.ended_at else None
    if first is not None:
        facts.append(Fact(_("First word after"), seconds_text(first)))
    if whole is not None:
        facts.append(Fact(_("Took"), seconds_text(whole)))
    written = turn.usage.output + turn.usage.reasoning
    if first is not None and whole is not None and whole - first > 200 and written > 8:
        speed = words.number_text(round(written * 1000 / (whole - first)))
        facts.append(Fact(_("Speed"), _("{count} tok/s").format(count=speed)))
    return facts


def _sent_facts(sent: SentPrompt, title: str) -> tuple[Fact, ...]:
    facts = [Fact(_("Model"), title or sent.turn.model)]
    if sent.turn.attempts:
        tries = (f"{one.channel}: {outcome_text(one)}" for one in sent.turn.attempts)
        facts.append(Fact(_("By way of"), " · ".join(tries)))
    names = {"temperature": _("Temperature"), "reasoning_effort": _("Reasoning effort")}
    if sent.max_output:
        facts.append(Fact(_("Longest answer"), _tokens(sent.max_output)))
    for name, value in sent.parameters.items():
        if name != "max_output":
            facts.append(Fact(names.get(name, name), value if isinstance(value, str) else _plain(value)))
    return tuple(facts)


def _notes(sent: SentPrompt) -> tuple[str, ...]:
    notes = []
    left_out = sent.turn.left_out
    if left_out:
        text = ngettext(
            "{count} earlier message did not fit and was left out.",
            "{count} earlier messages did not fit and were left out.",
            left_out,
        )
        notes.append(text.format(count=words.number_text(left_out)))
    if sent.is_cleared:
        notes.append(_("The context was cleared above: nothing from before was sent."))
    if not sent.is_exact:
        notes.append(_("Another version of the server sent this; it is shown as nearly as this one can."))
    return tuple(notes)


def _sent_view(one: SentMessage, unseen: Sequence[str], *, is_open: bool) -> SentView:
    roles = {"system": _("System"), "user": _("You"), "assistant": _("Assistant"), "tool": _("Tool")}
    is_hidden = one.source == "hidden"
    pieces = [text_of(one.message.parts)]
    files = []
    for part in one.message.parts:
        if isinstance(part, ToolCallPart):
            pieces.append(f"{part.name} {part.arguments}")
        elif isinstance(part, ToolResultPart):
            pieces.append(part.text)
        elif isinstance(part, FilePart):
            files.append(part.name or _("A file"))
        elif isinstance(part, ImagePart):
            name = part.alt or _("A picture")
            files.append(_("{name}, by name only").format(name=name) if part.file_id in unseen else name)
    text = "\n\n".join(piece for piece in pieces if piece)
    begin = " ".join(text[: BEGIN_CHARS * 2].split())[:BEGIN_CHARS]
    return SentView(
        role=roles.get(one.message.role, one.message.role),
        begin=_("An instruction that is not shown") if is_hidden else begin,
        size=_tokens(one.tokens),
        text=text,
        files=tuple(files),
        is_hidden=is_hidden,
        is_open=is_open,
    )


def _tokens(count: int, is_estimated: bool = False) -> str:
    text = ngettext("{count} token", "{count} tokens", count).format(count=words.number_text(count))
    return "≈ " + text if is_estimated else text


def _plain(value: object) -> str:
    return msgspec.json.encode(value).decode()
