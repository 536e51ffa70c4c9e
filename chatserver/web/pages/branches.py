"""The tree made visible: the panel with its map, names, the difference of two branches, and forks."""

from __future__ import annotations

import asyncio
from typing import cast, get_args

from litestar import get, post
from litestar.params import FromPath

from chatserver.chat.branches import ROWS
from chatserver.domain.conversations import ForkScope
from chatserver.errors import BadInput
from chatserver.web import slots, templating, views
from chatserver.web.auth import form_of
from chatserver.web.markdown import render
from chatserver.web.pages.visit import Page, PageRequest, Visit, go, html
from chatserver.words import gettext as _

MOST_ROWS = 5_000
OPENED = 50
"""Folds one address may hold open."""


@get("/c/{conversation_id:str}/{message_id:str}/map")
async def show_map(request: PageRequest, conversation_id: FromPath[str], message_id: FromPath[str]) -> Page:
    """The panel for htmx, a page of its own for everybody else. `open`: a fold to show whole, `rows`: how many."""
    return await _map_page(await Visit.of(request), conversation_id, message_id)


@post("/c/{conversation_id:str}/{message_id:str}/name", status_code=200)
async def name_branch(request: PageRequest, conversation_id: FromPath[str], message_id: FromPath[str]) -> Page:
    """Name the branch a message is on; an empty name takes it away."""
    visit = await Visit.of(request)
    form = await form_of(request)
    await visit.house.conversations.view(visit.actor, conversation_id, message_id, limit=1)
    await visit.house.branches.name(visit.actor, message_id, form.get("name", ""))
    here = form.get("parent_id") or message_id
    if not visit.is_htmx:
        return go(f"/c/{conversation_id}/{here}/map")
    name, _origin = await visit.house.branches.standing(visit.actor, conversation_id, here)
    extra = templating.render("branch_named.html", frame=visit.frame, branch_name=name)
    return await _map_page(visit, conversation_id, here, extra=extra)


@get("/c/{conversation_id:str}/{message_id:str}/rename-branch")
async def show_rename_branch(request: PageRequest, conversation_id: FromPath[str], message_id: FromPath[str]) -> Page:
    visit = await Visit.of(request)
    await visit.house.conversations.view(visit.actor, conversation_id, message_id, limit=1)
    name, _origin = await visit.house.branches.standing(visit.actor, conversation_id, message_id)
    inner = templating.render(
        "rename_branch.html", frame=visit.frame, conversation_id=conversation_id, message_id=message_id, name=name
    )
    if visit.is_htmx:
        return html(inner)
    return html(templating.render("form_page.html", frame=visit.frame, title=_("Name this branch"), inner=inner))


@get("/c/{conversation_id:str}/difference/{left:str}/{right:str}")
async def show_difference(
    request: PageRequest, conversation_id: FromPath[str], left: FromPath[str], right: FromPath[str]
) -> Page:
    """Two branches side by side, from where they part."""
    visit = await Visit.of(request)
    found = await visit.house.branches.difference(visit.actor, conversation_id, left, right)
    titles = {model.id: model.title for model in visit.models()}
    view = await asyncio.to_thread(views.difference_view, found, conversation_id, titles=titles, render=render)
    sidebar = await visit.sidebar(conversation_id)
    return html(
        templating.render(
            "difference.html", frame=visit.frame, sidebar=sidebar, difference=view, left=left, right=right
        )
    )


@get("/c/{conversation_id:str}/difference")
async def pick_difference(request: PageRequest, conversation_id: FromPath[str]) -> Page:
    """From the two branches that were picked to their difference."""
    picked = request.query_params.getall("branch", [])
    if len(picked) != 2:
        raise BadInput(_("Pick two branches to compare."), code="pick_two", status=422)
    visit = await Visit.of(request)
    await visit.house.branches.difference(visit.actor, conversation_id, picked[0], picked[1])
    return go(f"/c/{conversation_id}/difference/{picked[0]}/{picked[1]}")


@get("/m/{message_id:str}/fork")
async def show_fork(request: PageRequest, message_id: FromPath[str]) -> Page:
    """How much to take along."""
    visit = await Visit.of(request)
    message = await visit.house.conversations.message(visit.actor, message_id)
    inner = templating.render("fork.html", frame=visit.frame, message=message)
    if visit.is_htmx:
        return html(inner)
    return html(templating.render("form_page.html", frame=visit.frame, title=_("Fork"), inner=inner))


@post("/m/{message_id:str}/fork", status_code=200)
async def fork(request: PageRequest, message_id: FromPath[str]) -> Page:
    visit = await Visit.of(request)
    scope = (await form_of(request)).get("scope", "path")
    if scope not in get_args(ForkScope):
        raise BadInput(_("Pick what the new chat takes along."), code="bad_scope", status=422)
    message = await visit.house.conversations.message(visit.actor, message_id)
    source = await visit.house.conversations.get(visit.actor, message.conversation_id)
    title = _("Fork of {title}").format(title=views.title_of(source))[:200]
    made = await visit.house.branches.fork(visit.actor, message_id, cast(ForkScope, scope), title)
    where = f"/c/{made.id}/{made.tip_id}"
    if not visit.is_htmx:
        return go(where)
    lines = templating.render("chats.html", sidebar=await visit.sidebar(made.id))
    chat = await visit.chat(await visit.view(made.id))
    return await visit.show_chat(chat, push=where, extra=lines)


async def _map_page(visit: Visit, conversation_id: str, message_id: str, *, extra: str = "") -> Page:
    asked = visit.request.query_params
    opened = asked.getall("open", [])[:OPENED]
    wanted = asked.get("rows", "")
    rows = min(int(wanted), MOST_ROWS) if wanted.isascii() and wanted.isdigit() and len(wanted) < 9 else ROWS
    mapped = await visit.house.branches.map(
        visit.actor, conversation_id, message_id, opened=opened, limit=max(rows, ROWS)
    )
    titles = {model.id: model.title for model in visit.models()}
    view = await asyncio.to_thread(views.map_view, mapped, titles=titles, opened=opened, zone=visit.zone)
    slot = await slots.fill(visit.house.plugins, visit.actor.account, conversation_id=conversation_id)
    values = {"frame": visit.frame, "tree": view, "slot": slot}
    if visit.is_htmx:
        return html(templating.render("panel.html", **values) + extra)
    chat = views.ChatView(conversation_id, views.title_of(mapped.conversation))
    return html(templating.render("map_page.html", sidebar=await visit.sidebar(conversation_id), chat=chat, **values))


route_handlers = (show_map, show_rename_branch, name_branch, show_difference, pick_difference, show_fork, fork)
