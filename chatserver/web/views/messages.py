"""One message as an article."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import tzinfo

import msgspec
from markupsafe import Markup

from chatserver import words
from chatserver.domain.continued import moved_down, texts_above
from chatserver.domain.conversations import PathItem
from chatserver.domain.messages import Message, ReasoningPart, reasoning_of, text_of
from chatserver.domain.turns import Turn
from chatserver.web.views.attachments import AttachmentView, attachment_views
from chatserver.web.views.frame import Problem, problem_title
from chatserver.web.views.sources import SourceView, numbers_of, source_views, sources_inside, with_chips
from chatserver.web.views.times import clock_text, iso, seconds_text
from chatserver.web.views.tools import ToolView, tool_views
from chatserver.words import gettext as _
from chatserver.words import ngettext

LANES = 5
"""Colours of the rail; a branch takes the one of its place among its siblings."""


NEAR = 2
"""Messages at the end of a chat that come with all their buttons: the last question and its answer."""

Render = Callable[..., str]
"""Markdown to safe HTML; a second argument names the numbers that stand for sources."""


class Versions(msgspec.Struct, frozen=True):
    """Where a message stands among its siblings, counted from one; an empty href means there is none that way."""

    index: int
    total: int
    previous_href: str = ""
    next_href: str = ""


class MessageView(msgspec.Struct, frozen=True):
    """One article. html and its like are safe, `open` being the block still written; `text` is what was written, all of
    a continued reply in its last article. Durations in ms, None unknown."""

    id: str
    conversation_id: str
    role: str
    state: str
    author: str
    text: str = ""
    html: str = ""
    open_html: str = ""
    reasoning_html: str = ""
    reasoning_open_html: str = ""
    model: str = ""
    time: str = ""
    time_iso: str = ""
    versions: Versions | None = None
    turn_id: str = ""
    seq: int = 0
    tokens: int = 0
    is_estimated: bool = False
    first_token_ms: int | None = None
    duration_ms: int | None = None
    reasoning_ms: int | None = None
    tokens_per_s: int = 0
    tools: tuple[ToolView, ...] = ()
    tools_html: str = ""
    tools_open_html: str = ""
    problem: Problem | None = None
    continues: bool = False
    is_continued: bool = False
    cleared_after: bool = False
    left_out: int = 0
    lane: int = 1
    is_last: bool = False
    attachments: tuple[AttachmentView, ...] = ()
    verdict: str = ""
    sources: tuple[SourceView, ...] = ()
    is_far: bool = False
    """Far above the end, where one seldom does anything: its buttons are made by a script."""

    @property
    def is_running(self) -> bool:
        return self.state == "running"

    @property
    def can_continue(self) -> bool:
        return self.is_last and self.state in ("stopped", "interrupted") and bool(self.text or self.tools)


def message_view(
    item: PathItem,
    *,
    render: Render,
    titles: Mapping[str, str] | None = None,
    zone: tzinfo | None = None,
    lane: int = 1,
    is_last: bool = True,
    is_continued: bool = False,
    is_far: bool = False,
    dressed: Mapping[str, str] | None = None,
    above: str = "",
    is_moved: bool = False,
) -> MessageView:
    """One article of the page. render: Markdown to safe HTML; titles: the name people know a model by; dressed: safe
    HTML that was made already, by message. above: the words it goes on from; is_moved: its own are read below."""
    message, turn = item.message, item.turn
    is_reply = message.role == "assistant"
    text = "" if is_moved else above + text_of(message.parts)
    reasoning = reasoning_of(message.parts)
    first_ms, duration_ms = _turn_times(turn)
    html, sources = written(message, text, render, made=(dressed or {}).get(message.id, ""))
    usage = turn.usage if turn else None
    tokens = usage.output + usage.reasoning if usage else 0
    speaking_ms = duration_ms - first_ms if first_ms is not None and duration_ms is not None else 0
    return MessageView(
        id=message.id,
        conversation_id=message.conversation_id,
        role=message.role,
        state=message.state,
        author=author_of(message, titles or {}),
        text=text,
        html=html,
        reasoning_html=render(reasoning) if reasoning else "",
        model=message.model,
        time=clock_text(message.created_at, zone),
        time_iso=iso(message.created_at),
        versions=_versions(item),
        turn_id=turn.id if turn and message.state == "running" else "",
        tokens=tokens,
        is_estimated=bool(usage and usage.estimated),
        first_token_ms=first_ms,
        duration_ms=duration_ms,
        reasoning_ms=next(
            (p.duration_ms for p in message.parts if isinstance(p, ReasoningPart) and p.duration_ms), None
        ),
        tokens_per_s=round(tokens * 1000 / speaking_ms) if tokens > 8 and speaking_ms > 200 else 0,
        tools=tool_views(message.parts),
        problem=_reply_problem(message, turn) if is_reply else None,
        continues=message.continues,
        is_continued=is_continued,
        cleared_after=message.cleared_after,
        left_out=turn.left_out if turn else 0,
        lane=lane,
        is_last=is_last,
        attachments=attachment_views(message.parts),
        verdict=item.verdict,
        sources=sources,
        is_far=is_far,
    )


def written(
    message: Message, text: str, render: Render, *, is_inside: bool = False, made: str = ""
) -> tuple[str, tuple[SourceView, ...]]:
    """A reply's words with its chips, and its sources; nothing of what a person wrote. is_inside: chips lead to the
    list below. made: the words, rendered already."""
    if message.role != "assistant" or not text:
        return "", ()
    sources = sources_inside(message) if is_inside else source_views(message)
    if not sources:
        return made or render(text), ()
    return with_chips(made or render(text, numbers_of(message.parts)), sources)


def message_views(
    items: Sequence[PathItem],
    *,
    render: Render,
    titles: Mapping[str, str] | None = None,
    zone: tzinfo | None = None,
    ends_here: bool = True,
    dressed: Mapping[str, str] | None = None,
) -> tuple[MessageView, ...]:
    """The articles of a path in order. A fork changes the colour of the rail. ends_here: the last item is the tip."""
    views = []
    lane = 1
    path = [item.message for item in items]
    above, moved = texts_above(path), moved_down(path)
    for position, item in enumerate(items):
        if len(item.versions) > 1:
            lane = 1 + item.versions.index(item.message.id) % LANES
        following = items[position + 1] if position + 1 < len(items) else None
        views.append(
            message_view(
                item,
                render=render,
                titles=titles,
                zone=zone,
                lane=lane,
                is_last=ends_here and following is None,
                is_continued=following is not None and following.message.continues,
                is_far=len(items) - position > NEAR or not ends_here,
                dressed=dressed,
                above=above.get(item.message.id, ""),
                is_moved=item.message.id in moved,
            )
        )
    return tuple(views)


def figures(message: MessageView) -> tuple[str, ...]:
    """The small line below a reply: tokens, speed, time to the first of them. A narrow page shows the first two."""
    parts = []
    if message.tokens:
        count = words.number_text(message.tokens)
        text = ngettext("{count} token", "{count} tokens", message.tokens).format(count=count)
        parts.append("≈ " + text if message.is_estimated else text)
    if message.tokens_per_s:
        parts.append(_("{count} tok/s").format(count=words.number_text(message.tokens_per_s)))
    if message.first_token_ms is not None:
        parts.append(_("first token {time}").format(time=seconds_text(message.first_token_ms)))
    return tuple(parts)


def thought_text(message: MessageView) -> str:
    if message.is_running:
        return _("Thinking…")
    if message.reasoning_ms:
        return _("Thought for {time}").format(time=seconds_text(message.reasoning_ms))
    return _("Thoughts")


def plain_html(text: str) -> Markup:
    """What a person wrote, escaped; its line breaks are kept by the style sheet."""
    return Markup.escape(text)


def author_of(message: Message, titles: Mapping[str, str]) -> str:
    """Whose message it is, in words. titles: the name people know a model by."""
    if message.role == "assistant":
        return titles.get(message.model, message.model) or _("Assistant")
    return {"system": _("System"), "tool": _("Tool")}.get(message.role, _("You"))


def _turn_times(turn: Turn | None) -> tuple[int | None, int | None]:
    if turn is None:
        return None, None
    first = (turn.first_token_at - turn.created_at) // 1000 if turn.first_token_at else None
    whole = (turn.ended_at - turn.created_at) // 1000 if turn.ended_at else None
    return first, whole


def _versions(item: PathItem) -> Versions | None:
    ids = item.versions
    if len(ids) < 2:
        return None
    here = ids.index(item.message.id)
    base = f"/c/{item.message.conversation_id}"
    return Versions(
        index=here + 1,
        total=len(ids),
        previous_href=f"{base}/{ids[here - 1]}/latest" if here > 0 else "",
        next_href=f"{base}/{ids[here + 1]}/latest" if here + 1 < len(ids) else "",
    )


def _reply_problem(message: Message, turn: Turn | None) -> Problem | None:
    """Why a reply is not whole, in words. A stopped one is no problem: the person wanted it so."""
    if message.state == "interrupted":
        text = (
            turn.error.message if turn and turn.error else _("What had arrived is kept. Continue picks up from here.")
        )
        return Problem(_("The answer was cut off"), text, code="interrupted")
    if message.state == "failed":
        code = turn.error.code if turn and turn.error else "failed"
        text = turn.error.message if turn and turn.error else _("Try again, or pick another model.")
        return Problem(problem_title(code) or _("No answer came"), text, code=code)
    return None
