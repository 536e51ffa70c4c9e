"""Passages as they are kept: of each file, in order; and their vectors, by model, with which one serves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from chatserver import Actor, Context
from chatserver_knowledge.near import Near
from chatserver_knowledge.shelf import FILE, Collection, KnownFile, Passage, all_of, changed, files_of, one_of

AT_ONCE = 500
"""Rows of one transaction: nobody else who writes waits long for it."""


class Unembedded(msgspec.Struct, frozen=True):
    """A passage without a vector."""

    place: int
    heading: str
    text: str

    @property
    def whole(self) -> str:
        return f"{self.heading}\n{self.text}" if self.heading else self.text


class IndexRow(msgspec.Struct, frozen=True):
    """A passage as an index is made of it. vector: 32-bit floats, little-endian, of length one; or nothing, also where
    the database compares vectors itself."""

    place: int
    heading: str
    text: str
    vector: bytes


class PassageRow(msgspec.Struct, frozen=True):
    """A passage as it is shown."""

    file: str
    place: int
    page: int
    heading: str
    text: str


class Serving(msgspec.Struct, frozen=True):
    """model: whose vectors answer now. coming: whose are being made, '' for none."""

    model: str
    coming: str


class Scene(msgspec.Struct, frozen=True):
    """What is searched, as of one moment: the collections with the files in each, and whose vectors serve."""

    collections: tuple[tuple[Collection, tuple[KnownFile, ...]], ...]
    serving: Serving


class Renewal(msgspec.Struct, frozen=True):
    """How far the vectors of the coming model are."""

    done: int
    total: int


_LACKS = (
    " NOT EXISTS (SELECT 1 FROM knowledge_vectors v WHERE v.file = c.file AND v.model = :model AND v.place = c.place)"
)


class Chunks:
    def __init__(self, near: Near) -> None:
        self._near = near

    def open(self, ctx: Context) -> None:
        self._ctx = ctx

    # --- a file being read

    async def begin(self, file: KnownFile) -> None:
        """Whatever an earlier try left is gone; the file is being read."""

        def write(tx: Any) -> None:
            tx.run("DELETE FROM knowledge_chunks WHERE file = :file", file=file.id)
            tx.run("DELETE FROM knowledge_vectors WHERE file = :file", file=file.id)
            _step(tx, file.id, "reading", 0, 0)

        await self._ctx.db.write(write)

    async def note(self, file_id: str, step: str, done: int, total: int) -> None:
        await self._ctx.db.write(lambda tx: _step(tx, file_id, step, done, total))

    async def keep(self, file: KnownFile, passages: Sequence[Passage]) -> None:
        """All passages of a file that `begin` was called for. Only then is it in the step `embedding`."""
        for begin in range(0, len(passages), AT_ONCE):
            await self._ctx.db.write(lambda tx, begin=begin: _insert(tx, file.id, begin, passages))
        await self.note(file.id, "embedding", 0, len(passages))

    async def missing(self, file_id: str, model: str, most: int) -> list[Unembedded]:
        """The next passages of a file that have no vector of this model, in order."""
        return await self._ctx.db.read(
            lambda tx: tx.all(
                Unembedded,
                f"SELECT c.place, c.heading, c.text FROM knowledge_chunks c WHERE c.file = :file AND{_LACKS}"
                f" ORDER BY c.place LIMIT {int(most)}",
                file=file_id,
                model=model,
            )
        )

    async def put(self, file_id: str, model: str, vectors: Sequence[tuple[int, bytes]]) -> None:
        """Vectors of some passages, by their places. One that is there stays."""

        def write(tx: Any) -> None:
            for place, vector in vectors:
                tx.queue(
                    "INSERT INTO knowledge_vectors (file, model, place, vector)"
                    " SELECT :file, :model, :place, :vector WHERE EXISTS (SELECT 1 FROM knowledge_chunks c"
                    " WHERE c.file = :file AND c.place = :place) ON CONFLICT (file, model, place) DO NOTHING",
                    file=file_id,
                    model=model,
                    place=place,
                    vector=vector,
                )
            if self._near.is_there:
                self._near.keep(tx, file_id, model, vectors)

        await self._ctx.db.write(write)

    async def count(self, file_id: str, model: str) -> int:
        """How many vectors of this model a file has."""
        found = await self._ctx.db.read(
            lambda tx: tx.one(
                int,
                "SELECT COUNT(*) FROM knowledge_vectors WHERE file = :file AND model = :model",
                file=file_id,
                model=model,
            )
        )
        return found or 0

    async def finish(self, file: KnownFile, model: str) -> bool:
        """Make the file ready, when every passage has a vector of the model that serves. False: there is more to do."""
        now = self._ctx.clock.now_us()

        def write(tx: Any) -> bool:
            lacks = tx.one(
                int, f"SELECT 1 FROM knowledge_chunks c WHERE c.file = :file AND{_LACKS} LIMIT 1",
                file=file.id, model=model,
            )  # fmt: skip
            if lacks is not None or _serving(tx).model != model:
                return False
            tx.run(
                "UPDATE knowledge_files SET state = 'ready', error = '', step = '', done = 0, total = 0, stamp = :now,"
                " chunks = (SELECT COUNT(*) FROM knowledge_chunks c WHERE c.file = :file) WHERE id = :file",
                file=file.id,
                now=now,
            )
            changed(tx, file.collection_id)
            return True

        return await self._ctx.db.write(write)

    # --- to search in

    async def scene(self, actor: Actor, collection_ids: Sequence[str]) -> Scene:
        """Of these collections, or of all one may read. Raises NotFound for one that is not there."""

        def read(tx: Any) -> Scene:
            wanted = dict.fromkeys(collection_ids)
            found = [one_of(tx, actor, one) for one in wanted] if wanted else all_of(tx, actor)
            return Scene(tuple((one, tuple(files_of(tx, one.id))) for one in found), _serving(tx))

        return await self._ctx.db.read(read)

    async def to_index(self, file_id: str, model: str) -> list[IndexRow]:
        """All passages of a file, after their vectors are where they are compared."""
        rows: list[IndexRow] = []
        ask = _word_rows if self._near.is_there else _index_rows
        if self._near.is_there:
            await self._near.complete(file_id, model)
        while True:
            after = rows[-1].place if rows else -1
            more = await self._ctx.db.read(lambda tx, after=after: ask(tx, file_id, model, after))
            rows += more
            if len(more) < AT_ONCE:
                return rows

    async def shown(self, wanted: Sequence[tuple[str, int]]) -> dict[tuple[str, int], PassageRow]:
        """Passages by file and place; one that is gone is left out."""
        if not wanted:
            return {}
        places = {f"p{number}": place for number, (_, place) in enumerate(wanted)}
        files = {f"f{number}": file for number, (file, _) in enumerate(wanted)}
        either = " OR ".join(f"(file = :f{number} AND place = :p{number})" for number in range(len(wanted)))
        rows = await self._ctx.db.read(
            lambda tx: tx.all(
                PassageRow,
                f"SELECT file, place, page, heading, text FROM knowledge_chunks WHERE {either}",
                **files,
                **places,
            )
        )
        return {(row.file, row.place): row for row in rows}

    # --- which model serves

    async def serving(self) -> Serving:
        return await self._ctx.db.read(_serving)

    async def want(self, model: str) -> Serving:
        """From now on this model is to serve: at once where none does, else when its vectors are whole."""

        def write(tx: Any) -> Serving:
            tx.run(
                "INSERT INTO knowledge_serving (one, model, coming) VALUES (1, :model, '')"
                " ON CONFLICT (one) DO NOTHING",
                model=model,
            )
            tx.run(
                "UPDATE knowledge_serving SET coming = CASE WHEN model = :model THEN '' ELSE :model END WHERE one = 1",
                model=model,
            )
            return _serving(tx)

        now = await self.serving()
        if now.model and (now.coming or now.model) == model:
            return now
        return await self._ctx.db.write(write)

    async def lacking(self, model: str) -> list[KnownFile]:
        """Ready files with a passage that has no vector of this model."""
        return await self._ctx.db.read(
            lambda tx: tx.all(
                KnownFile,
                f"{FILE} WHERE state = 'ready' AND EXISTS (SELECT 1 FROM knowledge_chunks c"
                f" WHERE c.file = knowledge_files.id AND{_LACKS}) ORDER BY added_at, id",
                model=model,
            )
        )

    async def ready(self) -> list[str]:
        """The ready files that have passages of their own."""
        return await self._ctx.db.read(
            lambda tx: tx.all(
                str,
                "SELECT id FROM knowledge_files WHERE state = 'ready'"
                " AND EXISTS (SELECT 1 FROM knowledge_chunks c WHERE c.file = knowledge_files.id) ORDER BY id",
            )
        )

    async def renewal(self, model: str) -> Renewal:
        def read(tx: Any) -> Renewal:
            total = tx.one(
                int, "SELECT COUNT(*) FROM knowledge_chunks c JOIN knowledge_files f ON f.id = c.file"
                " WHERE f.state = 'ready'",
            )  # fmt: skip
            done = tx.one(
                int, "SELECT COUNT(*) FROM knowledge_vectors v JOIN knowledge_files f ON f.id = v.file"
                " WHERE f.state = 'ready' AND v.model = :model", model=model,
            )  # fmt: skip
            return Renewal(done or 0, total or 0)

        return await self._ctx.db.read(read)

    async def switch(self, model: str) -> bool:
        """The coming model serves from now on, when no ready file lacks a vector of it; every index is made anew."""

        def write(tx: Any) -> bool:
            lacks = tx.one(
                int, f"SELECT 1 FROM knowledge_chunks c JOIN knowledge_files f ON f.id = c.file"
                f" WHERE f.state = 'ready' AND{_LACKS} LIMIT 1", model=model,
            )  # fmt: skip
            if lacks is not None:
                return False
            tx.run("UPDATE knowledge_serving SET model = :model, coming = '' WHERE one = 1", model=model)
            return True

        return await self._ctx.db.write(write)

    async def clear_others(self, model: str) -> None:
        """Vectors of other models than these, a file at a time."""
        for file_id in await self._ctx.db.read(
            lambda tx: tx.all(str, "SELECT DISTINCT file FROM knowledge_vectors WHERE model <> :model", model=model)
        ):
            await self._ctx.db.write(
                lambda tx, file_id=file_id: tx.run(
                    "DELETE FROM knowledge_vectors WHERE file = :file AND model <> :model", file=file_id, model=model
                )
            )


def _step(tx: Any, file_id: str, step: str, done: int, total: int) -> None:
    tx.run(
        "UPDATE knowledge_files SET state = 'running', error = '', step = :step, done = :done, total = :total"
        " WHERE id = :id AND state <> 'ready'",
        step=step,
        done=done,
        total=total,
        id=file_id,
    )


def _insert(tx: Any, file_id: str, begin: int, passages: Sequence[Passage]) -> None:
    if tx.one(int, "SELECT 1 FROM knowledge_files WHERE id = :id", id=file_id) is None:
        return  # taken out meanwhile
    for place, passage in enumerate(passages[begin : begin + AT_ONCE], begin):
        tx.queue(
            "INSERT INTO knowledge_chunks (file, place, page, heading, text)"
            " VALUES (:file, :place, :page, :heading, :text) ON CONFLICT (file, place) DO NOTHING",
            file=file_id,
            place=place,
            page=passage.page,
            heading=passage.heading,
            text=passage.text,
        )


def _index_rows(tx: Any, file_id: str, model: str, after: int) -> list[IndexRow]:
    rows: list[IndexRow] = tx.all(
        IndexRow,
        "SELECT c.place, c.heading, c.text, COALESCE(v.vector, :none) AS vector FROM knowledge_chunks c"
        " LEFT JOIN knowledge_vectors v ON v.file = c.file AND v.model = :model AND v.place = c.place"
        f" WHERE c.file = :file AND c.place > :after ORDER BY c.place LIMIT {AT_ONCE}",
        file=file_id,
        model=model,
        after=after,
        none=b"",
    )
    return rows


def _word_rows(tx: Any, file_id: str, model: str, after: int) -> list[IndexRow]:
    rows: list[IndexRow] = tx.all(
        IndexRow,
        "SELECT place, heading, text, :none AS vector FROM knowledge_chunks"
        f" WHERE file = :file AND place > :after ORDER BY place LIMIT {AT_ONCE}",
        file=file_id,
        after=after,
        none=b"",
    )
    return rows


def _serving(tx: Any) -> Serving:
    return tx.one(Serving, "SELECT model, coming FROM knowledge_serving WHERE one = 1") or Serving("", "")
