"""Artifacts in what models really write: fenced blocks with a hint, tags, and what a stream left unfinished."""

from __future__ import annotations

import hashlib
import re
from typing import Literal

import msgspec

Kind = Literal["html", "svg", "mermaid", "markdown", "csv", "code"]
CODE_LINES = 12
"""Below this a block of code is part of the answer, and no work of its own."""
TITLE_MOST = 80
_FENCE = re.compile(r"^(?P<indent> {0,3})(?P<mark>`{3,}|~{3,})[ \t]*(?P<info>[^\n`]*)$")
_TAG = re.compile(r"<(?P<tag>artifact|antartifact)\b(?P<given>[^>]{0,1000})>", re.I)
_GIVEN = re.compile(r"""([\w-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""")
LANGUAGES: dict[str, Kind] = {
    "html": "html",
    "htm": "html",
    "xhtml": "html",
    "text/html": "html",
    "svg": "svg",
    "image/svg+xml": "svg",
    "mermaid": "mermaid",
    "application/vnd.ant.mermaid": "mermaid",
    "markdown": "markdown",
    "md": "markdown",
    "text/markdown": "markdown",
    "csv": "csv",
    "tsv": "csv",
    "text/csv": "csv",
}
"""What after a fence, or as a tag's type, says what is made there."""
_TITLES = {
    "html": re.compile(r"<title[^>]*>([^<]+)</title>|<h1[^>]*>([^<]+)</h1>", re.I),
    "svg": re.compile(r"<title[^>]*>([^<]+)</title>", re.I),
    "markdown": re.compile(r"^#{1,3}\s+(.+?)\s*#*$", re.M),
    "mermaid": re.compile(r"^\s*title:?\s+(.+)$", re.M),
}


class Found(msgspec.Struct, frozen=True):
    """One artifact in one message. key: what makes two of them versions of one thing. language: of code. is_whole:
    its end was written. start, end: where it stands in the message. is_named: it was given a kind or a title, and is
    no mere block of code."""

    key: str
    kind: Kind
    title: str
    text: str
    language: str = ""
    is_whole: bool = True
    start: int = 0
    end: int = 0
    is_named: bool = True

    @property
    def id(self) -> str:
        return hashlib.sha256(f"{self.kind}\0{self.key}".encode()).hexdigest()[:16]


def find(markdown: str) -> list[Found]:
    """In the order they are written; of one thing written twice in a message both."""
    if "```" not in markdown and "~~~" not in markdown and "<" not in markdown:
        return []
    found: list[Found] = []
    at = 0
    while at < len(markdown):
        end = _end_of_line(markdown, at)
        if (fence := _FENCE.match(markdown[at:end])) is not None:
            made, at = _fenced(markdown, at, fence)
        elif (tag := _tag_between(markdown, at, end)) is not None:
            made, at = _tagged(markdown, tag)
        else:
            made, at = None, end + 1
        if made is not None:
            found.append(made)
    return found


def _end_of_line(markdown: str, at: int) -> int:
    end = markdown.find("\n", at)
    return end if end >= 0 else len(markdown)


def _fenced(markdown: str, begin: int, fence: re.Match[str]) -> tuple[Found | None, int]:
    """What the block of code that begins here is, and where the message goes on behind it."""
    at = _end_of_line(markdown, begin) + 1
    lines = []
    is_whole = False
    while at < len(markdown) and not is_whole:
        end = _end_of_line(markdown, at)
        line, at = markdown[at:end], end + 1
        is_whole = _closes(line, fence["mark"])
        lines += [] if is_whole else [line.removeprefix(fence["indent"])]
    text = "\n".join(lines)
    if not is_whole and markdown.endswith("\n") and lines:
        text += "\n"
    made = _of_block(fence["info"].strip(), text, is_whole=is_whole)
    until = at - 1 if is_whole else len(markdown)
    return (msgspec.structs.replace(made, start=begin, end=until) if made else None), at


def _tag_between(markdown: str, begin: int, end: int) -> re.Match[str] | None:
    """The first tag that opens in this line: one with attributes, or at its beginning. Named in code it is a word."""
    at = markdown.find("<", begin, end)
    while at >= 0:
        tag = _TAG.match(markdown, at)
        is_in_code = markdown[max(0, at - 1) : at] == "`"
        if tag is not None and not is_in_code and ("=" in tag["given"] or not markdown[begin:at].strip()):
            return tag
        at = markdown.find("<", at + 1, end)
    return None


def _tagged(markdown: str, tag: re.Match[str]) -> tuple[Found, int]:
    """What stands in a tag, and where the message goes on behind it."""
    close = re.compile(rf"</{tag['tag']}\s*>", re.I).search(markdown, tag.end())
    text = markdown[tag.end() : close.start() if close else len(markdown)]
    end = close.end() if close else len(markdown)
    made = _in_tag(tag["given"], text, is_whole=close is not None)
    return msgspec.structs.replace(made, start=tag.start(), end=end), end


def _closes(line: str, mark: str) -> bool:
    stripped = line.strip()
    return len(stripped) >= len(mark) and set(stripped) == {mark[0]} and len(line) - len(line.lstrip()) < 4


def _of_block(info: str, text: str, *, is_whole: bool) -> Found | None:
    hint, _, rest = info.partition(" ")
    given = {name.lower(): a or b or c for name, a, b, c in _GIVEN.findall(rest)}
    language = hint.lower().strip("{}.")
    kind = LANGUAGES.get(language) or _guess(language, text)
    is_named = kind is not None or "title" in given
    if kind is None and (is_named or text.count("\n") + 1 >= CODE_LINES):
        kind = "code"
    if kind is None or not text.strip():
        return None
    made = _make(kind, given, text, language, is_whole=is_whole)
    return made if is_named else msgspec.structs.replace(made, is_named=False)


def _guess(language: str, text: str) -> Kind | None:
    """A page or a drawing under another name, or under none."""
    begin = text.lstrip()[:200].lower()
    if language in ("", "xml", "text") and begin.startswith(("<svg", "<?xml")) and "<svg" in begin:
        return "svg"
    if language in ("", "text") and begin.startswith(("<!doctype html", "<html")):
        return "html"
    return None


def _in_tag(attributes: str, text: str, *, is_whole: bool) -> Found:
    given = {name.lower(): a or b or c for name, a, b, c in _GIVEN.findall(attributes)}
    told = given.get("type", "").lower()
    language = given.get("language", "").lower()
    body = text.strip("\n")
    fence = _FENCE.match(body.split("\n", 1)[0])
    if fence is not None and "\n" in body:  # a fence inside the tag
        language = language or fence["info"].strip().lower()
        body = body.split("\n", 1)[1]
        body = body.rsplit("\n", 1)[0] if _closes(body.rsplit("\n", 1)[-1], fence["mark"]) else body
    kind = LANGUAGES.get(told) or LANGUAGES.get(language) or _guess("", body) or "code"
    return _make(kind, given, body, language, is_whole=is_whole)


def _make(kind: Kind, given: dict[str, str], text: str, language: str, *, is_whole: bool) -> Found:
    title = given.get("title", "").strip()
    if not title and (pattern := _TITLES.get(kind)) is not None and (found := pattern.search(text)) is not None:
        title = next(group for group in found.groups() if group).strip()
    title = " ".join(title.split())[:TITLE_MOST]
    key = given.get("identifier") or given.get("id") or title or f"untitled {language if kind == 'code' else kind}"
    return Found(key.strip().lower(), kind, title, text, language if kind == "code" else "", is_whole)
