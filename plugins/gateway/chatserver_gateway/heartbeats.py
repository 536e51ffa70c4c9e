"""Real requests of one token to channels that nobody has just used, within a budget of the day."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from chatserver import Candidate, ChatserverError, Context
from chatserver_gateway.figures import Figures
from chatserver_gateway.listening import Listening
from chatserver_gateway.shelf import DAY_US, Shelf

AT_ONCE = 4
LOOK_S = 60.0
WANTED_US = 7 * DAY_US
"""A model that was not written down by name is kept warm for this long after somebody used it."""


class Heartbeats:
    """A job of one node at a time; `ctx.probes` asks, and the attempts come back through the hooks like any."""

    def __init__(self, shelf: Shelf, listening: Listening, figures: Figures) -> None:
        self._shelf = shelf
        self._listening = listening
        self._figures = figures

    def open(self, ctx: Context) -> None:
        self._ctx = ctx
        self._began_s = ctx.clock.monotonic_s()

    @property
    def every_s(self) -> float:
        """As it is set now; 0 for never."""
        return float(self._ctx.settings["heartbeat_minutes"]) * 60

    @property
    def tokens_per_day(self) -> int:
        return int(self._ctx.settings["heartbeat_tokens_per_day"])

    async def run(self, payload: dict[str, Any]) -> None:
        """Not within the first minutes of a server: what is used shows by itself."""
        if self.every_s > 0 and self._ctx.clock.monotonic_s() >= self._began_s + self.every_s:
            await self.beat()

    async def beat(self) -> int:
        """Ask whoever is due; how many were."""
        due = await self._due()
        room = asyncio.Semaphore(AT_ONCE)
        answered: dict[str, bool] = {}

        async def ask(one: Candidate) -> None:
            async with room:
                if await self._is_spent():
                    return
                try:
                    probe = await self._ctx.probes.probe(one.channel.name, one.model.id)
                except ChatserverError as error:  # it was taken away meanwhile, or the database is busy
                    self._ctx.log.info("heartbeat_not_sent", channel=one.channel.name, code=error.code)
                    return
                answered[one.model.id] = answered.get(one.model.id, False) or probe.ok
                await self._listening.flush()

        await asyncio.gather(*(ask(one) for one in due))
        all_due = {one.model.id for one in due}
        for model in sorted(all_due):
            if answered.get(model) is False and await self._is_alone(model, due):
                self._figures.went_down(self._ctx.clock.now_us(), model)
        await self._listening.flush()
        return len(due)

    async def used_tokens(self) -> int:
        """By heartbeats, since midnight UTC."""
        now = self._ctx.clock.now_us()
        return await self._shelf.heartbeat_tokens(now - now % DAY_US)

    async def _is_spent(self) -> bool:
        return self.tokens_per_day <= await self.used_tokens()

    async def _due(self) -> list[Candidate]:
        now = self._ctx.clock.now_us()
        await self._listening.flush()
        uses = {(use.channel, use.model): use for use in await self._shelf.uses(now - WANTED_US)}
        since = now - int(self.every_s * 1_000_000)
        due = []
        for one in self._ctx.probes.pairs():
            use = uses.get((one.channel.name, one.model.id))
            is_wanted = bool(one.channel.models) or (use is not None and use.wanted_at > 0)
            is_fresh = use is not None and max(use.answered_at, use.probed_at) > since
            if is_wanted and not is_fresh and one.model.chats and not one.model.is_demo:
                due.append(one)
        return due

    async def _is_alone(self, model: str, due: Sequence[Candidate]) -> bool:
        """Whether all the channels of a model were asked now: one that was not may well be answering people."""
        asked = {one.channel.name for one in due if one.model.id == model}
        return asked >= {one.channel.name for one in self._ctx.probes.pairs() if one.model.id == model}
