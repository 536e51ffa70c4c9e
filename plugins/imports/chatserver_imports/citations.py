"""ChatGPT's marks for what an answer rests on: each becomes a link, a name or nothing; none stays as it was."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from chatserver_imports.documents import Table, items, tables, text

_MARK = re.compile("\ue200(.*?)\ue201", re.DOTALL)
_PIECE = "\ue202"
_STRAY = re.compile("[\ue200-\ue206]")


def with_links(words: str, references: list[Table]) -> str:
    """What a message says with its marks written out. references: its `content_references`, or older `citations`."""
    for reference in references:
        mark = text(reference, "matched_text")
        if mark.strip() and mark in words:
            words = words.replace(f" {mark}", mark).replace(mark, _link(reference, mark))
    words = _MARK.sub(lambda found: _unmarked(found[1]), words)
    return _STRAY.sub("", words)


def _link(reference: Table, mark: str) -> str:
    """As the program would show it; a mark that shows nothing is left out."""
    shown = text(reference, "alt") or text(reference, "prompt_text")
    if shown and "](" in shown:
        return shown if shown.startswith((" ", "(", "[", "!")) else f" {shown}"
    links = [_one(one) for one in tables(reference, "items") or [reference]]
    found = list(dict.fromkeys(link for link in links if link))
    if found:
        return " " + " ".join(found)
    return shown or text(reference, "name") or _unmarked(mark.strip("\ue200\ue201"))


def _one(source: Table) -> str:
    urls = [one for one in (text(source, "url"), *items(source, "safe_urls")) if isinstance(one, str) and one]
    if not urls:
        return ""
    title = " ".join((text(source, "title") or text(source, "attribution") or urls[0]).split())
    return f"[{title.replace('[', '(').replace(']', ')')}]({urls[0]})"


def _unmarked(inner: str) -> str:
    """Of a mark that nothing explains only what a person could read: the name of a thing, the words of a link."""
    kind, *rest = inner.split(_PIECE)
    if kind == "url" and len(rest) >= 2:
        return f"[{rest[0]}]({rest[1]})" if rest[1].startswith(("http://", "https://")) else rest[0]
    if kind != "entity" or not rest:
        return ""
    told: Any
    try:
        told = msgspec.json.decode(rest[0])
    except (msgspec.MsgspecError, RecursionError):
        return ""
    return told[1] if isinstance(told, list) and len(told) > 1 and isinstance(told[1], str) else ""
