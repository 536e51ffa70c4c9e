"""Markdown in, safe HTML out: whole messages here, growing ones as a stream of blocks."""

from __future__ import annotations

import html
from collections import OrderedDict
from typing import Any

from chatserver.web.dialect import TooMuchMarkup, Writer, normalised, parse

# Above either of these a message is shown as it was written.
RENDERED_CHARS = 256_000
RENDERED_WEIGHT = 150_000
REMEMBERED_CHARS = 8_000_000


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


def render_now(text: str, writer: Writer | None = None) -> str:
    """Safe HTML of a whole message, made anew. A message over the limits comes back as plain text."""
    if len(text) > RENDERED_CHARS:
        return plain(text)
    text = normalised(text)
    if weight(text) > RENDERED_WEIGHT:
        return plain(text)
    writer = writer or Writer()
    references: dict[str, Any] = {}
    try:
        blocks, references, _ = parse(text, references)
    except TooMuchMarkup:
        return plain(text)
    return "".join(writer.html_of(block, references) for block in blocks)


class _Remembered:
    """The messages rendered last, since a page is opened more often than it changes."""

    def __init__(self) -> None:
        self._pages: OrderedDict[str, str] = OrderedDict()
        self._chars = 0

    def render(self, text: str) -> str:
        known = self._pages.get(text)
        if known is not None:
            self._pages.move_to_end(text)
            return known
        page = render_now(text)
        self._pages[text] = page
        self._chars += len(text) + len(page)
        while self._chars > REMEMBERED_CHARS:
            old_text, old_page = self._pages.popitem(last=False)
            self._chars -= len(old_text) + len(old_page)
        return page


_remembered = _Remembered()


def render(text: str) -> str:
    """Safe HTML of a whole message. At most some 200 ms; long texts belong into a thread."""
    return _remembered.render(text)
