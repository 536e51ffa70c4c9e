"""What files hold, as a whole: compared with the rows that name it, moved between stores, enclosed in backups."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from chatserver.chat.doctor import Finding
from chatserver.clock import now_us
from chatserver.domain.extend import BlobStore
from chatserver.errors import NotFound, SetupError
from chatserver.store import blobs as blob_rows
from chatserver.store.backups import DatabaseFile
from chatserver.store.blobs import BlobRow
from chatserver.store.database import Database
from chatserver.store.enclosed import ReadContent

R = TypeVar("R")
PAGE = 500
STRAY_US = 24 * 3_600 * 1_000_000
"""What is younger may belong to an upload that is under way."""


class Stock(msgspec.Struct):
    """What a store holds against what the database names. strays: what no row knows, by hash, with sizes."""

    contents: int = 0
    size_bytes: int = 0
    findings: list[Finding] = []
    strays: dict[str, int] = {}

    @property
    def stray_bytes(self) -> int:
        return sum(self.strays.values())


async def take_stock(db: Database, store: BlobStore, *, reads_all: bool) -> Stock:
    """Whether everything that files name is in the store, and whole. reads_all: read it through, not only measure."""
    there: dict[str, int] = {}
    old: dict[str, int] = {}
    before = now_us() - STRAY_US
    async for entry in store.list():
        there[entry.sha256] = entry.size_bytes
        if entry.modified_at < before:
            old[entry.sha256] = entry.size_bytes
    stock = Stock()
    async for row in named(db):
        stock.contents += 1
        stock.size_bytes += row.size_bytes
        size_bytes = there.get(row.sha256)
        if size_bytes != row.size_bytes:  # a file may have come while the store was being listed
            size_bytes = await store.size_of(row.sha256)
        if size_bytes is None:
            stock.findings.append(_finding("content_missing", row, "is not in the store"))
        elif size_bytes != row.size_bytes or (reads_all and not await _is_whole(store, row)):
            stock.findings.append(_finding("content_damaged", row, "is not in the store as it was stored"))
    for sha256, size_bytes in old.items():
        if not await db.read(partial(blob_rows.is_known, sha256=sha256)):
            stock.strays[sha256] = size_bytes
    return stock


async def remove_strays(db: Database, store: BlobStore, stock: Stock) -> None:
    """Take away what no row knows, asking again of each. Who brings the same content meanwhile waits for that."""
    for sha256, size_bytes in stock.strays.items():
        begin = partial(blob_rows.begin_removal_of_stray, sha256=sha256, size_bytes=size_bytes, now=now_us())
        if await db.write(begin):
            await store.delete(sha256)
            await db.write(partial(blob_rows.end_removal, sha256=sha256))


async def copy_contents(
    db: Database, source: BlobStore, target: BlobStore, tell: Callable[[str], None] = lambda sentence: None
) -> int:
    """Everything that files name, into another store; what is there already is not copied again. Returns how many
    there are. Raises SetupError for what the source lacks, at the end, when all else is copied."""
    count = 0
    lacking = []
    async for row in named(db):
        try:
            await target.put(row.sha256, row.size_bytes, source.read(row.sha256))
        except NotFound:
            lacking.append(row.sha256)
        count += 1
        if count % 1000 == 0:
            tell(f"files: {count} contents copied")
    if lacking:
        raise SetupError(
            f"{len(lacking)} of {count} contents of files are not in the store they should be in, the first of them"
            f" {lacking[0]}. `chatserver verify` lists them; all others were copied."
        )
    tell(f"files: {count} contents copied")
    return count


async def named(db: Database) -> AsyncIterator[BlobRow]:
    after = ""
    while page := await db.read(partial(blob_rows.page_of_named, after=after, limit=PAGE)):
        for row in page:
            yield row
        after = page[-1].sha256


def reader_of(store: BlobStore) -> ReadContent:
    """A store as a thread beside this loop reads it."""
    loop = asyncio.get_running_loop()

    def ask(question: Coroutine[Any, Any, R]) -> R:
        return asyncio.run_coroutine_threadsafe(question, loop).result()

    def read(sha256: str) -> Iterator[bytes]:
        chunks = store.read(sha256)

        async def following() -> bytes | None:
            return await anext(chunks, None)

        async def close() -> None:
            await chunks.aclose()

        try:
            while (chunk := ask(following())) is not None:
                yield chunk
        finally:
            ask(close())

    return read


async def put_back(source: Path, store: BlobStore) -> int:
    """What a sound backup encloses, into the store; what is there already stays. Returns how many there were."""
    file = DatabaseFile(source, is_still=True)
    try:
        wanted = file.enclosed()
        for content in wanted:
            await store.put(content.sha256, content.size_bytes, _as_chunks(file.pieces_of(content.sha256)))
        return len(wanted)
    finally:
        file.close()


async def _as_chunks(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def _is_whole(store: BlobStore, row: BlobRow) -> bool:
    digest = hashlib.sha256()
    try:
        async for chunk in store.read(row.sha256):
            digest.update(chunk)
    except NotFound:
        return False
    return digest.hexdigest() == row.sha256


def _finding(kind: str, row: BlobRow, sentence: str) -> Finding:
    return Finding(kind, row.sha256, f"The content {row.sha256} of a file {sentence}.")
