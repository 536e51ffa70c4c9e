"""Content under its hash: checked while it streams, so that no store ever keeps anything under a wrong name."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterable, AsyncIterator

from chatserver.errors import BadInput


async def checked(sha256: str, size_bytes: int, chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The same chunks. Raises BadInput as soon as, and at the latest after the last, they are not that content: who
    writes them on must then keep nothing."""
    digest = hashlib.sha256()
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > size_bytes:
            break
        digest.update(chunk)
        yield chunk
    if size != size_bytes or digest.hexdigest() != sha256:
        raise BadInput("The content is not what it was said to be, and was not kept.", code="wrong_content")
