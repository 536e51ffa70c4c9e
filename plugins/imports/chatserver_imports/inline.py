"""Files that a document holds itself, as data: URLs: taken out of the text, and named where they stood."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

from chatserver import ImagePart, ImportedFile, Part, TextPart

_DATA = re.compile(r"data:([\w.+/-]+)(?:;[\w=.+-]+)*;base64,([A-Za-z0-9+/=_\s-]+)\Z")
_IN_TEXT = re.compile(r"!\[([^\]]*)\]\((data:image/[\w.+-]+;base64,[A-Za-z0-9+/=]+)\)")
_ENDINGS = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp", "image/gif": ".gif"}


class Inline:
    """The files of one conversation. place: what their ids begin with, the same for the same conversation."""

    def __init__(self, place: str) -> None:
        self._place = place
        self.files: list[ImportedFile] = []

    def picture(self, url: str, name: str = "") -> ImagePart | None:
        """None: this is no picture that the document holds."""
        found = _DATA.match(url)
        if found is None or not found[1].startswith("image/"):
            return None
        try:
            content = base64.b64decode(found[2], validate=False)
        except (binascii.Error, ValueError):
            return None
        file_id = f"{self._place}.{len(self.files) + 1}"[-150:]
        told = name or f"picture{_ENDINGS.get(found[1], '')}"
        self.files.append(ImportedFile(file_id, told, content=content))
        return ImagePart(file_id=file_id, alt=told)

    def parts(self, words: str) -> Iterator[Part]:
        """A text with the pictures that stand in it."""
        at = 0
        for found in _IN_TEXT.finditer(words):
            picture = self.picture(found[2], found[1] if "." in found[1] else "")
            if picture is not None:
                yield TextPart(words[at : found.start()])
                yield picture
                at = found.end()
        yield TextPart(words[at:])
