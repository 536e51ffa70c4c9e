"""The contract of a blob store, as tests: subclass `BlobStoreContract`, bring a `store` fixture, pass.

class TestMyStore(BlobStoreContract):
    @pytest.fixture
    async def store(self):
        store = ...          # open and empty
        yield store
        await store.close()
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from chatserver import clock
from chatserver.errors import BadInput, NotFound

if TYPE_CHECKING:
    from chatserver.domain.extend import BlobStore

LARGE_BYTES = 11_000_000
HOUR_US = 3600 * 1_000_000


def sha256_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def in_pieces(content: bytes, piece_bytes: int = 100_000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), piece_bytes):
        yield content[start : start + piece_bytes]


async def put(store: BlobStore, content: bytes) -> str:
    sha256 = sha256_of(content)
    await store.put(sha256, len(content), in_pieces(content))
    return sha256


async def read(store: BlobStore, sha256: str, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([bytes(chunk) async for chunk in store.read(sha256, start, end)])


async def names(store: BlobStore) -> list[str]:
    return sorted([entry.sha256 async for entry in store.list()])


class BlobStoreContract:
    """What `BlobStore` promises, wherever the content lies."""

    async def test_what_was_put_is_read_back(self, store: BlobStore) -> None:
        content = bytes(range(256)) * 1000
        sha256 = await put(store, content)
        assert await read(store, sha256) == content
        assert await store.size_of(sha256) == len(content)

    async def test_large_content_comes_and_goes_in_pieces(self, store: BlobStore) -> None:
        content = b"0123456789abcdef" * (LARGE_BYTES // 16)
        sha256 = await put(store, content)
        pieces = [len(chunk) async for chunk in store.read(sha256)]
        assert sum(pieces) == len(content)
        assert len(pieces) > 1
        assert await read(store, sha256) == content

    async def test_empty_content_is_content(self, store: BlobStore) -> None:
        sha256 = await put(store, b"")
        assert await store.size_of(sha256) == 0
        assert await read(store, sha256) == b""

    async def test_a_part_can_be_read(self, store: BlobStore) -> None:
        content = bytes(n % 251 for n in range(3_000_000))
        sha256 = await put(store, content)
        for start, end in ((0, 1), (5, 5), (1_048_570, 1_048_590), (2_999_990, None), (2_999_990, 9_999_999), (7, 3)):
            assert await read(store, sha256, start, end) == content[start:end], (start, end)

    async def test_what_is_not_there_is_not_found(self, store: BlobStore) -> None:
        unknown = sha256_of(b"never put")
        assert await store.size_of(unknown) is None
        with pytest.raises(NotFound):
            await read(store, unknown)
        with pytest.raises(NotFound):
            await read(store, unknown, 3, 5)

    async def test_the_same_content_is_kept_once(self, store: BlobStore) -> None:
        first, second = await put(store, b"twice"), await put(store, b"twice")
        assert first == second
        assert await names(store) == [first]

    async def test_putting_again_does_not_read_the_content(self, store: BlobStore) -> None:
        content = b"there already"
        sha256 = await put(store, content)
        was_read = []

        async def noticed() -> AsyncIterator[bytes]:
            was_read.append(True)
            yield content

        await store.put(sha256, len(content), noticed())
        assert not was_read

    async def test_content_of_another_hash_or_size_is_refused_and_not_kept(self, store: BlobStore) -> None:
        said = sha256_of(b"right")
        for content in (b"wrong", b"right and more", b"righ", b""):
            with pytest.raises(BadInput):
                await store.put(said, len(b"right"), in_pieces(content))
            assert await store.size_of(said) is None, content
        large = b"x" * LARGE_BYTES
        with pytest.raises(BadInput):
            await store.put(sha256_of(b"y"), len(large), in_pieces(large))
        assert await names(store) == []
        assert await put(store, b"right") == said

    async def test_a_source_that_breaks_off_leaves_nothing(self, store: BlobStore) -> None:
        content = b"z" * LARGE_BYTES

        class Broken(Exception):
            pass

        async def broken() -> AsyncIterator[bytes]:
            async for piece in in_pieces(content[:-1_000_000]):
                yield piece
            raise Broken

        with pytest.raises(Broken):
            await store.put(sha256_of(content), len(content), broken())
        assert await names(store) == []
        assert await read(store, await put(store, content)) == content

    async def test_many_put_the_same_at_once(self, store: BlobStore) -> None:
        content = b"many at once" * 50_000
        found = await asyncio.gather(*(put(store, content) for _ in range(8)))
        assert await names(store) == [found[0]]
        assert await read(store, found[0]) == content

    async def test_deleting_takes_away_one_and_may_be_repeated(self, store: BlobStore) -> None:
        gone, kept = await put(store, b"gone"), await put(store, b"kept")
        await store.delete(gone)
        await store.delete(gone)
        assert await store.size_of(gone) is None
        assert await names(store) == [kept]
        assert await put(store, b"gone") == gone
        assert await read(store, gone) == b"gone"

    async def test_the_list_tells_name_size_and_time(self, store: BlobStore) -> None:
        for number in range(12):
            await put(store, b"x" * number)
        found = {entry.sha256: entry async for entry in store.list()}
        assert len(found) == 12
        for number in range(12):
            entry = found[sha256_of(b"x" * number)]
            assert entry.size_bytes == number
            assert abs(entry.modified_at - clock.now_us()) < HOUR_US

    async def test_a_name_that_is_no_hash_goes_nowhere(self, store: BlobStore) -> None:
        for name in ("../../etc/passwd", "", "A" * 64, "0" * 63, "/etc/passwd"):
            with pytest.raises(ValueError, match="hex"):
                await store.size_of(name)
            with pytest.raises(ValueError, match="hex"):
                await read(store, name)
