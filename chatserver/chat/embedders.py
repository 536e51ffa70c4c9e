"""Providers that make embeddings, asked as if they chatted, so that they are relayed and metered like any."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol, cast, runtime_checkable

from chatserver.domain.embedding import Embedded, EmbeddedDelta, EmbedRequest
from chatserver.domain.extend import ChatRequest, Egress, Finish, Provider, UsageReport
from chatserver.domain.models import Channel, Model


@runtime_checkable
class Embeds(Protocol):
    """A provider that makes embeddings besides."""

    name: str

    async def embed(self, request: EmbedRequest, channel: Channel, http: Egress) -> Embedded: ...


class Embedder:
    """A provider's `embed`, behind the face the relay knows: one delta, then usage and the finish."""

    def __init__(self, provider: Embeds, texts: tuple[str, ...], parameters: dict[str, Any]) -> None:
        self.name = provider.name
        self._provider = provider
        self._texts = texts
        self._parameters = parameters

    async def discover(self, http: Egress) -> list[Channel]:
        return []

    async def list_models(self, channel: Channel, http: Egress) -> list[Model]:
        return []

    async def chat(
        self, request: ChatRequest, channel: Channel, http: Egress
    ) -> AsyncIterator[EmbeddedDelta | UsageReport | Finish]:
        asked = EmbedRequest(request.model, self._texts, self._parameters)
        embedded = await self._provider.embed(asked, channel, http)
        yield EmbeddedDelta(embedded.vectors)
        if embedded.usage is not None:
            yield UsageReport(embedded.usage)
        yield Finish("stop")


def embedders(
    providers: Mapping[str, Provider], texts: tuple[str, ...], parameters: dict[str, Any] | None = None
) -> Mapping[str, Provider]:
    """Those that embed, each to be asked for the vectors of these texts."""
    embeds = {name: one for name, one in providers.items() if isinstance(one, Embeds)}
    # The relay hands over whatever it says untouched: one delta of a kind no chat has.
    return {name: cast(Provider, Embedder(one, texts, parameters or {})) for name, one in embeds.items()}
