"""Clear-context markers, set and taken back."""

from __future__ import annotations

from litestar import post
from litestar.params import FromPath, FromQuery

from chatserver.web.auth import form_of
from chatserver.web.pages.visit import Page, PageRequest, Visit


@post("/c/{conversation_id:str}/clear-context", status_code=200)
async def clear_context(request: PageRequest, conversation_id: FromPath[str], message_id: FromQuery[str] = "") -> Page:
    visit = await Visit.of(request)
    await visit.house.conversations.clear_context(visit.actor, conversation_id, message_id)
    return await visit.show_branch(conversation_id, message_id)


@post("/c/{conversation_id:str}/restore-context", status_code=200)
async def restore_context(
    request: PageRequest, conversation_id: FromPath[str], message_id: FromQuery[str] = ""
) -> Page:
    """Take a marker back; the view stays where the reader is."""
    visit = await Visit.of(request)
    form = await form_of(request)
    await visit.house.conversations.restore_context(visit.actor, conversation_id, message_id)
    return await visit.show_branch(conversation_id, form.get("parent_id") or None)


route_handlers = (
    clear_context,
    restore_context,
)
