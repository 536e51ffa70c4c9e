"""The conversation as a whole: rename, pin, delete, take back."""

from __future__ import annotations

from litestar import get, post
from litestar.params import FromPath

from chatserver.domain.conversations import Conversation
from chatserver.errors import NotFound
from chatserver.web import templating, views
from chatserver.web.auth import form_of
from chatserver.web.pages.visit import Page, PageRequest, Visit, go, html
from chatserver.web.views import ChatView


@get("/c/{conversation_id:str}/about/{what:str}")
async def show_about(request: PageRequest, conversation_id: FromPath[str], what: FromPath[str]) -> Page:
    """The small forms of a conversation: `rename`, `delete`, `export`, and `end` of a temporary one."""
    visit = await Visit.of(request)
    if what not in ("rename", "delete", "export", "end"):
        raise NotFound
    conversation = await visit.house.conversations.get(visit.actor, conversation_id)
    tip = request.query_params.get("tip") or conversation.tip_id or ""
    inner = templating.render(f"chat_{what}.html", frame=visit.frame, conversation=conversation, tip=tip)
    if visit.is_htmx:
        return html(inner)
    return html(templating.render("form_page.html", frame=visit.frame, title=conversation.title, inner=inner))


@post("/c/{conversation_id:str}/rename", status_code=200)
async def rename(request: PageRequest, conversation_id: FromPath[str]) -> Page:
    visit = await Visit.of(request)
    form = await form_of(request)
    found = await visit.house.conversations.update(visit.actor, conversation_id, title=form.get("title", ""))
    return await _about_changed(visit, found)


@post("/c/{conversation_id:str}/pin", status_code=200)
async def pin(request: PageRequest, conversation_id: FromPath[str]) -> Page:
    visit = await Visit.of(request)
    form = await form_of(request)
    is_pinned = form.get("pinned", "1") == "1"
    found = await visit.house.conversations.update(visit.actor, conversation_id, pinned=is_pinned)
    return await _about_changed(visit, found)


async def _about_changed(visit: Visit, conversation: Conversation) -> Page:
    if not visit.is_htmx:
        return go(f"/c/{conversation.id}")
    chat = ChatView(
        conversation.id, views.title_of(conversation), is_pinned=conversation.pinned, is_archived=conversation.archived
    )
    sidebar = await visit.sidebar(conversation.id)
    return html(templating.render("about_changed.html", frame=visit.frame, chat=chat, sidebar=sidebar))


@post("/c/{conversation_id:str}/delete", status_code=200)
async def delete_conversation(request: PageRequest, conversation_id: FromPath[str]) -> Page:
    visit = await Visit.of(request)
    deletion = await visit.house.conversations.delete(visit.actor, conversation_id)
    if not visit.is_htmx:
        return go("/")
    undo = templating.render("undo.html", deletion=deletion, is_chat=True)
    lines = templating.render("chats.html", sidebar=await visit.sidebar())
    return await visit.show_chat(visit.new_chat(), push="/", extra=undo + lines)


@post("/deletions/{deletion_id:str}/restore-chat", status_code=200)
async def restore_conversation(request: PageRequest, deletion_id: FromPath[str]) -> Page:
    visit = await Visit.of(request)
    deletion = await visit.house.conversations.restore(visit.actor, deletion_id)
    if not visit.is_htmx:
        return go(f"/c/{deletion.conversation_id}")
    lines = templating.render("chats.html", sidebar=await visit.sidebar(deletion.conversation_id))
    extra = lines + templating.render("no_toast.html")
    return await visit.show_branch(deletion.conversation_id, deletion.tip_id, extra=extra)


route_handlers = (
    show_about,
    rename,
    pin,
    delete_conversation,
    restore_conversation,
)
