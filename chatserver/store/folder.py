"""Blobs in a folder: each a file named by its hash, there as a whole or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from chatserver.clock import new_id, now_us
from chatserver.domain.files import BlobEntry, is_hash
from chatserver.errors import NotFound, SetupError, StorageFull, Unavailable
from chatserver.store.content import checked
from chatserver.store.sqlite import sync_folder

R = TypeVar("R")
CHUNK_BYTES = 1024 * 1024
UNFINISHED = "unfinished"
UNFINISHED_KEPT_US = 24 * 3600 * 1_000_000
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class FolderStore:
    """A BlobStore in a folder, which several processes of one machine may share. Raises SetupError where it cannot be
    made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._unfinished = folder / UNFINISHED
        try:
            self._unfinished.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._tidy()
        except OSError as error:
            raise SetupError(f"The folder {folder} for files cannot be used: {error.strerror}.") from error

    async def put(self, sha256: str, size_bytes: int, chunks: AsyncIterable[bytes]) -> None:
        """Written beside, synced, then moved in place."""
        path = self._path(sha256)
        if await self.size_of(sha256) == size_bytes:
            return
        part = self._unfinished / new_id()
        try:
            file = await _ask(_create, part)
            try:
                async for chunk in checked(sha256, size_bytes, chunks):
                    await _ask(file.write, chunk)
                await _ask(_sync, file)
            finally:
                await asyncio.to_thread(_close, file)
            await _ask(_move, part, path)
        finally:
            await asyncio.to_thread(part.unlink, missing_ok=True)

    async def read(self, sha256: str, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        file = await _ask(_open, self._path(sha256))
        try:
            await _ask(file.seek, start)
            left = None if end is None else end - start
            while left is None or left > 0:
                chunk = await _ask(file.read, CHUNK_BYTES if left is None else min(left, CHUNK_BYTES))
                if not chunk:
                    return
                if left is not None:
                    left -= len(chunk)
                yield chunk
        finally:
            await asyncio.to_thread(_close, file)

    async def size_of(self, sha256: str) -> int | None:
        try:
            return (await _ask(self._path(sha256).stat)).st_size
        except NotFound:
            return None

    async def delete(self, sha256: str) -> None:
        await _ask(_remove, self._path(sha256))

    async def list(self) -> AsyncIterator[BlobEntry]:
        for shard in sorted(await _ask(os.listdir, self.folder)):
            if len(shard) == 2:
                for entry in await _ask(_entries, self.folder / shard):
                    yield entry

    async def close(self) -> None:
        """Nothing is open between two calls."""

    def _path(self, sha256: str) -> Path:
        if not is_hash(sha256):
            raise ValueError(f"{sha256[:80]!r} is no SHA-256 in hex")
        return self.folder / sha256[:2] / sha256

    def _tidy(self) -> None:
        """Take away what a process left that died while writing."""
        oldest_us = now_us() - UNFINISHED_KEPT_US
        for path in self._unfinished.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime_ns // 1_000 < oldest_us:
                    path.unlink()


async def _ask(function: Callable[..., R], *arguments: Any) -> R:
    """Of the disk, in a thread. Raises NotFound, StorageFull and Unavailable for what it answers."""
    try:
        return await asyncio.to_thread(function, *arguments)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound("This content is not in the store.") from None
    except OSError as error:
        if error.errno in FULL:
            raise storage_full() from error
        raise Unavailable(
            "The folder of files cannot be used now: %(error)s. Try again.", values={"error": str(error.strerror)}
        ) from error


def storage_full() -> StorageFull:
    return StorageFull("The server's disk is full, so the file was not kept. Free some space there, then try again.")


def _create(part: Path) -> BinaryIO:
    return open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")


def _open(path: Path) -> BinaryIO:
    return open(path, "rb")


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def _sync(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _close(file: Any) -> None:
    with contextlib.suppress(OSError):  # what a full disk did not take at the flush it does not take now either
        file.close()


def _move(part: Path, path: Path) -> None:
    shard = path.parent
    if not shard.is_dir():
        shard.mkdir(exist_ok=True, mode=0o700)
        sync_folder(shard.parent)
    part.replace(path)
    sync_folder(shard)


def _entries(shard: Path) -> list[BlobEntry]:
    found = []
    try:
        with os.scandir(shard) as entries:
            for entry in entries:
                if is_hash(entry.name):
                    state = entry.stat()
                    found.append(BlobEntry(entry.name, state.st_size, state.st_mtime_ns // 1_000))
    except FileNotFoundError:
        return []
    return sorted(found, key=lambda one: one.sha256)
