"""A model that says everything louder, a link to it in the message box, and a page that says how loud."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from chatserver import (
    BadInput,
    Channel,
    ChatRequest,
    Egress,
    Finish,
    Model,
    PageAnswer,
    PageFiles,
    PageVisit,
    Provider,
    ProviderDelta,
    Route,
    SlotContext,
    TextDelta,
    hookimpl,
    text_of,
)


class Shout:
    """Both the plugin and its provider. How loud it is lasts until the server stops, and only admins may say it."""

    name = "shout"

    def __init__(self) -> None:
        self.marks = 1

    @hookimpl
    def register_providers(self) -> list[Provider]:
        return [self]

    @hookimpl
    def register_pages(self) -> list[PageFiles]:
        return [PageFiles(str(Path(__file__).parent / "templates"))]

    @hookimpl
    def register_routes(self) -> list[Route]:
        return [
            Route("/", page=self.show, permission="admin.console"),
            Route("/", page=self.save, permission="admin.console", methods=("POST",)),
        ]

    @hookimpl
    def render_slot(self, context: SlotContext) -> str | None:
        if context.slot != "composer.tools" or context.account.role != "admin":
            return None
        return '<a class="btn" href="/x/shout/">How loud it shouts</a>'

    async def discover(self, http: Egress) -> list[Channel]:
        return [Channel("shout", "shout", source="found")]

    async def list_models(self, channel: Channel, http: Egress) -> list[Model]:
        return [Model("shout", context_tokens=8_000)]

    async def chat(self, request: ChatRequest, channel: Channel, http: Egress) -> AsyncIterator[ProviderDelta]:
        yield TextDelta(text_of(request.messages[-1].parts).upper() + "!" * self.marks)
        yield Finish("stop")

    async def show(self, visit: PageVisit) -> PageAnswer:
        return await visit.page("settings.html", marks=self.marks)

    async def save(self, visit: PageVisit) -> PageAnswer:
        typed = visit.form.get("marks", "")
        if typed not in ("1", "2", "3"):
            problem = BadInput("Type a number from 1 to 3.", status=422)
            return await visit.page("settings.html", marks=typed, problem=problem)
        self.marks = int(typed)
        return visit.go("/x/shout/")
