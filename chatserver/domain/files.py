"""A file is what an account brought in; its content is a blob, kept under its own hash, and others made from it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from chatserver.domain.messages import FilePart, ImagePart, Parts

FileKind = Literal["image", "text", "document"]
"""How a model gets it: as a picture, as text, or only by its name."""
RenditionKind = Literal["thumbnail", "model"]
PICTURE_TYPES = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif"})
"""What is shown in a page: always written anew by us, never as it came."""
NAME_LIMIT = 150
_HASH = re.compile(r"[0-9a-f]{64}")
_BACKTICKS = re.compile(r"`{3,}")
_ENDINGS = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp", "image/gif": ".gif"}
_SAME_ENDING = {".jpeg": ".jpg", ".jpe": ".jpg", ".jfif": ".jpg"}


class ArrivedFile(msgspec.Struct, frozen=True):
    """A file that came with a form. name: what the sender calls it, never to be trusted. path: ours, until the request
    ends."""

    field: str
    name: str
    path: Path
    size_bytes: int


class Picture(msgspec.Struct, frozen=True):
    """A picture as we wrote it ourselves, whatever it came as. Sides in pixels."""

    content: bytes
    media_type: str
    width: int
    height: int


class BlobEntry(msgspec.Struct, frozen=True):
    """Content a store holds. modified_at: microseconds UTC, as the store tells."""

    sha256: str
    size_bytes: int
    modified_at: int


class Rendition(msgspec.Struct, frozen=True):
    """A picture made from a file: a `thumbnail` for the page, or what is sent to a `model`."""

    kind: RenditionKind
    sha256: str
    media_type: str
    size_bytes: int
    width: int = 0
    height: int = 0


class StoredFile(msgspec.Struct, frozen=True):
    """A file of an account. name: for people only, never a path. charset: of a text, else ''. tokens: what a text
    costs in a prompt, by our own count. stored_bytes: what it takes of the account's space, renditions included."""

    id: str
    owner_id: str
    name: str
    media_type: str
    size_bytes: int
    stored_bytes: int
    sha256: str
    created_at: int
    width: int = 0
    height: int = 0
    charset: str = ""
    tokens: int = 0

    @property
    def kind(self) -> FileKind:
        if self.media_type in PICTURE_TYPES:
            return "image"
        return "text" if self.charset else "document"


class Space(msgspec.Struct, frozen=True):
    """What an account's files take, and may take; a limit of 0 is none."""

    files: int
    used_bytes: int
    limit_bytes: int = 0
    limit_files: int = 0


def is_hash(text: str) -> bool:
    return _HASH.fullmatch(text) is not None


def clean_name(name: str, media_type: str = "") -> str:
    """A name fit to be shown and saved under: its last step, without what cannot be seen or turns text around. With a
    picture's type the ending becomes that of the type."""
    last = re.split(r"[/\\]", name)[-1]
    kept = "".join(" " if c.isspace() else c for c in last if c.isspace() or unicodedata.category(c)[0] != "C")
    kept = " ".join(kept.split()).strip(". ") or "file"
    stem, dot, ending = kept.rpartition(".")
    if not dot or len(ending) > 10:
        stem, ending = kept, ""
    ending = f".{ending}" if ending else ""
    wanted = _ENDINGS.get(media_type, "")
    if wanted and _SAME_ENDING.get(ending.lower(), ending.lower()) != wanted:
        ending = wanted
    return stem[: NAME_LIMIT - len(ending)].rstrip() + ending


def part_of(file: StoredFile) -> ImagePart | FilePart:
    """A file as a message holds it."""
    if file.kind == "image":
        return ImagePart(
            file_id=file.id, media_type=file.media_type, alt=file.name, width=file.width, height=file.height
        )
    return FilePart(
        file_id=file.id, name=file.name, media_type=file.media_type, size_bytes=file.size_bytes, tokens=file.tokens
    )


def file_ids(parts: Parts) -> tuple[str, ...]:
    """The files a message holds, each once, in their order."""
    return tuple(dict.fromkeys(p.file_id for p in parts if isinstance(p, ImagePart | FilePart) and p.file_id))


def with_names(parts: Parts, names: Mapping[str, str]) -> Parts:
    """The same parts with their files under other ids; those that are not among the names keep theirs."""
    return tuple(
        msgspec.structs.replace(part, file_id=names.get(part.file_id, part.file_id))
        if isinstance(part, ImagePart | FilePart)
        else part
        for part in parts
    )


def with_files(parts: Parts, held: Mapping[str, StoredFile]) -> Parts:
    """The same parts; of those that only name a file what is known of it is filled in, and what they said stays."""
    return tuple(
        _filled(part, held[part.file_id])
        if isinstance(part, ImagePart | FilePart) and part.file_id in held and not part.media_type
        else part
        for part in parts
    )


def _filled(part: ImagePart | FilePart, file: StoredFile) -> ImagePart | FilePart:
    known = part_of(file)
    told = part.alt if isinstance(part, ImagePart) else part.name
    if isinstance(known, ImagePart):
        return msgspec.structs.replace(known, alt=told or known.alt)
    return msgspec.structs.replace(known, name=told or known.name)


def spell_out(part: FilePart | ImagePart) -> str:
    """A file as text for a model: its name, and what it may read of it between fences that nothing inside can close."""
    if isinstance(part, ImagePart):
        return f"[Picture not shown: {part.alt}]\n" if part.alt else "[Picture not shown]\n"
    name = part.name or "file"
    if not part.text:
        kind = f" ({part.media_type})" if part.media_type else ""
        return f"[Attached file: {name}{kind}. Its content cannot be read here.]\n"
    longest = max((len(run) for run in _BACKTICKS.findall(part.text)), default=0)
    fence = "`" * max(3, longest + 1)
    ending = "" if part.text.endswith("\n") else "\n"
    return f"{name}:\n{fence}\n{part.text}{ending}{fence}\n"
