"""Vectors where PostgreSQL has pgvector: kept in its own column, and compared by it. Only this file knows the engine.

What it holds is worked out from `knowledge_vectors`, which is on every engine and in every copy. Where there is no
pgvector `is_there` is false, nothing else of this may be called, and vectors lie in memory (index.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from chatserver import Context

AT_ONCE = 200
"""Vectors of one transaction: nobody else who writes waits long for it."""


class Nearest(msgspec.Struct, frozen=True):
    """A passage with its cosine. mean: of all passages it was compared with."""

    file: str
    place: int
    meaning: float
    mean: float


class _Vector(msgspec.Struct, frozen=True):
    place: int
    vector: bytes


class Near:
    def __init__(self) -> None:
        self.is_there = False

    async def open(self, ctx: Context) -> None:
        self._ctx = ctx
        engine, self.is_there = await ctx.db.read(_look)
        if engine == "postgres" and not self.is_there:
            ctx.log.warning("knowledge_without_pgvector", why="the extension vector is not there and cannot be made")

    def keep(self, tx: Any, file_id: str, model: str, vectors: Sequence[tuple[int, bytes]]) -> None:
        """In the transaction that keeps them in `knowledge_vectors`, behind it; what is not there is not kept here."""
        for place, vector in vectors:
            tx.queue(
                "INSERT INTO knowledge_near (file, model, place, width, vector)"
                " SELECT v.file, v.model, v.place, :width, CAST(:vector AS vector) FROM knowledge_vectors v"
                " WHERE v.file = :file AND v.model = :model AND v.place = :place"
                " ON CONFLICT (file, model, place) DO NOTHING",
                file=file_id,
                model=model,
                place=place,
                width=len(vector) // 4,
                vector=_text(vector),
            )

    async def complete(self, file_id: str, model: str) -> None:
        """Keep the vectors of a file that came another way: with a copy, or before there was pgvector."""
        while lacking := await self._ctx.db.read(lambda tx: _lacking(tx, file_id, model)):
            vectors = [(one.place, one.vector) for one in lacking]
            await self._ctx.db.write(lambda tx, vectors=vectors: self.keep(tx, file_id, model, vectors))

    async def nearest(
        self, collection_id: str, model: str, vector: Any, also: Sequence[tuple[str, int]], most: int
    ) -> list[Nearest]:
        """The nearest passages of a collection's ready files, and these others of it; exact, in no order.
        vector: of length one."""
        return await self._ctx.db.read(
            lambda tx: tx.all(
                Nearest,
                _NEAREST,
                collection=collection_id,
                model=model,
                width=len(vector),
                vector=_text(vector.astype("<f4").tobytes()),
                files=" ".join(file for file, _ in also),
                places=" ".join(str(place) for _, place in also),
                most=most,
            )
        )


_NEAREST = (
    "WITH near AS MATERIALIZED (SELECT n.file, n.place, -(n.vector <#> CAST(:vector AS vector)) AS meaning"
    " FROM knowledge_near n JOIN knowledge_files f ON f.id = n.file"
    " WHERE f.collection_id = :collection AND f.state = 'ready' AND n.model = :model AND n.width = :width),"
    " also AS (SELECT unnest(string_to_array(:files, ' ')) AS file,"
    " unnest(CAST(string_to_array(:places, ' ') AS BIGINT[])) AS place),"
    " best AS (SELECT file, place FROM near ORDER BY meaning DESC LIMIT :most)"
    " SELECT file, place, meaning, (SELECT AVG(meaning) FROM near) AS mean FROM near"
    " WHERE (file, place) IN (SELECT file, place FROM best) OR (file, place) IN (SELECT file, place FROM also)"
)


def _look(tx: Any) -> tuple[str, bool]:
    if tx.engine != "postgres":
        return tx.engine, False
    return tx.engine, tx.one(int, "SELECT 1 WHERE to_regclass('knowledge_near') IS NOT NULL") is not None


def _lacking(tx: Any, file_id: str, model: str) -> list[_Vector]:
    rows: list[_Vector] = tx.all(
        _Vector,
        "SELECT v.place, v.vector FROM knowledge_vectors v WHERE v.file = :file AND v.model = :model AND NOT EXISTS"
        " (SELECT 1 FROM knowledge_near n WHERE n.file = v.file AND n.model = v.model AND n.place = v.place)"
        f" ORDER BY v.place LIMIT {AT_ONCE}",
        file=file_id,
        model=model,
    )
    return rows


def _text(vector: bytes) -> str:
    """As pgvector reads it; nine digits tell every 32-bit float apart."""
    import numpy

    return f"[{','.join(f'{one:.9g}' for one in numpy.frombuffer(vector, dtype='<f4').tolist())}]"
