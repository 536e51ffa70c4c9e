"""/status for everybody, and the page of the channels for admins."""

from __future__ import annotations

from pathlib import Path

import msgspec

from chatserver import Context, PageAnswer, PageFiles, PageVisit, PublicVisit, Route
from chatserver_gateway.figures import percentile_ms
from chatserver_gateway.heartbeats import Heartbeats
from chatserver_gateway.listening import Listening
from chatserver_gateway.ranking import Ranker, Standing
from chatserver_gateway.shelf import DAY_US, Shelf
from chatserver_gateway.status import StatusBook

HERE = Path(__file__).parent
FILES = PageFiles(str(HERE / "templates"), str(HERE / "static"))


class PairLine(msgspec.Struct, frozen=True):
    """A channel and a model of it, of the last 24 hours. share: of the model's requests, in percent; fallback: of what
    it answered, how much came after another channel had failed."""

    channel: str
    model: str
    standing: Standing
    asked: int
    share: int
    fallback: int
    failed: int
    p50_ms: int | None
    error: str = ""
    error_when: str = ""


class Pages:
    def __init__(
        self, shelf: Shelf, book: StatusBook, ranker: Ranker, listening: Listening, heartbeats: Heartbeats
    ) -> None:
        self._shelf = shelf
        self._book = book
        self._ranker = ranker
        self._listening = listening
        self._heartbeats = heartbeats

    def open(self, ctx: Context) -> None:
        self._ctx = ctx

    def routes(self) -> list[Route]:
        return [
            Route("/", public_page=self.show_status, prefix="/status"),
            Route("/", page=self.show_channels, permission="admin.console"),
        ]

    async def show_status(self, visit: PublicVisit) -> PageAnswer:
        status = await self._book.read()
        return visit.page(
            "status.html",
            status=status,
            incidents=[(one, visit.day(one.began_at)) for one in status.incidents],
            day=visit.day,
            is_admin=visit.actor is not None and visit.actor.is_admin,
        )

    async def show_channels(self, visit: PageVisit) -> PageAnswer:
        await self._listening.flush()  # a breaker that opened just now stands beside the failures that opened it
        return await visit.page(
            "channels.html",
            lines=await self._lines(visit),
            used=await self._heartbeats.used_tokens(),
            most=self._heartbeats.tokens_per_day,
            minutes=int(self._heartbeats.every_s // 60),
        )

    async def _lines(self, visit: PageVisit) -> list[PairLine]:
        sums = await self._shelf.pairs(self._ctx.clock.now_us() - DAY_US)
        errors = await self._shelf.errors()
        served = {(one.channel.name, one.model.id): one.channel.models for one in self._ctx.probes.pairs()}
        totals: dict[str, int] = {}
        for (_, model), cell in sums.items():
            totals[model] = totals.get(model, 0) + cell.asked - cell.probes
        lines = []
        for pair in sorted(pair for pair, models in served.items() if models or pair in sums):
            channel, model = pair
            cell, error = sums.get(pair), errors.get(pair)
            asked = cell.asked - cell.probes if cell else 0
            answered = cell.asked - cell.failed if cell else 0
            lines.append(
                PairLine(
                    channel,
                    model,
                    self._ranker.standing(channel, model),
                    asked,
                    round(100 * asked / totals[model]) if asked else 0,
                    round(100 * cell.fallbacks / answered) if cell and answered else 0,
                    cell.failed if cell else 0,
                    percentile_ms(cell.times, 0.5) if cell else None,
                    error.message or error.outcome if error else "",
                    visit.when(error.at) if error else "",
                )
            )
        return lines
