"""Search: by words and by meaning, brought together. Indexes are held in memory while they are used."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import msgspec

from chatserver import Actor, ChatserverError, Context
from chatserver_knowledge.chunks import Chunks
from chatserver_knowledge.embedding import Embedder
from chatserver_knowledge.fusing import fuse
from chatserver_knowledge.index import RANKED, Index, Ranking, words_of
from chatserver_knowledge.near import Near
from chatserver_knowledge.renewal import name_of
from chatserver_knowledge.shelf import Collection, KnownFile

NOTICE = "question"


class Hit(msgspec.Struct, frozen=True):
    """A passage that answers. score: only good for comparing within one answer."""

    file_id: str
    name: str
    page: int
    text: str
    score: float
    heading: str = ""
    file: str = ""
    place: int = 0
    collection: str = ""


class Searching:
    def __init__(self, near: Near, chunks: Chunks, embedder: Embedder) -> None:
        self._near = near
        self._chunks = chunks
        self._embedder = embedder
        self._held: OrderedDict[str, Index] = OrderedDict()
        self._locks: dict[str, asyncio.Lock] = {}
        self._is_mute = False

    def open(self, ctx: Context) -> None:
        self._ctx = ctx
        self._most_bytes = int(ctx.settings["memory_mb"]) * 1_000_000

    async def search(self, actor: Actor, query: str, collection_ids: list[str], most: int = 8) -> list[Hit]:
        """The best passages of these collections, or of all one may read; by words alone while the model for
        embeddings gives nothing. Raises NotFound for a collection that is not there."""
        if not query.strip():
            return []
        scene = await self._chunks.scene(actor, collection_ids)
        if not scene.collections:
            return []
        model = scene.serving.model or self._embedder.wanted
        files = {file.id: file for _, known in scene.collections for file in known}
        vector, *indexes = await asyncio.gather(
            self._vector(model, query, actor),
            *(self._index(collection, model, known) for collection, known in scene.collections),
        )
        ids = [collection.id for collection, _ in scene.collections]
        rankings = await self._rank(ids, indexes, set(words_of(query)), vector)
        best = [one for one in fuse(rankings) if one[0].file in files][:most]
        shown = await self._chunks.shown([(found.file, found.place) for found, _ in best])
        return [
            Hit(file.file_id, file.name, row.page, row.text, round(score, 6), row.heading, row.file, row.place,
                file.collection_id)
            for found, score in best
            if (row := shown.get((found.file, found.place))) and (file := files[found.file])
        ]  # fmt: skip

    async def _rank(
        self, collection_ids: Sequence[str], indexes: Sequence[Index], words: set[str], vector: Any
    ) -> list[Ranking]:
        if vector is None or not self._near.is_there:
            return await asyncio.to_thread(lambda: [index.rank(words, vector) for index in indexes])

        async def rank(collection_id: str, index: Index) -> Ranking:
            also = await asyncio.to_thread(index.best_by_words, words)
            nearest = await self._near.nearest(collection_id, index.model, vector, also, RANKED)
            return await asyncio.to_thread(index.join, words, vector, nearest)

        return list(await asyncio.gather(*map(rank, collection_ids, indexes)))

    async def _vector(self, model: str, query: str, actor: Actor) -> Any:
        """None while there is none to be had; the admins are told."""
        try:
            vector = await self._embedder.query(model, query, actor.account)
        except ChatserverError as error:
            self._is_mute = True
            self._ctx.log.warning("knowledge_by_words_alone", model=model, code=error.code)
            self._ctx.notices.tell_soon(
                NOTICE,
                "The model %(model)s gives no embeddings, so files in collections are searched by words alone: %(why)s",
                model=name_of(model),
                why=error.message,
            )
            return None
        if self._is_mute:
            self._is_mute = False
            self._ctx.notices.clear_soon(NOTICE)
        return vector

    async def _index(self, collection: Collection, model: str, files: Sequence[KnownFile]) -> Index:
        """As of this version of the collection: what changed since it was made is put in or taken out."""
        lock = self._locks.setdefault(collection.id, asyncio.Lock())
        async with lock:
            index = self._held.get(collection.id)
            if index is None or index.model != model:
                index = Index(model)
            if index.version != collection.version:
                await self._bring_up(index, files)
                if self._near.is_there:
                    index.centres = await self._near.centres(collection.id, model)
                index.version = collection.version
            self._held[collection.id] = index
            self._held.move_to_end(collection.id)
            self._make_room()
        return index

    async def _bring_up(self, index: Index, files: Sequence[KnownFile]) -> None:
        ready = {file.id: file.stamp for file in files if file.state == "ready"}
        for file_id, stamp in list(index.files.items()):
            if ready.get(file_id) != stamp:
                await asyncio.to_thread(index.drop, file_id)
        for file_id, stamp in ready.items():
            if file_id not in index.files:
                rows = await self._chunks.to_index(file_id, index.model)
                await asyncio.to_thread(index.add, file_id, stamp, rows)

    def _make_room(self) -> None:
        """The ones not used for longest go; the one in use stays, however large."""
        while len(self._held) > 1 and sum(index.size_bytes for index in self._held.values()) > self._most_bytes:
            collection_id, _ = self._held.popitem(last=False)
            self._locks.pop(collection_id, None)
