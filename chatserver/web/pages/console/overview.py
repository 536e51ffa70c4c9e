"""The console's first page: how the house is doing."""

from __future__ import annotations

from litestar import get

from chatserver.web.pages.console.desk import CONSOLE, show
from chatserver.web.pages.console.notices import unread
from chatserver.web.pages.visit import Page, PageRequest, Visit
from chatserver.web.slots import CONSOLE_SLOTS


@get("/admin", opt=CONSOLE)
async def show_overview(request: PageRequest) -> Page:
    visit = await Visit.of(request)
    return await show(visit, "overview.html", places=("head", *CONSOLE_SLOTS), notices=await unread(visit))


route_handlers = (show_overview,)
