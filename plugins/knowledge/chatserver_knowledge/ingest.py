"""From a file to its passages: a leased job that reads it in a confined process, embeds, and writes all at once."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec

from chatserver import Actor, Broke, Context, NotFound, run_confined
from chatserver_knowledge import reading
from chatserver_knowledge.embedding import MODEL, Embedder
from chatserver_knowledge.shelf import KnownFile, Passage, Shelf

LEASE_S = 300


def _(sentence: str) -> str:
    """Marks a sentence for the catalogues; the page looks it up."""
    return sentence


BROKEN = {
    "time": _("Reading this file took too long. Cut it into smaller ones."),
    "memory": _("Reading this file takes too much memory. Cut it into smaller ones."),
    "crash": _("This file could not be read: it is damaged, or too much. Save it anew and try again."),
}


class _Read(msgspec.Struct):
    passages: list[Passage] = []
    refused: str = ""


class Ingest:
    def __init__(self, shelf: Shelf, embedder: Embedder) -> None:
        self._shelf = shelf
        self._embedder = embedder

    def open(self, ctx: Context) -> None:
        self._ctx = ctx

    async def run(self, payload: dict[str, Any]) -> None:
        """The job. Run again after it was killed, it ends the same."""
        file = await self._shelf.file(str(payload.get("file", "")))
        if file is None or file.state == "ready":
            return
        if (twin := await self._shelf.twin_of(file)) is not None:
            await self._shelf.lean_on(file, twin)
            return
        await self._shelf.mark(file.id, "running")
        try:
            read = await self._read(file)
        except NotFound:
            await self._shelf.mark(file.id, "failed", "The file is not there any more.")
            return
        if read.refused:
            await self._shelf.mark(file.id, "failed", read.refused)
            return
        try:
            texts = [f"{one.heading}\n{one.text}" if one.heading else one.text for one in read.passages]
            vectors = await self._embedder.passages(texts)
            await self._shelf.fill(file, read.passages, vectors, MODEL)
        except Exception as error:  # the job is over whatever happened; the file can be read again
            self._ctx.log.error("knowledge_not_read", file=file.id, reason=str(error)[:200])
            await self._shelf.mark(file.id, "failed", "Something went wrong here. Try again.")

    async def _read(self, file: KnownFile) -> _Read:
        account = await self._ctx.accounts.by_id(file.owner_id)
        if account is None:
            raise NotFound
        folder = tempfile.TemporaryDirectory(prefix="knowledge-")
        try:
            source, answer = Path(folder.name) / "in", Path(folder.name) / "out"
            with source.open("wb") as out:
                async with aclosing(self._ctx.files.read(Actor(account, "job"), file.file_id)) as pieces:
                    async for piece in pieces:
                        await asyncio.to_thread(out.write, piece)
            try:
                await run_confined(Path(reading.__file__), (str(source), file.name, str(answer)))
            except Broke as broke:
                return _Read(refused=BROKEN.get(broke.reason, BROKEN["crash"]))
            return msgspec.json.decode(await asyncio.to_thread(answer.read_bytes), type=_Read)
        finally:
            await asyncio.to_thread(folder.cleanup)
