"""Artifacts: what answers hold beside their words. One object of this class per server."""

from __future__ import annotations

from chatserver import (
    AccountErased,
    Context,
    Cover,
    CoverContext,
    Delivery,
    JobSpec,
    Migration,
    PageFiles,
    Prompt,
    Route,
    Setting,
    SlotContext,
    hookimpl,
)
from chatserver_artifacts.cards import Cards
from chatserver_artifacts.edits import MIGRATIONS, Edits
from chatserver_artifacts.frame import Frame
from chatserver_artifacts.instruction import SETTINGS, Instruction
from chatserver_artifacts.pages import FILES, Pages
from chatserver_artifacts.shelf import Shelf

DAY_S = 86_400


class Artifacts:
    """The plugin's hooks, each a line; what they do is in the file named after it."""

    def __init__(self) -> None:
        self.edits = Edits()
        self.shelf = Shelf(self.edits)
        self.frame = Frame(self.shelf)
        self.cards = Cards(self.shelf)
        self.pages = Pages(self.shelf, self.edits, self.frame, self.cards)
        self.instruction = Instruction()

    @hookimpl
    def register_settings(self) -> list[Setting]:
        return SETTINGS

    @hookimpl
    def register_migrations(self) -> list[Migration]:
        return MIGRATIONS

    @hookimpl
    def register_pages(self) -> list[PageFiles]:
        return [FILES]

    @hookimpl
    def register_routes(self) -> list[Route]:
        return [*self.frame.routes(), *self.pages.routes()]

    @hookimpl
    def register_jobs(self) -> list[JobSpec]:
        return [JobSpec("artifacts.forget", self.edits.forget_erased, every_s=DAY_S)]

    @hookimpl
    async def startup(self, ctx: Context) -> None:
        for one in (self.edits, self.shelf, self.frame, self.cards, self.pages, self.instruction):
            one.open(ctx)

    @hookimpl(order=40)
    async def prepare_prompt(self, prompt: Prompt) -> Prompt | None:
        return self.instruction.add(prompt)

    @hookimpl(events=(AccountErased,))
    async def handle_event(self, delivery: Delivery) -> None:
        if isinstance(delivery.event, AccountErased):
            await self.edits.forget(delivery.event.account_id)

    @hookimpl
    async def cover_text(self, context: CoverContext) -> list[Cover]:
        return await self.cards.cover(context)

    @hookimpl(slots=("panel.tab", "message.writing", "message.footer"))
    async def render_slot(self, context: SlotContext) -> str | None:
        return await self.pages.render(context)
