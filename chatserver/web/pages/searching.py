"""Finding: the search page with its filters, and the list of chats narrowed as one types."""

from __future__ import annotations

from typing import Literal

import msgspec
from litestar import get
from litestar.params import FromQuery

from chatserver.clock import now_us
from chatserver.domain.filing import SearchFilter
from chatserver.web import templating, views
from chatserver.web.days import day_end_us, day_start_us
from chatserver.web.pages.visit import Page, PageRequest, Visit, again, html

HITS = 50


class Asked(msgspec.Struct, frozen=True):
    """The filters as they were typed."""

    model: str = ""
    role: Literal["", "user", "assistant"] = ""
    folder: str = ""
    tag: str = ""
    since: str = ""
    until: str = ""


@get("/search")
async def search(
    request: PageRequest,
    q: FromQuery[str] = "",
    model: FromQuery[str] = "",
    role: FromQuery[Literal["", "user", "assistant"]] = "",
    folder: FromQuery[str] = "",
    tag: FromQuery[str] = "",
    since: FromQuery[str] = "",
    until: FromQuery[str] = "",
    cursor: FromQuery[int] = 0,
) -> Page:
    visit = await Visit.of(request)
    query = q.strip()[:200]
    if visit.is_htmx and not query:
        return html(templating.render("lines.html", sidebar=await visit.sidebar()))
    asked = Asked(model, role, folder, tag, since, until)
    wanted = SearchFilter(model, role, folder, tag, day_start_us(since, visit.zone), day_end_us(until, visit.zone))
    found = await visit.house.conversations.search(visit.actor, query, HITS, wanted, cursor) if query else []
    hits = views.hit_views(found, now_us=now_us(), zone=visit.zone)
    if visit.is_htmx:
        return html(templating.render("hits.html", hits=hits, query=query))
    more = again(request, cursor=found[-1].cursor) if len(found) == HITS else ""
    return html(
        templating.render(
            "search.html",
            frame=visit.frame,
            sidebar=await visit.sidebar(),
            hits=hits,
            query=query,
            asked=asked,
            narrowed=asked != Asked(),
            models=views.model_views(visit.models()),
            folders=views.folder_views(await visit.house.filing.folders(visit.actor)),
            tags=await visit.house.filing.tags(visit.actor),
            more_href=more,
        )
    )


route_handlers = (search,)
