"""A bucket as a blob store: one object per content, named by its hash."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from chatserver import BadInput, BlobEntry, NotFound, SetupError, StorageFull, Unavailable, checked

HASH = re.compile(r"[0-9a-f]{64}")
READ_BYTES = 1024 * 1024
PART_BYTES = 5 * 1024 * 1024
PARTS_AT_ONCE = 2
"""Of one upload: what is held in memory is PART_BYTES times this."""
PATIENCE = timedelta(seconds=20)
RETRY = {"max_retries": 2, "retry_timeout": PATIENCE, "backoff": {
    "init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=2), "base": 2}}  # fmt: skip
log = logging.getLogger(__name__)
_FULL = ("QuotaExceeded", "InsufficientStorage", "XMinioStorageFull", "507 ")


class Bucket:
    """What `chatserver.BlobStore` promises, below the prefix of a URL."""

    def __init__(self, store: S3Store, name: str) -> None:
        self._store = store
        self.name = name
        self._is_away = False

    @classmethod
    async def open(cls, url: str, settings: Mapping[str, Any], secret: Callable[[str], str | None]) -> Bucket:
        """Raises SetupError when the URL names no bucket, or the bucket cannot be used."""
        parts = urlsplit(url)
        if not parts.hostname or parts.username or parts.query or parts.fragment:
            raise SetupError("A bucket is named as s3://bucket/prefix; keys belong into the settings of the plugin s3.")
        endpoint = str(settings.get("endpoint", "")).rstrip("/")
        options: dict[str, Any] = {name: value for name in SECRETS if (value := secret(name))}
        if ("access_key_id" in options) != ("secret_access_key" in options):
            raise SetupError("Of the key for the bucket one half is missing: access_key_id and secret_access_key.")
        if endpoint:
            options["endpoint"] = endpoint
        store = S3Store(
            parts.netloc,
            prefix=unquote(parts.path).strip("/") or None,
            region=str(settings.get("region") or "us-east-1"),
            virtual_hosted_style_request=not settings.get("path_style", True),
            client_options={"allow_http": endpoint.startswith("http://"), "timeout": PATIENCE, "connect_timeout": "5s"},
            retry_config=RETRY,  # type: ignore[arg-type]
            **options,
        )
        bucket = cls(store, parts.netloc)
        try:
            await bucket.size_of("0" * 64)
            async for _ in bucket.list():
                break
        except Unavailable as error:
            raise SetupError(
                f"The bucket {parts.netloc} cannot be used: {error.__cause__ and _first_line(error.__cause__)}."
            ) from None
        return bucket

    async def put(self, sha256: str, size_bytes: int, chunks: AsyncIterable[bytes]) -> None:
        """In parts, none of which is seen before all are there and right."""
        if await self.size_of(sha256) == size_bytes:
            return
        try:
            await obstore.put_async(
                self._store,
                _key(sha256),
                _regular(checked(sha256, size_bytes, chunks)),
                chunk_size=PART_BYTES,
                max_concurrency=PARTS_AT_ONCE,
            )
        except (BaseError, OSError) as error:
            raise self._told(error) from error

    async def read(self, sha256: str, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        if end is not None and end <= start:
            return
        size = await self.size_of(sha256)
        if size is None:
            raise NotFound("This content is not in the store.")
        stop = size if end is None else min(end, size)
        if stop <= start:
            return
        try:
            found = await obstore.get_async(self._store, _key(sha256), options={"range": (start, stop)})
            async for piece in found.stream(min_chunk_size=READ_BYTES):
                yield bytes(piece)
        except FileNotFoundError:
            raise NotFound("This content is not in the store.") from None
        except (BaseError, OSError) as error:
            raise self._told(error) from error

    async def size_of(self, sha256: str) -> int | None:
        """Asked before each reading and writing, so it notices first when the bucket is back."""
        try:
            size = int((await obstore.head_async(self._store, _key(sha256)))["size"])
        except FileNotFoundError:
            size = None
        except (BaseError, OSError) as error:
            raise self._told(error) from error
        if self._is_away:
            self._is_away = False
            log.warning("The bucket %s answers again.", self.name)
        return size

    async def delete(self, sha256: str) -> None:
        try:
            await obstore.delete_async(self._store, _key(sha256))
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise self._told(error) from error

    async def list(self) -> AsyncIterator[BlobEntry]:
        try:
            async for page in obstore.list(self._store, chunk_size=500):
                for found in page:
                    name = str(found["path"]).rsplit("/", 1)[-1]
                    if HASH.fullmatch(name):
                        at = int(found["last_modified"].timestamp() * 1_000_000)
                        yield BlobEntry(name, int(found["size"]), at)
        except (BaseError, OSError) as error:
            raise self._told(error) from error

    async def close(self) -> None:
        """The client closes its connections when they are idle."""

    def _told(self, error: Exception) -> BadInput | StorageFull | Unavailable:
        """What people are told; the log has the rest, once."""
        text = str(error)
        if any(word in text for word in _FULL):
            return StorageFull("The store of files is full, so nothing was kept. Make room there, then try again.")
        if not self._is_away:
            self._is_away = True
            log.warning(
                "The bucket %s cannot be used (%s). Until it can, uploads and downloads are answered 503.",
                self.name,
                _first_line(error),
            )
        return Unavailable("The store of files cannot be reached now. Try again in a moment.", code="blobs_unavailable")


SECRETS = ("access_key_id", "secret_access_key", "session_token")


def _key(sha256: str) -> str:
    if not HASH.fullmatch(sha256):
        raise ValueError(f"{sha256[:80]!r} is no SHA-256 in hex")
    return f"{sha256[:2]}/{sha256}"


async def _regular(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Without empty chunks; and one empty chunk for an empty content, which is an object like any other."""
    is_empty = True
    async for chunk in chunks:
        if chunk:
            is_empty = False
            yield chunk
    if is_empty:
        yield b""


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0].strip().rstrip(".")[:300]
