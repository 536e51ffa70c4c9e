"""Smallest real requests, to find out whether a channel serves a model; the house's own, told to plugins like any."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from chatserver.chat.asides import Asides
from chatserver.domain.access import Account
from chatserver.domain.extend import PromptMessage, Refusal
from chatserver.domain.messages import TextPart
from chatserver.domain.models import Candidate, Model
from chatserver.errors import NotFound
from chatserver.gateway.catalog import Catalog

HOUSE = Account("house", "", "", "member", "active", ("default",), 0)
"""Who asks: nobody's account."""


class Probe(msgspec.Struct, frozen=True):
    """ok: it answered. error: what was wrong, a sentence for operators."""

    ok: bool
    first_token_ms: int = 0
    error: str = ""


class Probes:
    """`ctx.probes`."""

    def __init__(self, catalog: Catalog, asides: Asides) -> None:
        self._catalog = catalog
        self._asides = asides

    def pairs(self) -> Sequence[Candidate]:
        """Every channel that is on, with each model it serves."""
        return self._catalog.served()

    def models(self) -> list[Model]:
        """What every account may pick, without those of a demo."""
        return [model for model in self._catalog.models(HOUSE.groups) if not model.is_demo]

    async def probe(self, channel: str, model: str) -> Probe:
        """One token asked of one channel. Raises NotFound when it does not serve the model."""
        through = next((one for one in self.pairs() if (one.channel.name, one.model.id) == (channel, model)), None)
        if through is None:
            raise NotFound(
                "The channel %(channel)s does not serve the model %(model)s.",
                values={"channel": channel, "model": model},
            )
        message = PromptMessage("user", (TextPart("Hi"),))
        answer = await self._asides.ask(HOUSE, "probe", model, (message,), max_output=1, through=through)
        if isinstance(answer, Refusal):
            return Probe(False, 0, answer.message)
        return Probe(answer.error is None, answer.first_token_ms, answer.error.message if answer.error else "")
