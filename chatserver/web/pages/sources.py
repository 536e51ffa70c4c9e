"""The tab of sources beside the chat: what an answer was given, and one passage of it on its page."""

from __future__ import annotations

from litestar import get
from litestar.params import FromPath

from chatserver.web import slots, templating, views
from chatserver.web.extensions import serves
from chatserver.web.pages.visit import Page, PageRequest, Visit, html


@get("/c/{conversation_id:str}/{message_id:str}/sources")
async def show_sources(request: PageRequest, conversation_id: FromPath[str], message_id: FromPath[str]) -> Page:
    """The panel for htmx, a page of its own for everybody else: of the newest answer at or above a message. `open`: the
    number of the source that is shown."""
    visit = await Visit.of(request)
    path = await visit.view(conversation_id, message_id)
    plugins = visit.house.plugins
    wanted = request.query_params.get("open", "")
    opened = int(wanted) if wanted.isascii() and wanted.isdigit() and len(wanted) < 4 else 0
    view = views.sources_view(
        conversation_id,
        message_id,
        [item.message for item in path.items],
        opened,
        leads=lambda url: serves(plugins, url),
    )
    values = {"frame": visit.frame, "view": view}
    if visit.is_htmx:
        slot = await slots.fill(visit.house.plugins, visit.actor.account, conversation_id=conversation_id)
        return html(templating.render("sources_panel.html", slot=slot, **values))
    chat = views.ChatView(conversation_id, views.title_of(path.conversation))
    sidebar = await visit.sidebar(conversation_id)
    return html(templating.render("sources_page.html", sidebar=sidebar, chat=chat, **values))


route_handlers = (show_sources,)
