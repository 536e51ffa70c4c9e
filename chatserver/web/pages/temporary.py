"""Temporary chats: keep one, end one, and what their page tells of being open or closed."""

from __future__ import annotations

from litestar import post
from litestar.params import FromPath

from chatserver.web import templating
from chatserver.web.pages.visit import Page, PageRequest, Visit, go, nothing


@post("/c/{conversation_id:str}/keep", status_code=200)
async def keep(request: PageRequest, conversation_id: FromPath[str]) -> Page:
    visit = await Visit.of(request)
    await visit.house.temporaries.keep(visit.actor, conversation_id)
    if not visit.is_htmx:
        return go(f"/c/{conversation_id}")
    lines = templating.render("chats.html", sidebar=await visit.sidebar(conversation_id))
    return await visit.show_branch(conversation_id, None, extra=lines)


@post("/c/{conversation_id:str}/end", status_code=200)
async def end(request: PageRequest, conversation_id: FromPath[str]) -> Page:
    """Erased for good; where it was, a new chat."""
    visit = await Visit.of(request)
    await visit.house.temporaries.end(visit.actor, conversation_id)
    return await visit.show_chat(visit.new_chat(), push="/") if visit.is_htmx else go("/")


@post("/c/{conversation_id:str}/opened", status_code=200)
async def opened(request: PageRequest, conversation_id: FromPath[str]) -> Page:
    """Its page is open, says the page, and again every few minutes."""
    visit = await Visit.of(request)
    await visit.house.temporaries.open(visit.actor, conversation_id)
    return nothing()


@post("/c/{conversation_id:str}/closed", status_code=200)
async def closed(request: PageRequest, conversation_id: FromPath[str]) -> Page:
    """Its page was left; a reload says `opened` right after."""
    visit = await Visit.of(request)
    await visit.house.temporaries.close(visit.actor, conversation_id)
    return nothing()


route_handlers = (
    keep,
    end,
    opened,
    closed,
)
