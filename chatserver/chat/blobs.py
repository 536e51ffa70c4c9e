"""Content of files and of plugins: reserved before it is stored, named while it is needed, taken away after that."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import shutil
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from functools import partial
from pathlib import Path

import msgspec
import structlog

from chatserver.clock import monotonic_s, new_id, now_us
from chatserver.domain.extend import BlobStore
from chatserver.errors import NotFound, Unavailable
from chatserver.store import blobs as blob_rows
from chatserver.store.database import Database, Tx

log = structlog.get_logger("chatserver.blobs")

CHUNK_BYTES = 1024 * 1024
GRACE_US = 3_600 * 1_000_000
"""How long content is kept that nothing names: longer than any upload, and than a backup takes to come by."""
REMOVAL_S = 20.0
"""A removal that took longer to get to the store is left to the next run: this node was frozen, and another may have
done it, and the content may be there again."""
LEFT_US = 5 * 60 * 1_000_000
"""A removal that did not end within this was left by a process that died; another takes it up."""
WAITS_S = (0.05, 0.2, 0.5, 1.0, 2.0)
"""Between tries to store what is being taken away at this very moment."""
SPOOLED_US = 24 * 3_600 * 1_000_000
"""Nothing is longer on its way than this."""
PAGE = 200


class Kept(msgspec.Struct, frozen=True):
    """Content that is in the store."""

    sha256: str
    size_bytes: int


class Blobs:
    """The blob store and the rows that say what is in it."""

    def __init__(self, db: Database, store: BlobStore, spool: Path) -> None:
        """spool: a folder for content on its way."""
        self._db = db
        self._store = store
        self.spool = spool

    async def start(self) -> None:
        """Make the spool, and take away what a process left there that died."""
        await asyncio.to_thread(_tidy, self.spool)

    async def put(self, path: Path) -> Kept:
        """Store a file's content. Nothing names it yet: who does not within an hour must put it again. Raises
        StorageFull, Unavailable."""
        kept = await asyncio.to_thread(_measure, path)
        for wait_s in (*WAITS_S, None):
            state = await self._db.write(lambda tx: blob_rows.reserve(tx, kept.sha256, kept.size_bytes, now_us()))
            if state == "there":
                await self._store.put(kept.sha256, kept.size_bytes, _chunks_of(path))
                return kept
            if wait_s is not None:
                await asyncio.sleep(wait_s)
        raise Unavailable("This content is being taken away at this moment. Try again in a moment.", code="blob_going")

    async def read(self, sha256: str, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        """Raises Unavailable, also for content that should be in the store and is not."""
        try:
            async with aclosing(self._store.read(sha256, start, end)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except NotFound:
            log.error("content_missing", sha256=sha256)
            raise Unavailable(
                "The content of this file is missing in the store. Tell the operator: `chatserver verify` says more.",
                code="content_missing",
            ) from None

    async def whole(self, sha256: str) -> bytes:
        return b"".join([chunk async for chunk in self.read(sha256)])

    def of_plugin(self, name: str) -> PluginBlobs:
        return PluginBlobs(name, self._db, self)

    async def collect(self, *, grace_us: int = GRACE_US, left_us: int = LEFT_US) -> int:
        """Take away what nothing names since a while; returns how much. Content is marked first and taken away in a
        later run, so that who reads it now comes to the end."""
        now = now_us()
        while found := await self._db.read(lambda tx: blob_rows.newly_unused(tx, PAGE)):
            await self._db.write(partial(_mark, hashes=found, now=now), essential=True)
        removed = 0
        before, left_before = now - grace_us, now - left_us
        failed: set[str] = set()
        while found := await self._db.read(
            lambda tx: blob_rows.long_unused(tx, before, left_before, PAGE + len(failed))
        ):
            left = [sha256 for sha256 in found if sha256 not in failed]
            if not left:
                break
            for sha256 in left:
                if await self._remove(sha256, before, left_before):
                    removed += 1
                else:
                    failed.add(sha256)
        return removed

    async def _remove(self, sha256: str, before: int, left_before: int) -> bool:
        began_s = monotonic_s()
        if not await self._db.write(
            lambda tx: blob_rows.begin_removal(tx, sha256, before, left_before, now_us()), essential=True
        ):
            return False
        if monotonic_s() - began_s > REMOVAL_S:
            return False
        await self._store.delete(sha256)
        await self._db.write(lambda tx: blob_rows.end_removal(tx, sha256), essential=True)
        return True


class PluginBlobs:
    """`ctx.blobs`: content in a plugin's own name. It stays until the plugin drops it; equal content is kept once."""

    def __init__(self, name: str, db: Database, blobs: Blobs) -> None:
        self._holder = f"plugin:{name}"
        self._db = db
        self._blobs = blobs

    async def put(self, content: bytes | Path) -> str:
        """Keep content, given in memory or as a file that stays the caller's; returns its SHA-256 in hex."""
        if isinstance(content, Path):
            return await self._put(content)
        path = self._blobs.spool / new_id()
        try:
            await asyncio.to_thread(path.write_bytes, content)
            return await self._put(path)
        finally:
            await asyncio.to_thread(path.unlink, missing_ok=True)

    async def read(self, sha256: str, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        """What this plugin put, in chunks. Raises NotFound for anything else."""
        if not await self._db.read(lambda tx: blob_rows.holds(tx, self._holder, sha256)):
            raise NotFound("This plugin keeps no such content.")
        async with aclosing(self._blobs.read(sha256, start, end)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def drop(self, sha256: str) -> None:
        """The plugin needs it no more; somebody else may."""
        await self._db.write(lambda tx: blob_rows.drop(tx, self._holder, sha256))

    async def _put(self, path: Path) -> str:
        kept = await self._blobs.put(path)
        if not await self._db.write(lambda tx: blob_rows.hold(tx, self._holder, kept.sha256, now_us())):
            raise Unavailable("This content was taken away a moment ago. Try again.", code="blob_going")
        return kept.sha256


def _tidy(spool: Path) -> None:
    spool.mkdir(parents=True, exist_ok=True, mode=0o700)
    oldest_us = now_us() - SPOOLED_US
    for path in spool.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if path.lstat().st_mtime_ns // 1_000 < oldest_us:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()


def _mark(tx: Tx, hashes: list[str], now: int) -> None:
    for sha256 in hashes:
        blob_rows.mark_unused(tx, sha256, now)


def _measure(path: Path) -> Kept:
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return Kept(digest.hexdigest(), size)


async def _chunks_of(path: Path) -> AsyncIterator[bytes]:
    file = await asyncio.to_thread(path.open, "rb")
    try:
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield chunk
    finally:
        await asyncio.to_thread(file.close)
