"""A passage on its page: the file, where in it, and what stands before and after, for who may read it now."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from chatserver import Actor, Context, NotFound, Source
from chatserver_knowledge.searching import Hit
from chatserver_knowledge.shelf import may_read

_ADDRESS = re.compile(r"[0-9]{1,6}")
OVERLAP_MOST = 400
"""Characters two neighbours may share; more is looked through in vain."""


class Shown(msgspec.Struct, frozen=True):
    """A passage with its neighbours, '' at an end. file_id: of the file itself; is_mine: whether one may open that."""

    name: str
    page: int
    heading: str
    text: str
    before: str
    after: str
    collection: str
    collection_name: str
    file_id: str
    is_mine: bool


class _File(msgspec.Struct, frozen=True):
    file_id: str
    name: str
    file_owner: str
    collection: str
    collection_name: str
    owner: str
    groups: str


class _Chunk(msgspec.Struct, frozen=True):
    place: int
    page: int
    heading: str
    text: str


def source_of(hit: Hit) -> Source:
    """What the core is handed of a hit."""
    return Source(
        id=f"knowledge:{hit.file}:{hit.place}",
        title=hit.name,
        text=hit.text,
        page=hit.page,
        place=hit.heading,
        url=f"/x/knowledge/p/{hit.file}/{hit.place}",
    )


class Quotes:
    def open(self, ctx: Context) -> None:
        self._ctx = ctx

    async def show(self, actor: Actor, file: str, place: str) -> Shown:
        """file, place: as a hit names them. Raises NotFound for one that is not there, or not for this account now."""
        number = int(place) if _ADDRESS.fullmatch(place) else -1
        found: Shown | None = await self._ctx.db.read(lambda tx: _look(tx, actor, file, number))
        if found is None:
            raise NotFound("There is no such passage.")
        return found


def _look(tx: Any, actor: Actor, file: str, place: int) -> Shown | None:
    known: _File | None = tx.one(
        _File,
        "SELECT f.file_id, f.name, f.owner_id AS file_owner, k.id AS collection, k.name AS collection_name,"
        " k.owner_id AS owner, k.groups FROM knowledge_files f JOIN knowledge_collections k ON k.id = f.collection_id"
        " WHERE f.id = :file AND (k.owner_id = :owner OR k.groups <> '')",
        file=file,
        owner=actor.account_id,
    )
    if known is None or not may_read(actor, known.owner, known.groups):
        return None
    rows = tx.all(
        _Chunk,
        "SELECT place, page, heading, text FROM knowledge_chunks WHERE file = :file AND place BETWEEN :first AND :last"
        " ORDER BY place",
        file=file,
        first=place - 1,
        last=place + 1,
    )
    chunks: dict[int, _Chunk] = {row.place: row for row in rows}
    here = chunks.get(place)
    if here is None:
        return None
    before, after = chunks.get(place - 1), chunks.get(place + 1)
    return Shown(
        name=known.name,
        page=here.page,
        heading=here.heading,
        text=here.text,
        before=before.text[: len(before.text) - shared(before.text, here.text)] if before else "",
        after=after.text[shared(here.text, after.text) :] if after else "",
        collection=known.collection,
        collection_name=known.collection_name,
        file_id=known.file_id,
        is_mine=known.file_owner == actor.account_id,
    )


def shared(first: str, second: str) -> int:
    """How many characters the end of one text and the beginning of the next have in common."""
    most = min(len(first), len(second), OVERLAP_MOST)
    return next((length for length in range(most, 0, -1) if first.endswith(second[:length])), 0)
