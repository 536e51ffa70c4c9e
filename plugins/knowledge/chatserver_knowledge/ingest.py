"""From a file to its passages: a leased job that reads it in a confined process, then embeds it a few at a time."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import tempfile
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec

from chatserver import Account, Actor, Bounds, Broke, ChatserverError, Context, NotFound, StorageFull, run_confined
from chatserver_knowledge import reading
from chatserver_knowledge.chunks import Chunks
from chatserver_knowledge.embedding import Embedder
from chatserver_knowledge.shelf import KnownFile, Passage, Shelf

LEASE_S = 60
SLICE_S = 15.0
"""How long a file is embedded before the next job in line has its turn."""
LOOK_S = 0.5
READING = Bounds(wall_s=240.0)
"""Of the processor no more than of any file: 1,500 pages of a book. Where others work too, that takes its time."""


def _(sentence: str) -> str:
    """Marks a sentence for the catalogues; the page looks it up."""
    return sentence


BROKEN = {
    "time": _("Reading this file took too long. Cut it into smaller ones."),
    "memory": _("Reading this file takes too much memory. Cut it into smaller ones."),
    "crash": _("This file could not be read: it is damaged, or too much. Save it anew and try again."),
}
FULL = _("The server's disk is too full to read this file. Try again when there is room.")
GONE = _("The file is not there any more.")
NO_VECTORS = _("The model for embeddings does not answer. Try again later.")
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
SURPRISED = _("Something went wrong here. Try again.")


class _Read(msgspec.Struct):
    passages: list[Passage] = []
    refused: str = ""


class Ingest:
    def __init__(self, shelf: Shelf, chunks: Chunks, embedder: Embedder) -> None:
        self._shelf = shelf
        self._chunks = chunks
        self._embedder = embedder

    def open(self, ctx: Context) -> None:
        self._ctx = ctx

    async def run(self, payload: dict[str, Any]) -> None:
        """The job. Begun again after it was killed it goes on where it was, and ends the same."""
        file = await self._shelf.file(str(payload.get("file", "")))
        if file is None or file.state == "ready":
            return
        if (twin := await self._shelf.twin_of(file)) is not None:
            await self._shelf.lean_on(file, twin)
            return
        try:
            account = await self._ctx.accounts.by_id(file.owner_id)
            if account is None:
                raise NotFound
            if file.step != "embedding" and (refused := await self._take_in(file, account)):
                await self._shelf.mark(file.id, "failed", refused)
            elif not await self._embed(await self._shelf.file(file.id) or file, account):
                await self._ctx.jobs.enqueue("knowledge.read", {"file": file.id})
        except NotFound:
            await self._shelf.mark(file.id, "failed", GONE)
        except StorageFull:  # where not even this can be kept, the house tries the job again
            await self._shelf.mark(file.id, "failed", FULL)
        except Exception as error:  # the job is over whatever happened; the file can be read again
            self._ctx.log.error("knowledge_not_read", file=file.id, reason=str(error)[:200])
            await self._shelf.mark(file.id, "failed", SURPRISED)

    async def _take_in(self, file: KnownFile, account: Account) -> str:
        """Keep a file's passages, all of them; or say why not."""
        await self._chunks.begin(file)
        read = await self._read(file, account)
        if not read.refused:
            await self._chunks.keep(file, read.passages)
        return read.refused

    async def _embed(self, file: KnownFile, account: Account) -> bool:
        """False: there is more to do, in another turn."""
        model = (await self._chunks.want(self._embedder.wanted)).model
        until_s = self._ctx.clock.monotonic_s() + SLICE_S
        try:
            if not await self.embed_missing(file, model, account, until_s, tells=True):
                return False
        except StorageFull:
            raise
        except ChatserverError as error:
            self._ctx.log.warning("knowledge_not_embedded", file=file.id, code=error.code)
            await self._shelf.mark(file.id, "failed", NO_VECTORS)
            return True
        return await self._chunks.finish(file, model)

    async def embed_missing(
        self, file: KnownFile, model: str, account: Account, until_s: float, *, tells: bool = False
    ) -> bool:
        """Vectors of a model for the passages of a file that have none; each step is kept. False when time ran out.
        tells: say in the file how far it is."""
        many = self._embedder.at_once(model)
        done = await self._chunks.count(file.id, model)
        while lacking := await self._chunks.missing(file.id, model, many * 16):
            for begin in range(0, len(lacking), many):
                some = lacking[begin : begin + many]
                if tells:
                    await self._chunks.note(file.id, "embedding", done, max(file.total, done + len(some)))
                vectors = await self._embedder.passages(model, [one.whole for one in some], account)
                kept = [(one.place, vector) for one, vector in zip(some, vectors, strict=True)]
                await self._chunks.put(file.id, model, kept)
                done += len(some)
                if self._ctx.clock.monotonic_s() > until_s:
                    return False
        return True

    async def _read(self, file: KnownFile, account: Account) -> _Read:
        actor = Actor(account, "job")
        charset = (await self._ctx.files.get(actor, file.file_id)).charset
        folder = tempfile.TemporaryDirectory(prefix="knowledge-")
        try:
            source, answer = Path(folder.name) / "in", Path(folder.name) / "out"
            with source.open("wb") as out:
                async with aclosing(self._ctx.files.read(actor, file.file_id)) as pieces:
                    async for piece in pieces:
                        await asyncio.to_thread(out.write, piece)
            telling = asyncio.create_task(self._tell_pages(file, Path(folder.name) / "out.pages"))
            try:
                await run_confined(Path(reading.__file__), (str(source), file.name, str(answer), charset), READING)
            except Broke as broke:
                if broke.reason == "disk":
                    raise StorageFull(FULL) from broke
                return _Read(refused=BROKEN.get(broke.reason, BROKEN["crash"]))
            finally:
                telling.cancel()
                await asyncio.gather(telling, return_exceptions=True)
            return await asyncio.to_thread(lambda: msgspec.json.decode(answer.read_bytes(), type=_Read))
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            raise StorageFull(FULL) from error
        finally:
            await asyncio.to_thread(folder.cleanup)

    async def _tell_pages(self, file: KnownFile, said: Path) -> None:
        """Pass on what the reader says of how far it is."""
        before = (0, 0)
        while True:
            await asyncio.sleep(LOOK_S)
            with contextlib.suppress(OSError, ValueError):
                done, _, total = (await asyncio.to_thread(said.read_text)).partition(" ")
                if (now := (int(done), int(total))) != before:
                    before = now
                    await self._chunks.note(file.id, "reading", *now)
