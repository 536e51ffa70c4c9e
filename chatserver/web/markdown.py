"""Markdown in, safe HTML out: whole messages here, growing ones as a stream of blocks."""

from __future__ import annotations

import asyncio
import html
from collections import OrderedDict
from typing import Any

from chatserver import words
from chatserver.web.dialect import TooMuchMarkup, Writer, normalised, parse
from chatserver.words import gettext as _

# Above either of these a message is shown as it was written.
RENDERED_CHARS = 256_000
RENDERED_WEIGHT = 150_000
REMEMBERED_CHARS = 8_000_000
# Heavier than this, some 20 ms, a message is not drawn between two requests.
HEAVY_WEIGHT = 20_000


def weight(text: str) -> int:
    """About how many microseconds rendering takes at worst, from counts alone. A table cell costs most."""
    count = text.count
    return (
        len(text) // 4
        + 10 * (count("\n") + count("\n- ") + count("[") + count("://"))
        + 7 * (count("|") + count("*") + count("_") + count("~"))
        + 3 * (count("`") + count("<") + count("&") + count("\\") + count("!") + count("]"))
        + 30 * count("$")
    )


def plain(text: str) -> str:
    """The text as it was written."""
    return f'<pre class="plain" dir="auto">{html.escape(text, quote=False)}</pre>'


def render_now(text: str, writer: Writer | None = None, cites: frozenset[int] = frozenset()) -> str:
    """Safe HTML of a whole message, made anew. A message over the limits comes back as plain text. cites: as of a
    Writer."""
    if len(text) > RENDERED_CHARS:
        return plain(text)
    text = normalised(text)
    if weight(text) > RENDERED_WEIGHT:
        return plain(text)
    writer = writer or Writer(cites)
    references: dict[str, Any] = {}
    try:
        blocks, references, _ = parse(text, references)
    except TooMuchMarkup:
        return plain(text)
    return "".join(writer.html_of(block, references) for block in blocks)


_Words = tuple[str, frozenset[int]]
"""A text, and the numbers in it that stand for sources."""


class _Remembered:
    """The messages rendered last, since a page is opened more often than it changes."""

    def __init__(self) -> None:
        self._pages: OrderedDict[_Words, str] = OrderedDict()
        self._chars = 0

    def find(self, text: _Words) -> str | None:
        page = self._pages.get(text)
        if page is not None:
            self._pages.move_to_end(text)
        return page

    def keep(self, text: _Words, page: str) -> None:
        if text in self._pages:
            return
        self._pages[text] = page
        self._chars += len(text[0]) + len(page)
        while self._chars > REMEMBERED_CHARS and len(self._pages) > 1:
            old_text, old_page = self._pages.popitem(last=False)
            self._chars -= len(old_text[0]) + len(old_page)


_remembered = _Remembered()


def render(text: str, cites: frozenset[int] = frozenset()) -> str:
    """Safe HTML of a whole message. At most some 200 ms, for a long one that was not prepared. cites: the numbers in
    brackets that stand for sources; an empty `<a data-cite="2">` is left where one stands."""
    page = _remembered.find((text, cites))
    if page is None:
        page = render_now(text, cites=cites)
        _remembered.keep((text, cites), page)
    return page


async def prepare(*texts: str) -> None:
    """Draw what is heavy in a thread, so that `render` finds it and holds nobody up. Light texts cost nothing here."""
    for text in texts:
        if weight(text) > HEAVY_WEIGHT and _remembered.find((text, frozenset())) is None:
            _remembered.keep((text, frozenset()), await asyncio.to_thread(render_now, text))


def in_words(markup: str) -> str:
    """Rendered text with its few labels in the language that is spoken. Text is rendered once for all its readers, in
    English; what models write can hold no such attribute, because quotes in it are escaped."""
    if words.language() == words.DEFAULT:
        return markup
    for label, told in ((' aria-label="Table"', _("Table")), (' aria-label="Copy code"', _("Copy code"))):
        if label in markup:
            markup = markup.replace(label, f' aria-label="{html.escape(told)}"')
    return markup
