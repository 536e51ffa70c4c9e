"""Knowledge: collections of files that answers are looked up in. One object of this class per server."""

from __future__ import annotations

from chatserver import (
    AccountErased,
    Context,
    Delivery,
    JobSpec,
    Migration,
    NavItem,
    PageFiles,
    Prompt,
    Route,
    SendRequest,
    Setting,
    SlotContext,
    hookimpl,
)
from chatserver import gettext as _
from chatserver_knowledge.answering import Answering
from chatserver_knowledge.api import Api
from chatserver_knowledge.chunks import Chunks
from chatserver_knowledge.embedding import Embedder
from chatserver_knowledge.ingest import LEASE_S, Ingest
from chatserver_knowledge.near import Near
from chatserver_knowledge.pages import FILES, Pages
from chatserver_knowledge.quotes import Quotes
from chatserver_knowledge.renewal import EVERY_S, Renewal
from chatserver_knowledge.renewal import LEASE_S as RENEWAL_LEASE_S
from chatserver_knowledge.searching import Searching
from chatserver_knowledge.shelf import Shelf
from chatserver_knowledge.tables import MIGRATIONS

DAY_S = 86_400


class Knowledge:
    """The plugin's hooks, each a line; what they do is in the file named after it."""

    def __init__(self) -> None:
        self.shelf = Shelf()
        self.near = Near()
        self.chunks = Chunks(self.near)
        self.embedder = Embedder()
        self.ingest = Ingest(self.shelf, self.chunks, self.embedder)
        self.renewal = Renewal(self.near, self.chunks, self.embedder, self.ingest)
        self.searching = Searching(self.near, self.chunks, self.embedder)
        self.answering = Answering(self.shelf, self.searching)
        self.api = Api(self.shelf, self.searching)
        self.quotes = Quotes()
        self.pages = Pages(self.shelf, self.quotes)

    @hookimpl
    def register_settings(self) -> list[Setting]:
        return [
            Setting(
                "embedding_model",
                "The model that embeds, as channels serve it to everybody's groups; empty: the one in the package."
                " Changed, all passages are embedded anew, and the old vectors serve until that is done.",
            ),
            Setting(
                "memory_mb",
                "How much memory the indexes of collections in use may take.",
                kind="number",
                default="512",
            ),
        ]

    @hookimpl
    def register_migrations(self) -> list[Migration]:
        return MIGRATIONS

    @hookimpl
    def register_pages(self) -> list[PageFiles]:
        return [FILES]

    @hookimpl
    def register_routes(self) -> list[Route]:
        return [*self.api.routes(), *self.pages.routes()]

    @hookimpl
    def register_jobs(self) -> list[JobSpec]:
        return [
            JobSpec("knowledge.read", self.ingest.run, lease_s=LEASE_S),
            JobSpec("knowledge.sweep", self.shelf.sweep, every_s=DAY_S),
            JobSpec("knowledge.renew", self.renewal.run, every_s=EVERY_S, lease_s=RENEWAL_LEASE_S),
        ]

    @hookimpl
    async def startup(self, ctx: Context) -> None:
        for one in (
            self.shelf,
            self.chunks,
            self.embedder,
            self.ingest,
            self.renewal,
            self.searching,
            self.quotes,
            self.pages,
        ):
            one.open(ctx)
        await self.near.open(ctx)

    @hookimpl
    async def shutdown(self) -> None:
        self.embedder.close()

    @hookimpl
    async def prepare_send(self, request: SendRequest) -> SendRequest | None:
        return await self.answering.complete(request)

    @hookimpl(order=30)
    async def prepare_prompt(self, prompt: Prompt) -> Prompt | None:
        return await self.answering.add(prompt)

    @hookimpl(events=(AccountErased,))
    async def handle_event(self, delivery: Delivery) -> None:
        if isinstance(delivery.event, AccountErased):
            await self.shelf.forget(delivery.event.account_id)

    @hookimpl
    async def nav_items(self) -> list[NavItem]:
        return [NavItem(_("Knowledge"), "/x/knowledge/", "library")]

    @hookimpl(slots=("composer.tools", "admin.card"))
    async def render_slot(self, context: SlotContext) -> str | None:
        return await self.renewal.render(context) or await self.pages.render(context)
