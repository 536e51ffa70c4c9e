"""The menu of a message: what is seldom done with it, its figures, and what was sent for it."""

from __future__ import annotations

import asyncio

from litestar import get
from litestar.params import FromPath

from chatserver.domain.messages import text_of
from chatserver.web import templating, views
from chatserver.web.markdown import render
from chatserver.web.pages.visit import Page, PageRequest, Visit, html
from chatserver.words import gettext as _


@get("/m/{message_id:str}/more")
async def show_more(request: PageRequest, message_id: FromPath[str]) -> Page:
    """The menu for htmx; for everybody else a page with the message and all its actions."""
    visit = await Visit.of(request)
    message = await visit.house.conversations.message(visit.actor, message_id)
    turn = await visit.house.sent_prompts.turn_of_reply(visit.actor, message_id)
    models = visit.models()
    titles = {model.id: model.title for model in models}
    is_reply = message.role == "assistant"
    said = None
    if is_reply and message.state != "running":
        _message, said = await visit.house.feedback.read(visit.actor, message_id)
    view = views.MessageView(
        message.id,
        message.conversation_id,
        message.role,
        message.state,
        views.author_of(message, titles),
        text=text_of(message.parts),
        verdict=said.value if said else "",
    )
    values = {
        "frame": visit.frame,
        "m": view,
        "link": f"/c/{message.conversation_id}/{message.id}/latest#m-{message.id}",
        "sent": turn.id if turn and turn.state != "running" else "",
        "facts": views.reply_facts(turn, titles.get(turn.model, "")) if turn and turn.state != "running" else (),
    }
    if visit.is_htmx:
        return html(templating.render("more.html", **values))
    rendered = await asyncio.to_thread(render, view.text) if is_reply else ""
    return html(
        templating.render(
            "more_page.html", html=rendered, models=views.model_views(models), model=message.model, **values
        )
    )


@get("/t/{turn_id:str}/prompt")
async def show_prompt(request: PageRequest, turn_id: FromPath[str]) -> Page:
    """What was sent for a turn of one's own. `all`: every message of it, else the last ones."""
    visit = await Visit.of(request)
    sent = await visit.house.sent_prompts.read(visit.actor, turn_id)
    title = next((model.title for model in visit.models() if model.id == sent.turn.model), "")
    whole = not visit.is_htmx and request.query_params.get("all") == "1"
    inner = templating.render(
        "prompt.html",
        frame=visit.frame,
        sent=views.prompt_view(sent, title, whole=whole),
        back=f"/c/{sent.turn.conversation_id}/{sent.turn.reply_id}/latest#m-{sent.turn.reply_id}",
        is_page=not visit.is_htmx,
    )
    if visit.is_htmx:
        return html(inner)
    return html(templating.render("form_page.html", frame=visit.frame, title=_("What was sent"), inner=inner))


route_handlers = (
    show_more,
    show_prompt,
)
