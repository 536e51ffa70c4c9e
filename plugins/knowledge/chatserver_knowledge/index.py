"""What is held of a collection to search it: where each word stands in its passages, and a matrix of their vectors,
unless the database compares those itself (near.py)."""

from __future__ import annotations

import math
import re
import threading
import unicodedata
from array import array
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from chatserver_knowledge.chunks import IndexRow
from chatserver_knowledge.near import Nearest

RANKED = 60
"""How many of each ranking are looked at when the two are brought together."""
K1, B = 1.2, 0.75
_WORD = re.compile(r"[0-9a-z_]+(?:[.\-/'][0-9a-z_]+)*|[\u0400-\u052f\u0370-\u03ff\u0590-\u06ff\u0900-\u097f]+")
_WIDE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]+")
_PARTS = re.compile(r"[.\-/'_]")
_STOP = frozenset(
    "the a an of and to in is are was were be for on with that this it as by at from or what which who how do does"
    " le la les un une des du de et en est que qui dans pour sur au aux quel quelle".split()
)
POSTING_BYTES, WORD_BYTES, ROW_BYTES = 8, 320, 120


class Found(msgspec.Struct, frozen=True):
    """A passage that may answer. words: how much of the question stands in it, 0 to 1, rare words weighing more.
    meaning: the cosine, 0 when there are no vectors."""

    file: str
    place: int
    words: float
    meaning: float


class Ranking(msgspec.Struct, frozen=True):
    """What one collection has for a question. mean: of the cosines of all its passages; rows: how many they are."""

    found: tuple[Found, ...]
    rows: int
    mean: float = 0.0


def words_of(text: str) -> list[str]:
    """Words without accents; names with dots and dashes whole and in their parts; wide scripts in pairs of signs."""
    plain = wide = text.lower()
    if not text.isascii():
        plain = "".join(one for one in unicodedata.normalize("NFKD", plain) if not unicodedata.combining(one))
        wide = unicodedata.normalize("NFKC", wide)
    words: list[str] = []
    for found in _WORD.findall(plain):
        words.append(found)
        if len(parts := _PARTS.split(found)) > 1:
            words += [part for part in parts if part]
    for run in _WIDE.findall(wide) if wide is not plain else ():
        words += [run] if len(run) == 1 else [run[at : at + 2] for at in range(len(run) - 1)]
    return [word for word in words if word not in _STOP]


class Index:
    """Grows and shrinks by whole files, so that a change costs what changed. One thread at a time is in it.

    model: whose vectors these are. version: of the collection, when it was last compared. files: what is in it, with
    the stamp of each filling. centres: of all its vectors, where the database has them (near.py).
    """

    def __init__(self, model: str) -> None:
        self.model = model
        self.version = 0
        self.files: dict[str, int] = {}
        self.centres: dict[int, Any] = {}
        self._lock = threading.Lock()
        self._begins: dict[str, int] = {}
        self._owners: list[str] = []
        self._numbers: list[int] = []
        self._lengths = array("f")
        self._places: dict[str, tuple[array[int], array[float]]] = {}
        self._postings = 0
        self._vectors: Any = None

    @property
    def size_bytes(self) -> int:
        vectors = 0 if self._vectors is None else self._vectors.nbytes
        words = self._postings * POSTING_BYTES + len(self._places) * WORD_BYTES
        return int(vectors + words + len(self._owners) * ROW_BYTES)

    def add(self, file: str, stamp: int, rows: Sequence[IndexRow]) -> None:
        import numpy

        counted = [Counter(words_of(f"{row.heading} {row.text}")) for row in rows]
        width = max((len(row.vector) // 4 for row in rows), default=0)
        added = numpy.zeros((len(rows), width), dtype="f4")
        for at, row in enumerate(rows):
            if len(row.vector) == width * 4:
                added[at] = numpy.frombuffer(row.vector, dtype="<f4")
        with self._lock:
            begin = self._begins[file] = len(self._owners)
            for at, (row, counts) in enumerate(zip(rows, counted, strict=True), begin):
                self._owners.append(file)
                self._numbers.append(row.place)
                self._lengths.append(sum(counts.values()))
                self._postings += len(counts)
                for word, count in counts.items():
                    where, many = self._places.setdefault(word, (array("i"), array("f")))
                    where.append(at)
                    many.append(count)
            before = self._vectors
            if before is None or not before.shape[1]:
                before = numpy.zeros((begin, width), dtype="f4")
            if before.shape[1] != added.shape[1]:
                added = numpy.zeros((len(rows), before.shape[1]), dtype="f4")
            self._vectors = numpy.concatenate([before, added])
            self.files[file] = stamp

    def drop(self, file: str) -> None:
        import numpy

        with self._lock:
            self.files.pop(file, None)
            self._begins.pop(file, None)
            kept = numpy.fromiter((one != file for one in self._owners), dtype=bool, count=len(self._owners))
            if kept.all():
                return
            moved = numpy.cumsum(kept, dtype="i4") - 1
            self._begins = {one: int(moved[at]) for one, at in self._begins.items() if at < len(moved)}
            for word, (where, many) in list(self._places.items()):
                at = numpy.frombuffer(where, dtype="i4")
                stays = kept[at]
                if stays.all() and moved[at[-1]] == at[-1]:
                    continue
                if not stays.any():
                    del self._places[word]
                    continue
                counts = numpy.frombuffer(many, dtype="f4")[stays]
                self._places[word] = (array("i", moved[at[stays]].tobytes()), array("f", counts.tobytes()))
            self._postings = sum(len(where) for where, _ in self._places.values())
            self._lengths = array("f", numpy.frombuffer(self._lengths, dtype="f4")[kept].tobytes())
            self._owners = [one for one, stays in zip(self._owners, kept, strict=True) if stays]
            self._numbers = [one for one, stays in zip(self._numbers, kept, strict=True) if stays]
            self._vectors = self._vectors[kept]

    def rank(self, words: set[str], vector: Any = None) -> Ranking:
        """The best by words and the best by meaning, each with what it has of both. vector None: by words alone."""
        import numpy

        with self._lock:
            rows = len(self._owners)
            if not rows:
                return Ranking((), 0)
            share = self._share(words)
            best = set(_best(share))
            near = numpy.zeros(rows, dtype="f4")
            if vector is not None and self._vectors.shape[1] == len(vector):
                near = self._vectors @ vector
                best |= set(_best(near))
            found = [Found(self._owners[at], self._numbers[at], float(share[at]), float(near[at])) for at in best]
            return Ranking(tuple(found), rows, float(near.mean()))

    def best_by_words(self, words: set[str]) -> list[tuple[str, int]]:
        """File and place of each."""
        with self._lock:
            best = _best(self._share(words)) if self._owners else []
            return [(self._owners[at], self._numbers[at]) for at in best]

    def join(self, words: set[str], vector: Any, nearest: Sequence[Nearest]) -> Ranking:
        """`rank`, with what the database says of the meaning of the best by both."""
        near = {(one.file, one.place): one.meaning for one in nearest}
        with self._lock:
            rows = len(self._owners)
            if not rows:
                return Ranking((), 0)
            share = self._share(words)
            known = {(self._owners[at], self._numbers[at]): at for at in _best(share)}
            known |= {key: at for key in near if (at := self._row_of(*key)) is not None}
            found = [Found(*key, float(share[at]), near.get(key, 0.0)) for key, at in known.items()]
            centre = self.centres.get(len(vector))
            return Ranking(tuple(found), rows, 0.0 if centre is None else float(centre @ vector) / rows)

    def _row_of(self, file: str, place: int) -> int | None:
        """The passages of a file lie together, in order."""
        at = self._begins.get(file, len(self._owners)) + place
        is_here = at < len(self._owners) and self._owners[at] == file and self._numbers[at] == place
        return at if is_here else None

    def _share(self, words: set[str]) -> Any:
        """BM25, as a share of what a passage could have that holds every word of the question often."""
        import numpy

        rows = len(self._owners)
        scores = numpy.zeros(rows, dtype="f4")
        lengths = numpy.frombuffer(self._lengths, dtype="f4")
        mean = float(lengths.mean()) or 1.0
        most = 0.0
        for word in words:
            found = self._places.get(word)
            many = len(found[0]) if found else 0
            rare = math.log(1 + (rows - many + 0.5) / (many + 0.5))
            most += rare * (K1 + 1)
            if found is not None:
                where, count = numpy.frombuffer(found[0], dtype="i4"), numpy.frombuffer(found[1], dtype="f4")
                scores[where] += rare * count * (K1 + 1) / (count + K1 * (1 - B + B * lengths[where] / mean))
        return scores / (most or 1.0)


def _best(scores: Any) -> list[int]:
    import numpy

    many = min(RANKED, len(scores))
    best = numpy.argpartition(-scores, many - 1)[:many]
    return [int(at) for at in best if scores[at] > 0]
