"""What files hold, as a browser gets it: never as a page of ours, and pictures only as we wrote them ourselves."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any
from urllib.parse import quote

from litestar import Request, Response, get, post
from litestar.datastructures import State
from litestar.params import FromPath, FromQuery
from litestar.response import Stream

from chatserver.domain.access import Actor
from chatserver.domain.files import PICTURE_TYPES, StoredFile
from chatserver.errors import BadInput, ChatserverError
from chatserver.house import House
from chatserver.web import templating, views
from chatserver.web.forms import arrived_in
from chatserver.web.pages.visit import Page, PageRequest, Visit, html

SANDBOX = "sandbox; default-src 'none'"
TEXT_TYPES = frozenset({"text/plain", "text/markdown", "text/csv", "application/json"})
"""Served as plain text, whatever they are called: a browser that shows one shows letters."""
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


async def bring_in(request: Request[Any, Any, State], field: str) -> list[StoredFile]:
    """The files of one field of a form, kept as the actor's. Raises what is wrong with the first that is not taken."""
    house: House = request.app.state.house
    actor: Actor = request.scope["state"]["actor"]
    return [await house.files.bring_in(actor, file.name, file.path) for file in arrived_in(request, field)]


@post("/files", status_code=200)
async def upload(request: PageRequest) -> Page:
    """A file for the composer, sent ahead of the message: its chip."""
    visit = await Visit.of(request)
    if len(arrived_in(request, "file")) != 1:
        raise BadInput("One file at a time, please.", code="no_file")
    (file,) = await bring_in(request, "file")
    return chip(visit, file)


@get("/files/{file_id:str}/chip")
async def show_chip(request: PageRequest, file_id: FromPath[str]) -> Page:
    """The chip of a file that was brought in before: a draft is opened again."""
    visit = await Visit.of(request)
    return chip(visit, await visit.house.files.get(visit.actor, file_id))


def chip(visit: Visit, file: StoredFile) -> Page:
    return html(templating.render("chip.html", frame=visit.frame, file=views.chip_view(file)))


@get("/files/{file_id:str}")
async def show_file(
    request: Request[Any, Any, State], file_id: FromPath[str], size: FromQuery[str] = ""
) -> Response[Any]:
    """A file's content, or a part of it. size=thumbnail: the small picture of one. Pictures are shown, all else is
    handed over to be saved."""
    house: House = request.app.state.house
    actor: Actor = request.scope["state"]["actor"]
    return await hand_over(request, actor, await house.files.get(actor, file_id), size)


async def hand_over(
    request: Request[Any, Any, State], actor: Actor, file: StoredFile, size: str, more: Mapping[str, str] | None = None
) -> Response[Any]:
    """The content of a file that is the actor's, or that they were found to be allowed to read. more: headers."""
    house: House = request.app.state.house
    sha256, media_type, size_bytes, name = file.sha256, file.media_type, file.size_bytes, file.name
    if size:
        if size != "thumbnail" or file.kind != "image":
            raise BadInput("There is a size=thumbnail of pictures, and no other.", code="bad_size")
        small = await house.files.rendition(actor, file.id, "thumbnail")
        sha256, media_type, size_bytes = small.sha256, small.media_type, small.size_bytes
    start, end = part_wanted(request.headers.get("range", ""), size_bytes)
    is_part = (start, end) != (0, size_bytes)
    headers = {
        **(more or {}),
        "content-disposition": disposition(name, is_inline=media_type in PICTURE_TYPES),
        "content-security-policy": SANDBOX,
        "content-type": served_type(media_type, file.charset),
        "content-length": str(end - start),
        "accept-ranges": "bytes",
    }
    if is_part:
        headers["content-range"] = f"bytes {start}-{end - 1}/{size_bytes}"
    if start == end or request.scope["state"]["method"] == "HEAD":
        return Response(b"", headers=headers, media_type=headers["content-type"])
    chunks = house.files.read(sha256, start, end)
    first = await anext(chunks)  # what cannot be read is told by a status, not by a body that breaks off
    return Stream(
        _all(first, chunks),
        status_code=206 if is_part else 200,
        headers=headers,
        media_type=headers["content-type"],
    )


async def _all(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    async with aclosing(rest):
        yield first
        async for chunk in rest:
            yield chunk


def part_wanted(text: str, size_bytes: int) -> tuple[int, int]:
    """From where up to where, of a Range header with one range; anything else asks for all of it. Raises 416."""
    found = _RANGE.fullmatch(text.strip())
    if found is None or (not found[1] and not found[2]) or len(text) > 60:
        return 0, size_bytes
    if not found[1]:
        return max(0, size_bytes - int(found[2])), size_bytes
    start = int(found[1])
    end = min(int(found[2]) + 1, size_bytes) if found[2] else size_bytes
    if found[2] and int(found[2]) < start:
        return 0, size_bytes
    if start >= size_bytes:
        raise ChatserverError("The file ends before that.", code="bad_range", status=416)
    return start, end


def served_type(media_type: str, charset: str) -> str:
    if media_type in TEXT_TYPES:
        return f"text/plain; charset={charset.removesuffix('-sig') or 'utf-8'}"
    return media_type


def disposition(name: str, *, is_inline: bool) -> str:
    """The header that names a file: for old clients without what they cannot read, for all others in full."""
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%;' else "_" for c in name)
    kind = "inline" if is_inline else "attachment"
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


route_handlers = (
    upload,
    show_chip,
    show_file,
)
