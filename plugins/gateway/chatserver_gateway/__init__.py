"""Many channels behind one model name. One object of this class per server."""

from __future__ import annotations

from chatserver import (
    Actor,
    AttemptEnd,
    AttemptStart,
    Candidates,
    Context,
    JobSpec,
    Migration,
    ModelUse,
    NavItem,
    PageFiles,
    Route,
    Setting,
    clock,
    hookimpl,
)
from chatserver import gettext as _
from chatserver_gateway.figures import Figures
from chatserver_gateway.heartbeats import LOOK_S, Heartbeats
from chatserver_gateway.listening import Listening
from chatserver_gateway.pages import FILES, Pages
from chatserver_gateway.ranking import Ranker
from chatserver_gateway.shelf import MIGRATIONS, Shelf
from chatserver_gateway.status import StatusBook

DAY_S = 86_400


class Gateway:
    """The plugin's hooks, each a line; what they do is in the file named after it."""

    def __init__(self) -> None:
        self.shelf = Shelf()
        self.figures = Figures()
        self.ranker = Ranker(clock.monotonic_s)
        self.listening = Listening(self.ranker, self.figures, self.shelf)
        self.heartbeats = Heartbeats(self.shelf, self.listening, self.figures)
        self.book = StatusBook(self.shelf)
        self.pages = Pages(self.shelf, self.book, self.ranker, self.listening, self.heartbeats)

    @hookimpl
    def register_settings(self) -> list[Setting]:
        return [
            Setting(
                "heartbeat_minutes",
                "How often a channel that nobody uses is asked; 0 for never.",
                "number",
                "5",
                is_live=True,
                least=0,
                most=1_440,
            ),
            Setting(
                "heartbeat_tokens_per_day",
                "How many tokens heartbeats may use in a day.",
                "number",
                "20000",
                is_live=True,
                least=0,
                most=1_000_000_000,
            ),
        ]

    @hookimpl
    def register_pages(self) -> list[PageFiles]:
        return [FILES]

    @hookimpl
    def register_routes(self) -> list[Route]:
        return self.pages.routes()

    @hookimpl
    async def admin_pages(self, actor: Actor) -> list[NavItem]:
        return [NavItem(_("Traffic"), "/x/gateway/", "activity"), NavItem(_("Status"), "/status", "check")]

    @hookimpl
    def register_migrations(self) -> list[Migration]:
        return MIGRATIONS

    @hookimpl
    def register_jobs(self) -> list[JobSpec]:
        return [
            JobSpec("gateway.prune", self.shelf.prune, every_s=DAY_S),
            JobSpec("gateway.heartbeats", self.heartbeats.run, every_s=LOOK_S),
        ]

    @hookimpl
    async def startup(self, ctx: Context) -> None:
        self.shelf.open(ctx)
        self.listening.open(ctx)
        for part in (self.heartbeats, self.book, self.pages):
            part.open(ctx)

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
