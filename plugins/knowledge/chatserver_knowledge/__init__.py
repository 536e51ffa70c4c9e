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
    SlotContext,
    hookimpl,
)
from chatserver import gettext as _
from chatserver_knowledge.answering import Answering
from chatserver_knowledge.api import Api
from chatserver_knowledge.embedding import Embedder
from chatserver_knowledge.ingest import LEASE_S, Ingest
from chatserver_knowledge.pages import FILES, Pages
from chatserver_knowledge.quotes import Quotes
from chatserver_knowledge.searching import Searching
from chatserver_knowledge.shelf import Shelf
from chatserver_knowledge.tables import MIGRATIONS


class Knowledge:
    """The plugin's hooks, each a line; what they do is in the file named after it."""

    def __init__(self) -> None:
        self.shelf = Shelf()
        embedder = Embedder()
        self.ingest = Ingest(self.shelf, embedder)
        self.searching = Searching(self.shelf, embedder)
        self.answering = Answering(self.shelf, self.searching)
        self.api = Api(self.shelf, self.searching)
        self.quotes = Quotes()
        self.pages = Pages(self.shelf, self.quotes)

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
        return [JobSpec("knowledge.read", self.ingest.run, lease_s=LEASE_S)]

    @hookimpl
    async def startup(self, ctx: Context) -> None:
        for one in (self.shelf, self.ingest, self.quotes, self.pages):
            one.open(ctx)

    @hookimpl
    async def prepare_send(self, request: SendRequest) -> SendRequest | None:
        return await self.answering.complete(request)

    @hookimpl(order=30)
    async def prepare_prompt(self, prompt: Prompt) -> Prompt | None:
        return await self.answering.add(prompt)

    @hookimpl
    async def handle_event(self, delivery: Delivery) -> None:
        if isinstance(delivery.event, AccountErased):
            await self.shelf.forget(delivery.event.account_id)

    @hookimpl
    def nav_items(self) -> list[NavItem]:
        return [NavItem(_("Knowledge"), "/x/knowledge/", "library")]

    @hookimpl
    async def render_slot(self, context: SlotContext) -> str | None:
        return await self.pages.render(context)
