"""What a file is, by its first and last bytes: never by its name, nor by what whoever brought it says."""

from __future__ import annotations

import codecs
from typing import Literal

import msgspec

HEAD_BYTES = 65_536
Guess = Literal["picture", "document", "text", "other"]

_PICTURES: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
_PACKED: tuple[tuple[bytes, str], ...] = (
    (b"word/", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    (b"xl/", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    (b"ppt/", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
)
"""Office's own, by a folder inside."""
_DECLARED = (
    "application/vnd.oasis.opendocument.text",
    "application/vnd.oasis.opendocument.spreadsheet",
    "application/vnd.oasis.opendocument.presentation",
    "application/epub+zip",
)
"""Packages that say in their first entry what they are."""
_TEXTS = {
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".csv": "text/csv",
    ".json": "application/json",
}
"""Kinds of text worth telling apart; a name may say so, because each is served as a text in any case."""
_MARKS: tuple[tuple[bytes, str], ...] = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ODD = bytes(sorted(set(range(32)) - set(b"\t\n\r\f\x1b")))
"""Control characters that no text has."""


class Sniffed(msgspec.Struct, frozen=True):
    """media_type: '' for what is no text, document or picture we know. charset: of a text that says it by its mark, or
    whose bytes leave no doubt, else ''."""

    guess: Guess
    media_type: str = ""
    charset: str = ""


def sniff(head: bytes, tail: bytes) -> Sniffed:
    """By the first HEAD_BYTES and the last ones; of a shorter file both are all of it."""
    for mark, media_type in _PICTURES:
        if head.startswith(mark):
            return Sniffed("picture", media_type)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return Sniffed("picture", "image/webp")
    if head[4:12] in (b"ftypavif", b"ftypavis"):
        return Sniffed("picture", "image/avif")
    if head[:2] == b"BM" and head[6:10] == b"\0\0\0\0" and head[14:18] in (b"\x28\0\0\0", b"\x6c\0\0\0", b"\x7c\0\0\0"):
        return Sniffed("picture", "image/bmp")
    if head[:5] == b"%PDF-":
        return Sniffed("document", "application/pdf")
    if head[:4] == b"PK\x03\x04":
        found = _packed(head, tail)
        return Sniffed("document", found) if found else Sniffed("other")
    for mark, charset in _MARKS:
        if head.startswith(mark):
            return Sniffed("text", "text/plain", charset)
    if b"\0" in head:
        return _wide(head)
    return Sniffed("other") if head.translate(None, _ODD) != head else Sniffed("text", "text/plain")


def text_type(name: str) -> str:
    """The type of a text, by the ending of its name."""
    return next((found for ending, found in _TEXTS.items() if name.lower().endswith(ending)), "text/plain")


def _packed(head: bytes, tail: bytes) -> str:
    """What kind of package a zip archive is, '' for none we know; by the names in it, which stand unpacked."""
    first_name = head[30 : 30 + int.from_bytes(head[26:28], "little")]
    if first_name == b"mimetype":
        start = 30 + len(first_name) + int.from_bytes(head[28:30], "little")
        declared = head[start : start + 100]
        return next((one for one in _DECLARED if declared.startswith(one.encode())), "")
    names = head + tail
    if b"[Content_Types].xml" not in names:
        return ""
    return next((found for folder, found in _PACKED if folder in names), "")


def _wide(head: bytes) -> Sniffed:
    """Text of two bytes a character without a mark: nearly every other byte of it is zero, always on the same side."""
    sample = head[: len(head) // 2 * 2]
    for charset, high in (("utf-16-le", sample[1::2]), ("utf-16-be", sample[::2])):
        low = sample[::2] if charset.endswith("le") else sample[1::2]
        if len(sample) >= 4 and high.count(0) > len(high) * 0.7 and low.count(0) == 0:
            return Sniffed("text", "text/plain", charset)
    return Sniffed("other")
