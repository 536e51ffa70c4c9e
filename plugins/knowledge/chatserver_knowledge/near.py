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
    """A passage with its cosine."""

    file: str
    place: int
    meaning: float


class _Vector(msgspec.Struct, frozen=True):
    place: int
    vector: bytes


class _Centre(msgspec.Struct, frozen=True):
    width: int
    many: int
    vector: str


class Near:
    def __init__(self) -> None:
        self.is_there = False

    async def open(self, ctx: Context) -> None:
        self._ctx = ctx
        engine, self.is_there = await ctx.db.read(_look)
        if engine == "postgres" and not self.is_there:
            ctx.log.warning("knowledge_without_pgvector", why="the extension vector is not there and cannot be made")
            await ctx.notices.tell(
                "pgvector",
                "Passages are searched in this server’s memory, because PostgreSQL has no pgvector. Install it there"
                " and restart, and PostgreSQL compares them.",
                "info",
            )
        else:
            await ctx.notices.clear("pgvector")

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

    async def centres(self, collection_id: str, model: str) -> dict[int, Any]:
        """The sum of all vectors of a collection's ready files, by how wide they are: with it the mean of all cosines
        is known before any is."""
        import numpy

        rows = await self._ctx.db.read(
            lambda tx: tx.all(
                _Centre,
                "SELECT n.width, COUNT(*) AS many, CAST(AVG(n.vector) AS TEXT) AS vector FROM knowledge_near n"
                f" JOIN knowledge_files f ON f.id = n.file WHERE {_HERE} GROUP BY n.width",
                collection=collection_id,
                model=model,
            )
        )
        return {row.width: row.many * numpy.array(msgspec.json.decode(row.vector), dtype="f8") for row in rows}

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


_HERE = "f.collection_id = :collection AND f.state = 'ready' AND n.model = :model"
_NEAREST = (
    # Read once, not once a row, which a plan for any parameters would do.
    "WITH asked AS MATERIALIZED (SELECT CAST(:vector AS vector) AS vector),"
    " best AS (SELECT n.file, n.place, n.vector <#> (SELECT vector FROM asked) AS away"
    f" FROM knowledge_near n JOIN knowledge_files f ON f.id = n.file WHERE {_HERE} AND n.width = :width"
    " ORDER BY away LIMIT :most),"
    " also AS (SELECT unnest(string_to_array(:files, ' ')) AS file,"
    " unnest(CAST(string_to_array(:places, ' ') AS BIGINT[])) AS place)"
    " SELECT file, place, -away AS meaning FROM best UNION ALL"
    " SELECT n.file, n.place, -(n.vector <#> (SELECT vector FROM asked)) AS meaning"
    " FROM also JOIN knowledge_near n ON n.file = also.file AND n.place = also.place"
    " WHERE n.model = :model AND n.width = :width"
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
