"""Search: by words and by meaning, each ranked by itself, fused by rank. An index is in memory while it is used."""

from __future__ import annotations

import asyncio
import math
import re
import unicodedata
from collections import Counter, OrderedDict
from typing import Any

import msgspec

from chatserver import Actor
from chatserver_knowledge.embedding import MODEL, Embedder
from chatserver_knowledge.shelf import ChunkRow, Collection, KnownFile, Shelf

KEPT = 8
"""Collections whose index is held; the one not used for longest goes."""
RANKED = 60
FUSE = 60
K1, B = 1.2, 0.75
_WORD = re.compile(r"[0-9a-z_]+(?:[.\-/'][0-9a-z_]+)*|[\u0400-\u052f\u0370-\u03ff\u0590-\u06ff\u0900-\u097f]+")
_WIDE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]+")
_STOP = frozenset(
    "the a an of and to in is are was were be for on with that this it as by at from or what which who how do does"
    " le la les un une des du de et en est que qui dans pour sur au aux quel quelle".split()
)


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


def words_of(text: str) -> list[str]:
    """Words without accents; names with dots and dashes whole and in their parts; wide scripts in pairs of signs."""
    plain = "".join(one for one in unicodedata.normalize("NFKD", text.lower()) if not unicodedata.combining(one))
    words: list[str] = []
    for found in _WORD.findall(plain):
        words.append(found)
        parts = re.split(r"[.\-/'_]", found)
        if len(parts) > 1:
            words += [part for part in parts if part]
    wide = unicodedata.normalize("NFKC", text.lower())
    for run in _WIDE.findall(wide):
        words += [run] if len(run) == 1 else [run[at : at + 2] for at in range(len(run) - 1)]
    return [word for word in words if word not in _STOP]


class Index:
    """What is held of a collection: its passages, a matrix of their vectors, and where each word stands."""

    def __init__(self, version: int, rows: list[ChunkRow]) -> None:
        import numpy

        self.version = version
        self.rows = rows
        self._numpy = numpy
        self._lengths = numpy.zeros(len(rows), dtype="f4")
        places: dict[str, tuple[list[int], list[int]]] = {}
        for at, row in enumerate(rows):
            counts = Counter(words_of(f"{row.heading} {row.text}"))
            self._lengths[at] = sum(counts.values())
            for word, count in counts.items():
                found = places.setdefault(word, ([], []))
                found[0].append(at)
                found[1].append(count)
        self._places = {
            word: (numpy.array(where, dtype="i4"), numpy.array(count, dtype="f4"))
            for word, (where, count) in places.items()
        }
        vectors = [numpy.frombuffer(row.vector, dtype="<f4") for row in rows]
        width = max((len(vector) for vector in vectors), default=0)
        self.vectors = numpy.zeros((len(rows), width), dtype="f4")
        for at, (row, vector) in enumerate(zip(rows, vectors, strict=True)):
            if row.model == MODEL and len(vector) == width:
                self.vectors[at] = vector

    def by_words(self, query: str) -> list[int]:
        """BM25; those that hold none of the words are not in it."""
        numpy = self._numpy
        if not self.rows:
            return []
        scores = numpy.zeros(len(self.rows), dtype="f4")
        mean = float(self._lengths.mean()) or 1.0
        for word in set(words_of(query)):
            found = self._places.get(word)
            if found is None:
                continue
            where, count = found
            rare = math.log(1 + (len(self.rows) - len(where) + 0.5) / (len(where) + 0.5))
            scores[where] += rare * count * (K1 + 1) / (count + K1 * (1 - B + B * self._lengths[where] / mean))
        return self._best(scores, above=0.0)

    def by_meaning(self, vector: Any) -> list[int]:
        if not self.rows or self.vectors.shape[1] != len(vector):
            return []
        return self._best(self.vectors @ vector, above=0.0)

    def _best(self, scores: Any, *, above: float) -> list[int]:
        numpy = self._numpy
        many = min(RANKED, len(scores))
        best = numpy.argpartition(-scores, many - 1)[:many]
        return [int(at) for at in best[numpy.argsort(-scores[best], kind="stable")] if scores[at] > above]


def fused(*rankings: list[int]) -> list[tuple[int, float]]:
    """Reciprocal ranks, summed."""
    scores: Counter[int] = Counter()
    for ranking in rankings:
        for rank, at in enumerate(ranking):
            scores[at] += 1 / (FUSE + rank + 1)  # type: ignore[assignment]
    return sorted(scores.items(), key=lambda one: (-one[1], one[0]))


class Searching:
    def __init__(self, shelf: Shelf, embedder: Embedder) -> None:
        self._shelf = shelf
        self._embedder = embedder
        self._held: OrderedDict[str, Index] = OrderedDict()

    async def search(self, actor: Actor, query: str, collection_ids: list[str], most: int = 8) -> list[Hit]:
        """The best passages of these collections, or of all one may read. Raises NotFound for one that is not there."""
        if not query.strip():
            return []
        if collection_ids:
            collections = [await self._shelf.get(actor, one) for one in dict.fromkeys(collection_ids)]
        else:
            collections = await self._shelf.all(actor)
        vector = await self._embedder.query(query[:2_000])
        hits: list[Hit] = []
        for collection in collections:
            index = await self._index(collection)
            ranked = await asyncio.to_thread(self._rank, index, query, vector)
            names = {file.id: file for file in await self._shelf.files(collection.id)}
            hits += [_hit(index.rows[at], score, names, collection.id) for at, score in ranked[:most]]
        return sorted((hit for hit in hits if hit.name), key=lambda hit: -hit.score)[:most]

    @staticmethod
    def _rank(index: Index, query: str, vector: Any) -> list[tuple[int, float]]:
        return fused(index.by_words(query), index.by_meaning(vector))

    async def _index(self, collection: Collection) -> Index:
        held = self._held.get(collection.id)
        if held is None or held.version != collection.version:
            rows = await self._shelf.chunks(collection.id)
            held = await asyncio.to_thread(Index, collection.version, rows)
            self._held[collection.id] = held
        self._held.move_to_end(collection.id)
        while len(self._held) > KEPT:
            self._held.popitem(last=False)
        return held


def _hit(row: ChunkRow, score: float, names: dict[str, KnownFile], collection_id: str) -> Hit:
    file = names.get(row.file)
    if file is None:
        return Hit("", "", 0, "", 0.0)
    return Hit(
        file.file_id, file.name, row.page, row.text, round(score, 6), row.heading, row.file, row.place, collection_id
    )
