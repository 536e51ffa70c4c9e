"""All chats as a list: folders, tags, the archive; filing one, and deeds done to many."""

from __future__ import annotations

from typing import cast, get_args

from litestar import get, post
from litestar.params import FromPath, FromQuery

from chatserver.clock import now_us
from chatserver.domain.filing import Deed, ListFilter
from chatserver.errors import BadInput, NotFound
from chatserver.web import templating, views
from chatserver.web.auth import form_of
from chatserver.web.pages.visit import Page, PageRequest, Visit, again, go, html
from chatserver.words import gettext as _

LINES = 100


@get("/chats")
async def show_chats(
    request: PageRequest,
    current: FromQuery[str] = "",
    folder: FromQuery[str | None] = None,
    tag: FromQuery[str] = "",
    archived: FromQuery[bool] = False,
    after: FromQuery[str | None] = None,
) -> Page:
    """For htmx the lines of the sidebar, or of one folder in it; for everybody else a page of all chats."""
    visit = await Visit.of(request)
    if visit.is_htmx and folder is None and not tag and not archived:
        list_html = templating.render("lines.html", sidebar=await visit.sidebar(current))
        return html(list_html + (await _crumb(visit, current) if current else ""))
    folders = await visit.house.filing.folders(visit.actor)
    here = next((one for one in folders if one.id == folder), None)
    if folder and here is None:
        raise NotFound("There is no such folder.")
    wanted = ListFilter(archived=archived, folder_id=folder, tag=tag)
    lines, following = await visit.house.conversations.list(visit.actor, after, LINES, wanted)
    shown = views.line_views(lines, now_us=now_us(), zone=visit.zone)
    if visit.is_htmx:
        return html(templating.render("folder_lines.html", lines=shown, current=current))
    title = here.name if here else f"#{tag}" if tag else _("Archived") if archived else _("All chats")
    return html(
        templating.render(
            "chats_page.html",
            frame=visit.frame,
            sidebar=await visit.sidebar(),
            title=title,
            lines=shown,
            folder=here,
            tag=tag,
            archived=archived,
            folders=views.folder_views(folders),
            tags=await visit.house.filing.tags(visit.actor),
            more_href=again(request, after=following) if following else "",
        )
    )


@post("/chats/do", status_code=200)
async def do_to_chats(request: PageRequest) -> Page:
    """One deed to all chats that were picked; a deletion answers with the way back."""
    visit = await Visit.of(request)
    form = await request.form()
    picked = [str(value) for value in form.getall("chat", [])]
    deed = str(form.get("do", ""))
    if deed not in get_args(Deed):
        raise BadInput(_("Pick what to do with them."), code="unknown_deed", status=422)
    folder_id, tag = str(form.get("folder_id", "")), str(form.get("tag", ""))
    deletions = await visit.house.filing.do(visit.actor, picked, cast(Deed, deed), folder_id=folder_id, tag=tag)
    if not deletions:
        return go(local(str(form.get("back", ""))))
    page = templating.render(
        "chats_deleted.html", frame=visit.frame, sidebar=await visit.sidebar(), deletions=deletions
    )
    return html(page)


@post("/chats/restore", status_code=200)
async def restore_chats(request: PageRequest) -> Page:
    """Take several deletions back."""
    visit = await Visit.of(request)
    form = await request.form()
    for deletion_id in form.getall("deletion", [])[:200]:
        await visit.house.conversations.restore(visit.actor, str(deletion_id))
    return go("/chats")


@get("/c/{conversation_id:str}/filing")
async def show_filing(request: PageRequest, conversation_id: FromPath[str]) -> Page:
    """The folder and the tags of one chat."""
    visit = await Visit.of(request)
    conversation = await visit.house.conversations.get(visit.actor, conversation_id)
    folders = views.folder_views(await visit.house.filing.folders(visit.actor))
    inner = templating.render("chat_filing.html", frame=visit.frame, conversation=conversation, folders=folders)
    if visit.is_htmx:
        return html(inner)
    return html(templating.render("form_page.html", frame=visit.frame, title=conversation.title, inner=inner))


@post("/c/{conversation_id:str}/filing", status_code=200)
async def file_chat(request: PageRequest, conversation_id: FromPath[str]) -> Page:
    """Put a chat into a folder, perhaps a new one, and tag it."""
    visit = await Visit.of(request)
    form = await form_of(request)
    await visit.house.conversations.get(visit.actor, conversation_id)
    folder_id = form.get("folder_id")
    if form.get("new_folder", "").strip():
        folder_id = (await visit.house.filing.make_folder(visit.actor, form["new_folder"])).id
    tags = form["tags"].split(",") if "tags" in form else None
    await visit.house.filing.file(visit.actor, conversation_id, folder_id=folder_id, tags=tags)
    return await _lines(visit, conversation_id)


@post("/c/{conversation_id:str}/archive", status_code=200)
async def archive_chat(request: PageRequest, conversation_id: FromPath[str]) -> Page:
    visit = await Visit.of(request)
    is_archived = (await form_of(request)).get("archived", "1") == "1"
    await visit.house.conversations.update(visit.actor, conversation_id, archived=is_archived)
    extra = templating.render("archived.html", conversation_id=conversation_id, is_archived=is_archived)
    return await _lines(visit, conversation_id, extra=extra)


@post("/folders", status_code=200)
async def make_folder(request: PageRequest) -> Page:
    visit = await Visit.of(request)
    form = await form_of(request)
    made = await visit.house.filing.make_folder(visit.actor, form.get("name", ""), form.get("parent_id") or None)
    return go(f"/chats?folder={made.id}")


@post("/folders/{folder_id:str}", status_code=200)
async def change_folder(request: PageRequest, folder_id: FromPath[str]) -> Page:
    """A new name, another place, or with `do=remove` none at all; the chats in it stay."""
    visit = await Visit.of(request)
    form = await form_of(request)
    if form.get("do") == "remove":
        await visit.house.filing.remove_folder(visit.actor, folder_id)
        return go("/chats")
    if "parent_id" in form:
        await visit.house.filing.change_folder(visit.actor, folder_id, form.get("name"), form["parent_id"] or None)
    else:
        await visit.house.filing.change_folder(visit.actor, folder_id, form.get("name"))
    return go(f"/chats?folder={folder_id}")


async def _lines(visit: Visit, conversation_id: str, *, extra: str = "") -> Page:
    if not visit.is_htmx:
        return go(f"/c/{conversation_id}")
    lines = templating.render("chats.html", sidebar=await visit.sidebar(conversation_id))
    return html(lines + await _crumb(visit, conversation_id) + extra)


async def _crumb(visit: Visit, conversation_id: str) -> str:
    """The folder of the chat that is open, for its head; a chat that is gone leaves it as it was."""
    try:
        conversation = await visit.house.conversations.get(visit.actor, conversation_id)
    except NotFound:
        return ""
    folder = await visit.folder(conversation.folder_id) if conversation.folder_id else None
    return templating.render("crumb_changed.html", crumb=folder)


def local(path: str) -> str:
    """Back to the list one came from, and nowhere else."""
    return path if path.startswith("/chats") and path.isprintable() and len(path) < 300 else "/chats"


route_handlers = (
    show_chats,
    do_to_chats,
    restore_chats,
    show_filing,
    file_chat,
    archive_chat,
    make_folder,
    change_folder,
)
