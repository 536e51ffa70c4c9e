"""The console's first page: how the house is doing."""

from __future__ import annotations

from litestar import get

from chatserver.web.pages.console.desk import CONSOLE, show
from chatserver.web.pages.console.notices import unread
from chatserver.web.pages.visit import Page, PageRequest, Visit
from chatserver.web.slots import CONSOLE_SLOTS
from chatserver.web.views.overview import PERIODS, overview_view


@get("/admin", opt=CONSOLE)
async def show_overview(request: PageRequest) -> Page:
    visit = await Visit.of(request)
    period = str(request.query_params.get("period", ""))
    period = period if period in PERIODS else "day"
    span_hours, count = PERIODS[period]
    seen = await visit.house.overviews.read(visit.actor, span_hours=span_hours, count=count)
    view = overview_view(seen, period, visit.zone)
    return await show(visit, "overview.html", places=("head", *CONSOLE_SLOTS), notices=await unread(visit), seen=view)


route_handlers = (show_overview,)
