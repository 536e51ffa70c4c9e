"""Presets: prompts, a model and its parameters under a name. One object of this class per server."""

from __future__ import annotations

from chatserver import (
    AccountErased,
    Actor,
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
from chatserver_presets.applying import Applying
from chatserver_presets.chip import Chip
from chatserver_presets.pages import FILES, Pages
from chatserver_presets.shelf import MIGRATIONS, Shelf

DAY_S = 86_400


class Presets:
    """The plugin's hooks, each a line; what they do is in the file named after it."""

    def __init__(self) -> None:
        self.shelf = Shelf()
        self.pages = Pages(self.shelf)
        self.applying = Applying(self.shelf)
        self.chip = Chip(self.shelf)

    @hookimpl
    def register_migrations(self) -> list[Migration]:
        return MIGRATIONS

    @hookimpl
    def register_pages(self) -> list[PageFiles]:
        return [FILES]

    @hookimpl
    def register_routes(self) -> list[Route]:
        return self.pages.routes()

    @hookimpl
    def register_jobs(self) -> list[JobSpec]:
        return [JobSpec("presets.sweep", self.shelf.sweep, every_s=DAY_S)]

    @hookimpl
    async def startup(self, ctx: Context) -> None:
        self.shelf.open(ctx)
        self.chip.open(ctx)

    @hookimpl
    async def prepare_send(self, request: SendRequest) -> SendRequest | None:
        return await self.applying.complete(request)

    @hookimpl(order=10)
    async def prepare_prompt(self, prompt: Prompt) -> Prompt | None:
        return await self.applying.apply(prompt)

    @hookimpl(events=(AccountErased,))
    async def handle_event(self, delivery: Delivery) -> None:
        if isinstance(delivery.event, AccountErased):
            await self.shelf.forget(delivery.event.account_id)

    @hookimpl
    async def nav_items(self, actor: Actor) -> list[NavItem]:
        return [NavItem(_("Presets"), "/x/presets/", "store")]

    @hookimpl(slots=("composer.tools",))
    async def render_slot(self, context: SlotContext) -> str | None:
        return await self.chip.render(context) if context.slot == "composer.tools" else None
