"""Many channels behind one model name. One object of this class per server."""

from __future__ import annotations

from chatserver import (
    AttemptEnd,
    AttemptStart,
    Candidates,
    Context,
    JobSpec,
    Migration,
    ModelUse,
    clock,
    hookimpl,
)
from chatserver_gateway.figures import Figures
from chatserver_gateway.listening import Listening
from chatserver_gateway.ranking import Ranker
from chatserver_gateway.shelf import MIGRATIONS, Shelf

DAY_S = 86_400


class Gateway:
    """The plugin's hooks, each a line; what they do is in the file named after it."""

    def __init__(self) -> None:
        self.shelf = Shelf()
        self.figures = Figures()
        self.ranker = Ranker(clock.monotonic_s)
        self.listening = Listening(self.ranker, self.figures, self.shelf)

    @hookimpl
    def register_migrations(self) -> list[Migration]:
        return MIGRATIONS

    @hookimpl
    def register_jobs(self) -> list[JobSpec]:
        return [JobSpec("gateway.prune", self.shelf.prune, every_s=DAY_S)]

    @hookimpl
    async def startup(self, ctx: Context) -> None:
        self.shelf.open(ctx)
        self.listening.open(ctx)

    @hookimpl
    async def shutdown(self) -> None:
        await self.listening.close()

    @hookimpl
    async def rank_channels(self, candidates: Candidates, use: ModelUse) -> Candidates | None:
        return self.ranker.rank(candidates, use)

    @hookimpl
    async def attempt_started(self, start: AttemptStart) -> None:
        self.listening.started(start)

    @hookimpl
    async def attempt_ended(self, end: AttemptEnd) -> None:
        self.listening.ended(end)
