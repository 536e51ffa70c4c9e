"""For programs: collections, the files in them, and search, as JSON."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import msgspec

from chatserver import Actor, BadInput, Context, NotFound, Refused, Route
from chatserver_knowledge.searching import Hit, Searching
from chatserver_knowledge.shelf import Collection, KnownFile, Shelf

BODY_MOST = 100_000
HITS_MOST = 50
QUERY_MOST = 2_000
_encode = msgspec.json.Encoder().encode


class NewCollection(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    groups: list[str] = []


class NewFile(msgspec.Struct, forbid_unknown_fields=True):
    file_id: str


class FileLine(msgspec.Struct, frozen=True):
    file_id: str
    name: str
    state: str
    error: str
    chunks: int


class Told(msgspec.Struct, frozen=True):
    """A collection with its files."""

    id: str
    name: str
    groups: list[str]
    is_mine: bool
    files: list[FileLine]


class HitLine(msgspec.Struct, frozen=True):
    file_id: str
    name: str
    page: int
    text: str
    score: float
    heading: str
    collection: str


class Api:
    def __init__(self, shelf: Shelf, searching: Searching) -> None:
        self._shelf = shelf
        self._searching = searching

    def open(self, ctx: Context) -> None:
        """Nothing is kept here."""

    def routes(self) -> list[Route]:
        return [
            Route("/collections", self.list),
            Route("/collections", self.create, methods=("POST",)),
            Route("/collections/{collection}", self.show),
            Route("/collections/{collection}", self.remove, methods=("DELETE",)),
            Route("/collections/{collection}/files", self.put_in, methods=("POST",)),
            Route("/collections/{collection}/files/{file}", self.take_out, methods=("DELETE",)),
            Route("/search", self.search),
        ]

    async def list(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        actor = _actor(scope)
        told = [await self._told(actor, one) for one in await self._shelf.all(actor)]
        await _send(send, 200, {"collections": told})

    async def create(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        actor, asked = _actor(scope), await _read(receive, NewCollection)
        await _send(send, 201, {"id": await self._shelf.create(actor, asked.name, " ".join(asked.groups))})

    async def show(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        actor = _actor(scope)
        collection = await self._shelf.get(actor, scope["path_params"]["collection"])
        await _send(send, 200, await self._told(actor, collection))

    async def remove(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        await self._shelf.remove(_actor(scope), scope["path_params"]["collection"])
        await _send(send, 204, None)

    async def put_in(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        actor, asked = _actor(scope), await _read(receive, NewFile)
        known = await self._shelf.put_in(actor, scope["path_params"]["collection"], asked.file_id)
        await _send(send, 202, _file(known))

    async def take_out(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        actor, place = _actor(scope), scope["path_params"]
        collection = await self._shelf.own(actor, place["collection"])
        known = next((one for one in await self._shelf.files(collection.id) if one.file_id == place["file"]), None)
        if known is None:
            raise NotFound("There is no such file in this collection.")
        await self._shelf.take_out(actor, known)
        await _send(send, 204, None)

    async def search(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        actor = _actor(scope)
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"), encoding="utf-8", errors="replace")
        asked = query.get("q", [""])[0]
        if len(asked) > QUERY_MOST:
            raise BadInput(f"A question has at most {QUERY_MOST} characters.", code="too_long", status=422)
        most = query.get("limit", ["8"])[0]
        if not most.isascii() or not most.isdigit() or not 1 <= int(most) <= HITS_MOST:
            raise BadInput(f"`limit` is between 1 and {HITS_MOST}.", code="bad_limit", status=422)
        collections = [one for one in query.get("collection", []) if one]
        hits = await self._searching.search(actor, asked, collections, int(most))
        await _send(send, 200, {"hits": [_hit(hit) for hit in hits]})

    async def _told(self, actor: Actor, collection: Collection) -> Told:
        files = [_file(one) for one in await self._shelf.files(collection.id)]
        is_mine = collection.owner_id == actor.account_id
        return Told(collection.id, collection.name, collection.groups.split(), is_mine, files)


def _file(file: KnownFile) -> FileLine:
    return FileLine(file.file_id, file.name, file.state, file.error, file.chunks)


def _hit(hit: Hit) -> HitLine:
    return HitLine(hit.file_id, hit.name, hit.page, hit.text, hit.score, hit.heading, hit.collection)


def _actor(scope: dict[str, Any]) -> Actor:
    actor = scope["state"].get("actor")
    if not isinstance(actor, Actor):
        raise Refused("Sign in first.", code="not_signed_in", status=401)
    return actor


async def _read(receive: Any, shape: Any) -> Any:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > BODY_MOST:
            raise BadInput("This is longer than such a request may be.", code="too_large", status=413)
        if not message.get("more_body"):
            break
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadInput(f"The request cannot be read: {error}.", status=422) from None


async def _send(send: Any, status: int, told: Any) -> None:
    body = b"" if told is None else _encode(told)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
