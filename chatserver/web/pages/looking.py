"""Reading: a new chat, a branch, what stands above it, the list of chats."""

from __future__ import annotations

import msgspec
from litestar import get
from litestar.params import FromPath

from chatserver.web import templating, views
from chatserver.web.pages.visit import Page, PageRequest, Visit, go, html


@get("/")
async def show_new_chat(request: PageRequest) -> Page:
    """With `temporary`, one that is not kept."""
    visit = await Visit.of(request)
    chat = visit.new_chat()
    return await visit.show_chat(views.as_temporary(chat) if request.query_params.get("temporary") else chat)


@get("/c/{conversation_id:str}")
async def show_conversation(request: PageRequest, conversation_id: FromPath[str]) -> Page:
    visit = await Visit.of(request)
    return await visit.show_chat(await visit.chat(await visit.view(conversation_id)))


@get("/c/{conversation_id:str}/{message_id:str}")
async def show_branch(request: PageRequest, conversation_id: FromPath[str], message_id: FromPath[str]) -> Page:
    """The branch that ends at a message; with `before`, what stands above one of its messages."""
    visit = await Visit.of(request)
    before = request.query_params.get("before")
    if before is None:
        return await visit.show_chat(await visit.chat(await visit.view(conversation_id, message_id)))
    path = await visit.house.conversations.view(visit.actor, conversation_id, message_id, before=before)
    chat = await visit.chat(path)
    messages = tuple(msgspec.structs.replace(message, is_last=False) for message in chat.messages)
    chat = msgspec.structs.replace(chat, messages=messages)
    if visit.is_htmx:
        slot = await visit.slots(chat, page=False)
        return html(templating.render("older.html", frame=visit.frame, chat=chat, slot=slot))
    return await visit.show_chat(chat)


@get("/c/{conversation_id:str}/{message_id:str}/latest")
async def show_latest(request: PageRequest, conversation_id: FromPath[str], message_id: FromPath[str]) -> Page:
    """From a version to the branch last looked at below it."""
    visit = await Visit.of(request)
    leaf = await visit.house.conversations.leaf_below(visit.actor, conversation_id, message_id)
    return go(f"/c/{conversation_id}/{leaf}")


route_handlers = (
    show_new_chat,
    show_conversation,
    show_branch,
    show_latest,
)
