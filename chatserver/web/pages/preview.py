"""How a reply that is being rewritten will look. Nothing of it is kept."""

from __future__ import annotations

import asyncio

from litestar import post
from litestar.params import FromPath

from chatserver.chat.sending import check_text
from chatserver.web import templating, views
from chatserver.web.auth import form_of
from chatserver.web.markdown import render
from chatserver.web.pages.visit import Page, PageRequest, Visit, clean_text, html


@post("/m/{message_id:str}/preview", status_code=200)
async def preview(request: PageRequest, message_id: FromPath[str]) -> Page:
    """The rendered text for a script; for everybody else the form again, with it."""
    visit = await Visit.of(request)
    form = await form_of(request)
    message = await visit.house.conversations.message(visit.actor, message_id)
    text = clean_text(form.get("text", ""))
    check_text(text)
    rendered = await asyncio.to_thread(render, text)
    if visit.is_htmx:
        return html(templating.render("preview.html", frame=visit.frame, html=rendered))
    view = views.MessageView(message.id, message.conversation_id, message.role, message.state, "", text=text)
    return html(templating.render("edit_page.html", frame=visit.frame, message=view, html=rendered))


route_handlers = (preview,)
