"""The palette, which finds chats and commands as one types, and the sheet of all keys."""

from __future__ import annotations

from litestar import get
from litestar.params import FromQuery

from chatserver.web import templating, views
from chatserver.web.pages.visit import Page, PageRequest, Visit, html

CHATS = 8


@get("/palette")
async def show_palette(request: PageRequest, q: FromQuery[str] = "") -> Page:
    """Options for what was typed: chats by title and words, then commands by their names."""
    visit = await Visit.of(request)
    query = q.strip()[:200]
    wanted = query.casefold()
    commands = [
        one
        for one in views.commands()
        if one.is_listed and wanted in one.label.casefold() and (visit.actor.is_admin or not one.admins)
    ]
    if query:
        found = await visit.house.conversations.search(visit.actor, query, 40)
        chats = {hit.conversation_id: hit.title for hit in found}
    else:
        lines, _more = await visit.house.conversations.list(visit.actor, None, CHATS)
        chats = {line.id: line.title for line in lines}
    options = list(chats.items())[:CHATS]
    return html(templating.render("palette_options.html", chats=options, commands=commands, query=query))


@get("/shortcuts")
async def show_shortcuts(request: PageRequest) -> Page:
    """Every key and what it does: into a dialog for htmx, else a page."""
    visit = await Visit.of(request)
    is_mac = any(mark in request.headers.get("user-agent", "") for mark in ("Mac OS", "iPhone", "iPad"))
    values = {"commands": [one for one in views.commands() if one.keys], "hints": views.hints(), "is_mac": is_mac}
    if visit.is_htmx:
        return html(templating.render("shortcuts.html", **values))
    sidebar = await visit.sidebar()
    return html(templating.render("shortcuts_page.html", frame=visit.frame, sidebar=sidebar, **values))


route_handlers = (show_palette, show_shortcuts)
