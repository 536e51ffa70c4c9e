"""For programs: collections, the files in them, and search, as JSON."""

from __future__ import annotations

import msgspec

from chatserver import Actor, ApiAnswer, ApiVisit, BadInput, NotFound, Route
from chatserver_knowledge.searching import Hit, Searching
from chatserver_knowledge.shelf import Collection, KnownFile, Shelf

HITS_MOST = 50
QUERY_MOST = 2_000


class NewCollection(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    groups: list[str] = []


class ChangedCollection(msgspec.Struct, forbid_unknown_fields=True):
    """What is absent stays. groups: all that may read it from now on."""

    name: str | None = None
    groups: list[str] | None = None


class NewFile(msgspec.Struct, forbid_unknown_fields=True):
    file_id: str


class Progress(msgspec.Struct, frozen=True):
    """step: `reading`, counted in pages (total 0 while nobody knows how many), or `embedding`, in passages."""

    step: str
    done: int
    total: int


class FileLine(msgspec.Struct, frozen=True):
    """progress: while it is being read, how far that is."""

    file_id: str
    name: str
    state: str
    error: str
    chunks: int
    progress: Progress | None = None


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

    def routes(self) -> list[Route]:
        return [
            Route("/collections", api=self.list),
            Route("/collections", api=self.create, methods=("POST",)),
            Route("/collections/{collection}", api=self.show),
            Route("/collections/{collection}", api=self.change, methods=("PATCH",)),
            Route("/collections/{collection}", api=self.remove, methods=("DELETE",)),
            Route("/collections/{collection}/files", api=self.put_in, methods=("POST",)),
            Route("/collections/{collection}/files/{file}", api=self.take_out, methods=("DELETE",)),
            Route("/search", api=self.search),
        ]

    async def list(self, visit: ApiVisit) -> ApiAnswer:
        told = [await self._told(visit.actor, one) for one in await self._shelf.all(visit.actor)]
        return ApiAnswer({"collections": told})

    async def create(self, visit: ApiVisit) -> ApiAnswer:
        asked = visit.read(NewCollection)
        return ApiAnswer({"id": await self._shelf.create(visit.actor, asked.name, asked.groups)}, 201)

    async def show(self, visit: ApiVisit) -> ApiAnswer:
        collection = await self._shelf.get(visit.actor, visit.path["collection"])
        return ApiAnswer(await self._told(visit.actor, collection))

    async def change(self, visit: ApiVisit) -> ApiAnswer:
        asked = visit.read(ChangedCollection)
        await self._shelf.change(visit.actor, visit.path["collection"], name=asked.name, groups=asked.groups)
        return await self.show(visit)

    async def remove(self, visit: ApiVisit) -> ApiAnswer:
        await self._shelf.remove(visit.actor, visit.path["collection"])
        return ApiAnswer(status=204)

    async def put_in(self, visit: ApiVisit) -> ApiAnswer:
        asked = visit.read(NewFile)
        return ApiAnswer(_file(await self._shelf.put_in(visit.actor, visit.path["collection"], asked.file_id)), 202)

    async def take_out(self, visit: ApiVisit) -> ApiAnswer:
        collection = await self._shelf.own(visit.actor, visit.path["collection"])
        files = await self._shelf.files(collection.id)
        known = next((one for one in files if one.file_id == visit.path["file"]), None)
        if known is None:
            raise NotFound("There is no such file in this collection.")
        await self._shelf.take_out(visit.actor, known)
        return ApiAnswer(status=204)

    async def search(self, visit: ApiVisit) -> ApiAnswer:
        asked, most = visit.query.get("q", ""), visit.query.get("limit", "8")
        if len(asked) > QUERY_MOST:
            raise BadInput(
                "A question has at most %(most)s characters.", values={"most": QUERY_MOST}, code="too_long", status=422
            )
        if not most.isascii() or not most.isdigit() or not 1 <= int(most) <= HITS_MOST:
            raise BadInput(
                "`limit` is between 1 and %(most)s.", values={"most": HITS_MOST}, code="bad_limit", status=422
            )
        collections = [one for one in visit.listed("collection") if one]
        hits = await self._searching.search(visit.actor, asked, collections, int(most))
        return ApiAnswer({"hits": [_hit(hit) for hit in hits]})

    async def _told(self, actor: Actor, collection: Collection) -> Told:
        files = [_file(one) for one in await self._shelf.files(collection.id)]
        is_mine = collection.owner_id == actor.account_id
        return Told(collection.id, collection.name, list(collection.readers), is_mine, files)


def _file(file: KnownFile) -> FileLine:
    progress = Progress(file.step, file.done, file.total) if file.state == "running" and file.step else None
    return FileLine(file.file_id, file.name, file.state, file.error, file.chunks, progress)


def _hit(hit: Hit) -> HitLine:
    return HitLine(hit.file_id, hit.name, hit.page, hit.text, hit.score, hit.heading, hit.collection)
