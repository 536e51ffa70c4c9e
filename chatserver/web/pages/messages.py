"""One message: its text, and taking it away and back."""

from __future__ import annotations

from litestar import Response, get, post
from litestar.params import FromPath

from chatserver.web import templating
from chatserver.web.pages.visit import Page, PageRequest, Visit, html


@get("/m/{message_id:str}/text")
async def show_text(request: PageRequest, message_id: FromPath[str]) -> Response[bytes]:
    """What was written, as it was written, for the clipboard."""
    visit = await Visit.of(request)
    text = await visit.house.conversations.text(visit.actor, message_id)
    return Response(text.encode(), media_type="text/plain; charset=utf-8")


@get("/m/{message_id:str}/delete")
async def show_delete(request: PageRequest, message_id: FromPath[str]) -> Page:
    """How much a delete would hide, before it does."""
    visit = await Visit.of(request)
    message = await visit.house.conversations.message(visit.actor, message_id)
    count = await visit.house.conversations.count_below(visit.actor, message_id)
    template = "delete.html" if visit.is_htmx else "delete_page.html"
    back = f"/c/{message.conversation_id}"
    return html(templating.render(template, frame=visit.frame, message_id=message_id, count=count, back=back))


@post("/m/{message_id:str}/delete", status_code=200)
async def delete(request: PageRequest, message_id: FromPath[str]) -> Page:
    visit = await Visit.of(request)
    deletion = await visit.house.conversations.delete_message(visit.actor, message_id)
    undo = templating.render("undo.html", deletion=deletion) if visit.is_htmx else ""
    return await visit.show_branch(deletion.conversation_id, deletion.tip_id, extra=undo)


@post("/deletions/{deletion_id:str}/restore", status_code=200)
async def restore(request: PageRequest, deletion_id: FromPath[str]) -> Page:
    visit = await Visit.of(request)
    deletion = await visit.house.conversations.restore(visit.actor, deletion_id)
    gone = templating.render("no_toast.html") if visit.is_htmx else ""
    return await visit.show_branch(deletion.conversation_id, deletion.tip_id, extra=gone)


route_handlers = (
    show_text,
    show_delete,
    delete,
    restore,
)
