"""Hears of every attempt: for the ranking, for the figures, and for the admins when a key was refused."""

from __future__ import annotations

import asyncio

from chatserver import AttemptEnd, AttemptStart, ChatserverError, Context
from chatserver_gateway.figures import Figures
from chatserver_gateway.ranking import Ranker
from chatserver_gateway.shelf import Shelf

FLUSH_S = 5.0


class Listening:
    def __init__(self, ranker: Ranker, figures: Figures, shelf: Shelf) -> None:
        self._ranker = ranker
        self._figures = figures
        self._shelf = shelf
        self._task: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()
        self._is_over = asyncio.Event()

    def open(self, ctx: Context) -> None:
        self._ctx = ctx
        self._is_over.clear()
        self._task = asyncio.create_task(self._keep_writing(), name="gateway figures")

    async def close(self) -> None:
        """What was counted is written."""
        if self._task is not None:
            self._is_over.set()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
            await self.flush()

    def started(self, start: AttemptStart) -> None:
        self._ranker.started(start)
        self._figures.started(start)

    def ended(self, end: AttemptEnd) -> None:
        news = self._ranker.ended(end)
        self._figures.ended(end)
        notices, channel, model = self._ctx.notices, end.channel, end.model
        for one in news:
            if one == "key_refused":
                notices.tell_soon(
                    f"key {channel}",
                    "The key of the channel %(channel)s was refused, so it is not asked any more. Give it a new key; it"
                    " is tried again every five minutes.",
                    level="error",
                    channel=channel,
                )
            elif one == "pair_refused":
                notices.tell_soon(
                    f"pair {channel} {model}",
                    "The channel %(channel)s may not use the model %(model)s, so it is not asked for it any more. Allow"
                    " it at the service, or take the model from the channel; it is tried again every five minutes.",
                    channel=channel,
                    model=model,
                )
            elif one == "key_accepted":
                notices.clear_soon(f"key {channel}")
            elif one == "pair_accepted":
                notices.clear_soon(f"pair {channel} {model}")
            else:
                self._ctx.log.info(f"breaker_{one}", channel=channel, model=model, outcome=end.outcome)

    async def flush(self) -> None:
        """Write what was counted; what cannot be written now is kept for the next time."""
        async with self._writing:  # whoever waits for figures finds those that another is writing
            cells, errors = self._figures.take(self._ctx.clock.now_us())
            try:
                await self._shelf.add(cells, errors)
            except ChatserverError as error:
                self._figures.give_back(cells, errors)
                self._ctx.log.warning("figures_not_written", code=error.code)

    async def _keep_writing(self) -> None:
        while not self._is_over.is_set():
            try:
                async with asyncio.timeout(FLUSH_S):
                    await self._is_over.wait()
            except TimeoutError:
                await self.flush()
