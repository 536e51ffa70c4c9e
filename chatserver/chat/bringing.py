"""Bring chats along from a file one uploads: read in a confined process, then taken in, each whole and each once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec

from chatserver.chat import import_child
from chatserver.chat.export_reader import read_export
from chatserver.chat.files import Files
from chatserver.chat.import_child import ImporterName, Unpacked, decode_unpacked
from chatserver.chat.imports import ImportReport, Imports, take_trees
from chatserver.chat.intake import clear_room, make_room
from chatserver.confined import Bounds, Broke, run_confined
from chatserver.domain.access import Actor
from chatserver.domain.imported import Importer
from chatserver.errors import BadInput, LimitReached, StorageFull
from chatserver.store.database import Database

TREES = "trees"
BOUNDS = Bounds(cpu_s=60, wall_s=90)
AT_ONCE = 2
"""Files that are read at once on this node: each may take half a gigabyte."""


class Brought(msgspec.Struct, frozen=True):
    """What became of a file. title: of its format; left: how many files in the archive hold no chats."""

    title: str
    report: ImportReport
    left: int = 0


class Bringing:
    """One file at a time for each account; a child process reads it, so that a bomb harms nobody."""

    def __init__(self, db: Database, files: Files, spool: Path, importers: Sequence[Importer]) -> None:
        self._db = db
        self._files = files
        self._spool = spool
        self._importers = [name for one in importers if (name := ImporterName.of(one)) is not None]
        self._busy: set[str] = set()
        self._turns = asyncio.Semaphore(AT_ONCE)

    @property
    def formats(self) -> list[str]:
        """The programs whose exports are understood, by name."""
        return ["chatserver", *(importer.title for importer in self._importers)]

    async def bring(self, actor: Actor, name: str, path: Path) -> Brought:
        """Take in what the file holds; whosever it was, it becomes the actor's. name: as its owner calls it.

        Raises BadInput with a sentence, and then nothing was taken; LimitReached `imports_per_account`; StorageFull.
        """
        if actor.account_id in self._busy:
            raise LimitReached(
                "A file of yours is being taken in already. Wait until that has ended.",
                code="imports_per_account",
                retry_after_s=10,
            )
        self._busy.add(actor.account_id)
        try:
            room = await make_room(self._spool)
            try:
                async with self._turns:
                    unpacked = await self._unpack(name, path, room)
            except BaseException:
                await clear_room(room)
                raise
            # who asked may leave meanwhile: what was begun is taken in
            report = await asyncio.shield(asyncio.ensure_future(self._take(actor, room, unpacked)))
            return Brought(unpacked.title, report, unpacked.left)
        finally:
            self._busy.discard(actor.account_id)

    async def _unpack(self, name: str, path: Path, room: Path) -> Unpacked:
        words = (str(path), str(room / TREES), str(room), msgspec.json.encode(self._importers).decode())
        try:
            answer = await run_confined(Path(import_child.__file__), words, BOUNDS)
        except Broke as broke:
            raise BadInput(
                "This file is too large or too odd to be read here. Whoever runs this server can take it in with"
                " chatserver import.",
                code="cannot_read_file",
                status=422,
            ) from broke
        unpacked = decode_unpacked(answer)
        if unpacked.refused is not None:
            code, sentence, values = unpacked.refused
            if code == StorageFull.code:
                raise StorageFull(sentence)
            named = {key: self._named(value, path, name) for key, value in values.items()}
            raise BadInput(sentence, values=named, code=code, status=422)
        return unpacked

    @staticmethod
    def _named(value: str | int, path: Path, name: str) -> str | int:
        """By the name its sender gave the file, not by where it lies here."""
        told = name[:100] or "The file"
        return value.replace(str(path), told).replace(path.name, told) if isinstance(value, str) else value

    async def _take(self, actor: Actor, room: Path, unpacked: Unpacked) -> ImportReport:
        imports = Imports(self._db, actor, self._files)
        try:
            with (room / TREES).open("rb") as file:
                await take_trees((("", tree) for _, tree in read_export(file, room)), {"": imports})
        finally:
            await clear_room(room)
        imports.report.notes.update(unpacked.notes)
        return imports.report
