"""Finding: the search page, and the list of chats narrowed as one types."""

from __future__ import annotations

from litestar import get
from litestar.params import FromQuery

from chatserver.clock import now_us
from chatserver.web import templating, views
from chatserver.web.pages.visit import Page, PageRequest, Visit, html


@get("/search")
async def search(request: PageRequest, q: FromQuery[str] = "") -> Page:
    visit = await Visit.of(request)
    query = q.strip()[:200]
    if visit.is_htmx and not query:
        return html(templating.render("lines.html", sidebar=await visit.sidebar()))
    found = await visit.house.conversations.search(visit.actor, query) if query else []
    hits = views.hit_views(found, now_us=now_us(), zone=visit.zone)
    if visit.is_htmx:
        return html(templating.render("hits.html", hits=hits, query=query))
    sidebar = await visit.sidebar()
    return html(templating.render("search.html", frame=visit.frame, sidebar=sidebar, hits=hits, query=query))


route_handlers = (search,)
