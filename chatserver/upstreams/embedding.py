"""Texts made vectors in one request, whoever the vendor is: the answer read whole, a vector for each text."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from chatserver.domain.embedding import Embedded, EmbedRequest
from chatserver.domain.extend import EgressRequest
from chatserver.domain.models import Channel
from chatserver.errors import UpstreamError
from chatserver.upstreams.listening import kind_of
from chatserver.upstreams.reaching import MAX_ERROR_BYTES
from chatserver.upstreams.refusals import unreadable

MAX_VECTORS_BYTES = 200_000_000

Refuse = Callable[[int, Mapping[str, str], bytes, tuple[str, ...]], UpstreamError]
"""Given the status, headers and body of a refusal, and what its sentence may not repeat."""


async def fetch_vectors(
    asked: EgressRequest,
    channel: Channel,
    request: EmbedRequest,
    read: Callable[[bytes], Embedded | None],
    refuse: Refuse,
) -> Embedded:
    """read: the vectors in the order of the texts, None for what is no such answer. Raises UpstreamError."""
    secrets = (channel.api_key, *(text[:40] for text in request.texts if len(text) >= 8))
    async with asked as response:
        if not 200 <= response.status < 300:
            raise refuse(response.status, response.headers, await response.read(MAX_ERROR_BYTES), secrets)
        body = await response.read(MAX_VECTORS_BYTES)
    embedded = read(body)
    if embedded is None:
        raise unreadable(channel.name, kind_of(body))
    if len(embedded.vectors) != len(request.texts):
        raise unreadable(channel.name, "vectors for other texts")
    return embedded
