"""What becomes of a file that was brought in: pictures are written anew, texts read, all else kept or refused."""

from __future__ import annotations

import asyncio
import codecs
import shutil
from pathlib import Path
from typing import Literal

import msgspec
import structlog

from chatserver.clock import new_id
from chatserver.confined import Broke, run_confined
from chatserver.domain.calls import estimate_tokens
from chatserver.domain.files import clean_name
from chatserver.domain.sniffing import HEAD_BYTES, Sniffed, sniff, text_type
from chatserver.errors import BadInput
from chatserver.store.folder import storage_full

log = structlog.get_logger("chatserver.files")

CONFINED = Path(__file__).parent.parent / "confined"
AT_ONCE = 2
"""Scripts that run at once on this node: each may take half a gigabyte."""
TEXT_MAX_BYTES = 16 * 1024 * 1024
"""A text of this size is four million tokens: no model reads more, and a larger one would only cost memory."""
CHUNK_BYTES = 262_144
PieceKind = Literal["", "thumbnail", "model"]


class Piece(msgspec.Struct, frozen=True):
    """Content that comes of a file; kind '': the file itself."""

    kind: PieceKind
    path: Path
    media_type: str
    width: int = 0
    height: int = 0


class Taken(msgspec.Struct, frozen=True):
    """A file as it is kept. The first piece is the file itself."""

    name: str
    pieces: tuple[Piece, ...]
    charset: str = ""
    tokens: int = 0


class _Made(msgspec.Struct):
    kind: PieceKind
    file: str
    media_type: str
    width: int
    height: int


class _Answer(msgspec.Struct):
    pieces: list[_Made] = []
    refused: str = ""
    charset: str = ""


class Intake:
    """Looks at files in threads, and opens what is dangerous to open in confined processes."""

    def __init__(self, spool: Path) -> None:
        self._spool = spool
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def take(self, name: str, path: Path, folder: Path) -> Taken:
        """What is kept of a file; what is made of it lies in `folder`. Raises BadInput `file_type` for what is neither
        picture, text nor document, `damaged_picture`, `too_many_pixels`, StorageFull."""
        head, tail = await asyncio.to_thread(_ends, path)
        sniffed = sniff(head, tail)
        if not head:
            raise BadInput("This file is empty. Pick another.", code="empty_file", status=422)
        if sniffed.guess == "picture":
            return await self._take_picture(name, path, folder)
        if sniffed.guess == "document":
            kept = clean_name(name)
            return Taken(kept, (Piece("", path, sniffed.media_type),))
        if sniffed.guess == "text":
            return await self._take_text(name, path, sniffed)
        raise not_taken()

    async def take_picture(self, path: Path, folder: Path) -> Piece:
        """The small picture made from one. Raises BadInput for what is none, StorageFull."""
        head, tail = await asyncio.to_thread(_ends, path)
        if sniff(head, tail).guess != "picture":
            raise BadInput("This is no picture. Bring a PNG, JPEG, WebP or GIF.", code="file_type", status=415)
        taken = await self._take_picture("", path, folder)
        return next(piece for piece in taken.pieces if piece.kind == "thumbnail")

    async def _take_picture(self, name: str, path: Path, folder: Path) -> Taken:
        answer = await self._run("pictures.py", str(path), str(folder))
        if answer.refused:
            raise _refused_picture(answer.refused)
        pieces = tuple(
            Piece(
                one.kind,
                folder / one.file,
                one.media_type,
                one.width,
                one.height,
            )
            for one in answer.pieces
        )
        return Taken(clean_name(name, pieces[0].media_type), pieces)

    async def _take_text(self, name: str, path: Path, sniffed: Sniffed) -> Taken:
        size = (await asyncio.to_thread(path.stat)).st_size
        if size > TEXT_MAX_BYTES:
            raise BadInput(
                "A text may have %(most)s MB; no model reads more. Bring the part you need.",
                values={"most": TEXT_MAX_BYTES // 1024 // 1024},
                code="text_too_long",
                status=413,
            )
        charset = sniffed.charset or "utf-8"
        text = await asyncio.to_thread(read_text, path, charset)
        if text is None and not sniffed.charset:
            charset = (await self._run("texts.py", str(path))).charset
            text = await asyncio.to_thread(read_text, path, charset) if charset else None
        if text is None:
            raise not_taken()
        tokens = await asyncio.to_thread(estimate_tokens, text)
        kept = clean_name(name)
        return Taken(kept, (Piece("", path, text_type(kept)),), charset, tokens)

    async def _run(self, script: str, *words: str) -> _Answer:
        async with self._turns:
            try:
                answer = await run_confined(CONFINED / script, words)
            except Broke as broke:
                if script == "texts.py":
                    return _Answer()
                raise _refused_picture(broke.reason) from None
        return msgspec.json.decode(answer, type=_Answer)


def read_text(path: Path, charset: str) -> str | None:
    """None: it is not written in this encoding, or is no text."""
    decoder = codecs.getincrementaldecoder(charset)()
    pieces = []
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                pieces.append(decoder.decode(chunk))
        pieces.append(decoder.decode(b"", final=True))
    except UnicodeError:
        return None
    text = "".join(pieces)
    return None if "\0" in text else text


def not_taken() -> BadInput:
    return BadInput(
        "This kind of file is not taken here. Bring a picture (PNG, JPEG, WebP, GIF), a text, or a PDF or office"
        " document.",
        code="file_type",
        status=415,
    )


def _refused_picture(why: str) -> Exception:
    if why == "no_room":
        return storage_full()
    if why in ("too_many_pixels", "memory"):
        return BadInput(
            "This picture has more than 40 million pixels. Make it smaller first.", code="too_many_pixels", status=422
        )
    if why == "time":
        return BadInput("This picture takes too long to open. Save it anew, smaller.", code="slow_picture", status=422)
    return BadInput(
        "This picture is damaged and cannot be opened. Try another copy.", code="damaged_picture", status=422
    )


def _ends(path: Path) -> tuple[bytes, bytes]:
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        size = file.seek(0, 2)
        file.seek(max(0, size - HEAD_BYTES))
        return head, file.read(HEAD_BYTES)


async def make_room(spool: Path) -> Path:
    """A folder of one's own for what comes of a file."""
    folder = spool / new_id()
    await asyncio.to_thread(folder.mkdir, mode=0o700)
    return folder


async def clear_room(folder: Path) -> None:
    await asyncio.to_thread(shutil.rmtree, folder, True)
