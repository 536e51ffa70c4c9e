"""What a share link opens: a page anybody may read, its branches, and a copy to go on with for who is signed in."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

from litestar import Response, get, post
from litestar.params import FromPath, FromQuery

from chatserver.domain.access import READ_SHARE, Actor
from chatserver.errors import NotFound
from chatserver.house import House
from chatserver.web import covers, templating, views
from chatserver.web.auth import desk_of
from chatserver.web.markdown import render
from chatserver.web.pages.files import hand_over
from chatserver.web.pages.visit import Page, PageRequest, Visit, go, html
from chatserver.words import gettext as _

PUBLIC = {"public": True}
UNLISTED = {"x-robots-tag": "noindex, nofollow, noarchive"}


async def reader_of(request: PageRequest) -> Actor:
    """The actor of the link in the path. Raises NotFound: it opens nothing, or a plugin keeps it shut."""
    reader: Actor | None = request.scope["state"]["share"]
    house: House = request.app.state.house
    if reader is None or not await house.permissions.allows(reader, READ_SHARE):
        raise NotFound(_("This link opens nothing, or nothing any more. Ask who sent it to you for another one."))
    return reader


@get("/s/{secret:str}", opt=PUBLIC)
async def show_shared(request: PageRequest, secret: FromPath[str]) -> Page:
    return await _shared_page(request, secret)


@get("/s/{secret:str}/b/{message_id:str}", opt=PUBLIC)
async def show_shared_branch(request: PageRequest, secret: FromPath[str], message_id: FromPath[str]) -> Page:
    """The branch that ends at a message; `at` says which of its messages the page must show."""
    return await _shared_page(request, secret, message_id)


@get("/s/{secret:str}/b/{message_id:str}/latest", opt=PUBLIC)
async def show_shared_version(request: PageRequest, secret: FromPath[str], message_id: FromPath[str]) -> Page:
    """From a version to the branch below it, at the place where it stands."""
    house: House = request.app.state.house
    leaf = await house.shares.leaf_below(await reader_of(request), message_id)
    return go(f"/s/{secret}/b/{leaf}?at={message_id}#m-{message_id}")


@get("/s/{secret:str}/files/{file_id:str}", opt=PUBLIC)
async def show_shared_file(
    request: PageRequest, secret: FromPath[str], file_id: FromPath[str], size: FromQuery[str] = ""
) -> Response[Any]:
    """A file that one of the shared messages holds."""
    reader = await reader_of(request)
    house: House = request.app.state.house
    return await hand_over(request, reader, await house.shares.file(reader, file_id), size, UNLISTED)


@get("/s/{secret:str}/alive", opt=PUBLIC)
async def show_alive(request: PageRequest, secret: FromPath[str]) -> Response[bytes]:
    """What an open page asks every few seconds: 404 once the link was revoked, ended, or its chat deleted."""
    await reader_of(request)
    return Response(b"", status_code=204, headers=UNLISTED)


@post("/s/{secret:str}/copy", opt=PUBLIC, status_code=200)
async def copy_shared(request: PageRequest, secret: FromPath[str]) -> Page:
    """A conversation of one's own that goes on from here; who is not signed in is led to the door and back."""
    reader = await reader_of(request)
    house: House = request.app.state.house
    actor: Actor | None = request.scope["state"]["actor"]
    if actor is None:
        return go(_sign_in_href(secret))
    await house.permissions.require(actor, "chat.use")
    return go(f"/c/{await house.shares.copy(reader, actor)}")


async def _shared_page(request: PageRequest, secret: str, message_id: str | None = None) -> Page:
    reader = await reader_of(request)
    house: House = request.app.state.house
    page = await house.shares.read(reader, message_id, request.query_params.get("at"))
    visit = await Visit.of(request) if request.scope["state"]["actor"] is not None else None
    shared = await asyncio.to_thread(
        views.shared_view,
        page,
        base=f"/s/{secret}",
        render=render,
        dressed=await covers.dress_shared(house.plugins, reader.account, page),
        titles={model.id: model.title for model in house.models(reader)},
        zone=visit.zone if visit else None,
    )
    frame = visit.frame if visit else desk_of(request).frame(request)
    return html(
        templating.render("shared.html", frame=frame, shared=shared, sign_in_href=_sign_in_href(secret)), UNLISTED
    )


def _sign_in_href(secret: str) -> str:
    return f"/sign-in?next={quote(f'/s/{secret}', safe='')}"


route_handlers = (
    show_shared,
    show_shared_branch,
    show_shared_version,
    show_shared_file,
    show_alive,
    copy_shared,
)
