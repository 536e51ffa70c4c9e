"""Cards in place of stretches of a message: asked of plugins before rendering, the stretch folds behind its card."""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec
from markupsafe import Markup

from chatserver import words
from chatserver.domain.access import Account
from chatserver.domain.continued import texts_above
from chatserver.domain.conversations import PathView
from chatserver.domain.covers import Cover, CoverContext
from chatserver.domain.messages import Message, text_of
from chatserver.domain.shares import SharedPage
from chatserver.web import templating
from chatserver.web.figures import figure
from chatserver.web.markdown import render
from chatserver.web.views.sources import numbers_of

# Stands in the text for what is covered until it is rendered; private letters, which no message keeps.
_OPEN, _CLOSE = "\ue010", "\ue011"


class Hooks(Protocol):
    """What is needed of the plugin manager here."""

    def has(self, hook: str) -> bool: ...
    async def gather(self, hook: str, **arguments: Any) -> list[Any]: ...


async def dress(plugins: Hooks, account: Account, path: PathView) -> dict[str, str]:
    """The HTML of those messages that plugins put cards in, by id; costs nothing where no plugin does."""
    return await _dress(plugins, account, path.conversation.id, [item.message for item in path.items])


async def dress_shared(plugins: Hooks, owner: Account, page: SharedPage) -> dict[str, str]:
    """The same for whoever reads a share: cards that lead nowhere."""
    shown = [item.message for item in page.items]
    return await _dress(plugins, owner, page.share.conversation_id, shown, is_shared=True)


async def _dress(
    plugins: Hooks, account: Account, conversation_id: str, shown: Sequence[Message], *, is_shared: bool = False
) -> dict[str, str]:
    messages = tuple(one for one in shown if one.role == "assistant" and one.state != "running")
    if not messages or not plugins.has("cover_text"):
        return {}
    context = CoverContext(account, conversation_id, messages, words.language(), is_shared)
    covers: defaultdict[str, list[Cover]] = defaultdict(list)
    for cover in await plugins.gather("cover_text", context=context):
        covers[cover.message_id].append(cover)
    return await asyncio.to_thread(_render_all, shown, covers) if covers else {}


def _render_all(shown: Sequence[Message], covers: Mapping[str, Sequence[Cover]]) -> dict[str, str]:
    above = texts_above(shown)
    rendered: dict[str, str] = {}
    known: dict[str, list[Cover]] = {}
    for message in shown:
        before, placed = above.get(message.id, ""), list(covers.get(message.id, ()))
        if message.id in above:
            placed = _across(len(before), known[message.parent_id or ""], placed)
        known[message.id] = placed
        if placed and message.state != "running":
            rendered[message.id] = render_covered(before + text_of(message.parts), placed, numbers_of(message.parts))
    return rendered


def _across(cut: int, above: Sequence[Cover], own: Sequence[Cover]) -> list[Cover]:
    """The cards of a reply that goes on from another's words. What the cut went through is one stretch with what
    follows, of which the plugin saw the halves: neither has a card."""
    whole = [cover for cover in above if cover.end < cut]
    if len(whole) < len(above):
        return whole
    return whole + [msgspec.structs.replace(one, start=one.start + cut, end=one.end + cut) for one in own]


def render_covered(text: str, covers: Sequence[Cover], cites: frozenset[int] = frozenset()) -> str:
    """Safe HTML of a message with its cards. One that lies outside the text, or in another, is left out; a message too
    heavy to be drawn has none. cites: as render takes them."""
    text = text.replace(_OPEN, "\ufffd")
    pieces: list[str] = []
    kept: list[Cover] = []
    at = 0
    for cover in sorted(covers, key=lambda one: one.start):
        if not at <= cover.start < cover.end <= len(text):
            continue
        indent = re.match(" {0,3}", text[cover.start : cover.start + 3])
        margin = indent[0] if indent else ""
        before = text[at : cover.start]
        gap = "" if not before or before.endswith("\n") else "\n"
        pieces.append(f"{before}{gap}{margin}```\n{margin}{_mark(len(kept))}\n{margin}```\n")
        kept.append(cover)
        at = cover.end
    markup = render("".join(pieces) + text[at:].removeprefix("\n"), cites)
    for number, cover in enumerate(kept):
        stand_in = figure(f"{_mark(number)}\n", "", is_finished=True, is_coloured=True)
        if stand_in not in markup:
            return render(text, cites)
        markup = markup.replace(stand_in, _paint(cover))
    return markup


def _mark(number: int) -> str:
    return f"{_OPEN}{number}{_CLOSE}"


def _paint(cover: Cover) -> str:
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", cover.source)), default=0))
    source = render(f"{fence}{' '.join(cover.language.split())}\n{cover.source}\n{fence}\n")
    return templating.render("cover.html", cover=cover, source=Markup(source))
