"""Files inside an export file: cut into pieces, made whole from them, and checked against what their line says."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO

from chatserver.chat.scratch import needing_room
from chatserver.clock import new_id
from chatserver.domain.exports import FileLine, PieceLine, encode_line
from chatserver.domain.imported import ImportedFile

PIECE_BYTES = 768 * 1024
"""A megabyte of text, as base64."""


class Wrong(Exception):
    """What is wrong with a line, as the end of a sentence."""


class EnclosedFiles:
    """Those of one conversation after the other. folder: where their contents go; None: they are only checked."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._line: FileLine | None = None
        self._file: BinaryIO | None = None
        self._path: Path | None = None
        self._digest = hashlib.sha256()
        self._size = 0
        self._done: list[ImportedFile] = []

    def begin(self, line: FileLine) -> None:
        if not line.id or len(line.id) > 200:
            raise Wrong("is a file with a bad id")
        self._line = line
        self._digest = hashlib.sha256()
        self._size = 0
        if self._folder is not None and not line.is_lost:
            self._path = self._folder / new_id()
            with needing_room():
                self._file = self._path.open("xb")

    def add(self, line: PieceLine) -> None:
        if self._line is None or self._line.is_lost:
            raise Wrong("is a piece of no file")
        self._size += len(line.data)
        if self._size > self._line.size_bytes:
            raise Wrong(f"goes on with a file of {self._line.size_bytes} bytes after its end")
        self._digest.update(line.data)
        if self._file is not None:
            with needing_room():
                self._file.write(line.data)

    def end(self) -> None:
        """No piece comes any more of the file that was begun, if one was."""
        line, self._line = self._line, None
        file, self._file = self._file, None
        if file is not None:
            with needing_room():
                file.close()
        if line is None or line.is_lost:
            return
        if self._size != line.size_bytes or self._digest.hexdigest() != line.sha256:
            raise Wrong("ends a file that is not what was exported")
        if self._path is not None:
            self._done.append(ImportedFile(line.id, line.name, str(self._path)))

    def hand_over(self) -> tuple[ImportedFile, ...]:
        done, self._done = self._done, []
        return tuple(done)


def lines_on(file: ImportedFile) -> Iterator[bytes]:
    """A file that an import found, with its content, as it is exported."""
    path = Path(file.path)
    with path.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
        yield encode_line(FileLine(file.id, file.name, "", path.stat().st_size, sha256))
        yield from pieces_of(content)


def pieces_of(content: IO[bytes]) -> Iterator[bytes]:
    content.seek(0)
    while piece := content.read(PIECE_BYTES):
        yield encode_line(PieceLine(piece))
