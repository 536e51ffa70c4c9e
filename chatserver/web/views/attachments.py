"""Files in a message, and in the composer before they are sent."""

from __future__ import annotations

import msgspec

from chatserver.domain.files import StoredFile, part_of
from chatserver.domain.messages import FilePart, ImagePart, Parts
from chatserver.words import gettext as _
from chatserver.words import number_text

ALONE, AMONG_OTHERS = (320, 240), (208, 156)
"""A picture in a message is no larger than this, in CSS pixels; the thumbnail has enough for dense screens."""


class AttachmentView(msgspec.Struct, frozen=True):
    """One file. thumbnail: '' for all but pictures. note: what there is to say of it, '' for nothing."""

    id: str
    name: str
    href: str
    size: str = ""
    note: str = ""
    thumbnail: str = ""
    width: int = 0
    height: int = 0


def attachment_views(parts: Parts, base: str = "/files") -> tuple[AttachmentView, ...]:
    """The files a message holds, pictures first. base: where they are read."""
    named = [part for part in parts if isinstance(part, ImagePart | FilePart) and part.file_id]
    # one without a type was named by an import, and never came
    pictures = [part for part in named if isinstance(part, ImagePart) and part.media_type]
    most = ALONE if len(pictures) == 1 else AMONG_OTHERS
    others = [
        FilePart(part.file_id, part.alt or _("Picture")) if isinstance(part, ImagePart) else part
        for part in named
        if part not in pictures
    ]
    shown = [_view(part, base, most) for part in pictures]
    return (*shown, *(_view(part, base) for part in others))


def chip_view(file: StoredFile) -> AttachmentView:
    """A file as the composer shows it."""
    view = _view(part_of(file), "/files")
    return msgspec.structs.replace(view, size=size_text(file.size_bytes), note=_note(file.kind == "document"))


def size_text(size_bytes: int) -> str:
    """`3.1 KB`, as people are told of the size of files."""
    if size_bytes < 1000:
        return _("{size} B").format(size=size_bytes)
    if size_bytes < 999_500:
        return _("{size} KB").format(size=_short(size_bytes / 1000))
    return _("{size} MB").format(size=_short(size_bytes / 1_000_000))


def _short(number: float) -> str:
    return number_text(number, 1 if number < 9.95 else 0)


def _view(part: ImagePart | FilePart, base: str, most: tuple[int, int] = ALONE) -> AttachmentView:
    href = f"{base}/{part.file_id}"
    if isinstance(part, FilePart):
        is_read = part.tokens > 0 or part.media_type.startswith("text/")
        size = size_text(part.size_bytes) if part.size_bytes else ""
        return AttachmentView(part.file_id, part.name or _("File"), href, size, _note(not is_read))
    width, height = _shown(part.width, part.height, most)
    return AttachmentView(
        part.file_id, part.alt or _("Picture"), href, thumbnail=f"{href}?size=thumbnail", width=width, height=height
    )


def _note(is_only_named: bool) -> str:
    return _("the model gets only its name") if is_only_named else ""


def _shown(width: int, height: int, most: tuple[int, int]) -> tuple[int, int]:
    """How large a picture stands in the page, so that nothing moves when it arrives."""
    if not width or not height:
        return most
    scale = min(1.0, most[0] / width, most[1] / height)
    return max(1, round(width * scale)), max(1, round(height * scale))
