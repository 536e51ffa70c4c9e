"""Files of an account: brought in, looked at, taken away, and collected when nothing names them any more."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any

from chatserver.chat.blobs import Blobs, Kept
from chatserver.chat.intake import Intake, Taken, clear_room, make_room
from chatserver.clock import new_id, now_us, read_id, write_id
from chatserver.domain.access import Actor
from chatserver.domain.extend import JobSpec
from chatserver.domain.files import Picture, Rendition, RenditionKind, Space, StoredFile
from chatserver.errors import Conflict, LimitReached, NotFound, Unavailable
from chatserver.store import blobs as blob_rows
from chatserver.store import files as file_rows
from chatserver.store.database import Database, Tx

UNSENT_KEPT_US = 24 * 3_600 * 1_000_000
"""How long a file waits in a draft before it is taken away."""
COLLECTED_AT_ONCE = 100
LIST_LIMIT = 50
MB = 1_000_000


class Files:
    """The use cases of files. limits: storage_mb and files_per_account, 0 means none."""

    def __init__(self, db: Database, blobs: Blobs, limits: Mapping[str, int]) -> None:
        self._db = db
        self._blobs = blobs
        self._limits = limits
        self._intake = Intake(blobs.spool)

    @property
    def _limit_bytes(self) -> int:
        return self._limits.get("storage_mb", 0) * 1024 * 1024

    @property
    def _limit_files(self) -> int:
        return self._limits.get("files_per_account", 0)

    async def bring_in(self, actor: Actor, name: str, path: Path, file_id: str = "") -> StoredFile:
        """Keep what lies at `path`, which stays the caller's, as a file of the actor's. file_id: if it had one.

        Raises BadInput for what is not taken, LimitReached `storage_mb` or `files_per_account`, StorageFull.
        """
        size = (await asyncio.to_thread(path.stat)).st_size
        self._check_space(await self._db.read(lambda tx: file_rows.usage_of(tx, actor.account_id)), size)
        folder = await make_room(self._blobs.spool)
        try:
            taken = await self._intake.take(name, path, folder)
            contents = [(piece, await self._blobs.put(piece.path)) for piece in taken.pieces]
        finally:
            await clear_room(folder)
        renditions = [
            Rendition(piece.kind, kept.sha256, piece.media_type, kept.size_bytes, piece.width, piece.height)
            for piece, kept in contents
            if piece.kind
        ]
        kept = contents[0][1]
        stored_bytes = sum(one.size_bytes for _, one in contents)
        file = _file(actor, taken, kept, stored_bytes, file_id or new_id())

        def store(tx: Tx) -> None:
            if not self.make_space(tx, actor, file):
                return
            for sha256 in sorted({one.sha256 for _, one in contents}):
                if not blob_rows.use(tx, sha256):
                    raise Unavailable("The content was taken away before it was named. Try again.", code="blob_going")
            file_rows.insert_file(tx, file, renditions)

        await self._db.write(store)
        return file

    async def bring_back(self, actor: Actor, file_id: str, name: str, path: Path) -> bool:
        """A file that was exported, under the id it had where that is free. False: it is here already."""
        own_id, is_here = await self._db.read(lambda tx: _own_id(tx, actor, file_id))
        if not is_here:
            await self.bring_in(actor, name, path, own_id)
        return not is_here

    async def own_ids(self, actor: Actor, ids: Iterable[str]) -> dict[str, str]:
        """Under which ids the actor has files that had these elsewhere."""
        return await self._db.read(lambda tx: {one: _own_id(tx, actor, one)[0] for one in ids})

    async def held(self, actor: Actor, ids: Iterable[str]) -> dict[str, StoredFile]:
        """Those of them that the actor has."""
        found = await self._db.read(lambda tx: [file_rows.file_of(tx, actor, one) for one in ids])
        return {one.id: one for one in found if one is not None}

    async def get(self, actor: Actor, file_id: str) -> StoredFile:
        """Raises NotFound."""
        found = await self._db.read(lambda tx: file_rows.file_of(tx, actor, file_id))
        if found is None:
            raise no_such_file()
        return found

    async def list(self, actor: Actor, after: str = "") -> tuple[list[StoredFile], str | None]:
        """The actor's files, the newest first, and where the next page begins."""
        found = await self._db.read(lambda tx: file_rows.files_of(tx, actor, after, LIST_LIMIT + 1))
        more = len(found) > LIST_LIMIT
        return found[:LIST_LIMIT], found[LIST_LIMIT - 1].id if more else None

    async def space(self, actor: Actor) -> Space:
        used = await self._db.read(lambda tx: file_rows.usage_of(tx, actor.account_id))
        return Space(used.files, used.used_bytes, self._limit_bytes, self._limit_files)

    async def rendition(self, actor: Actor, file_id: str, kind: RenditionKind) -> Rendition:
        """What was made of a picture for this use, else the picture itself. Raises NotFound."""

        def look(tx: Tx) -> Rendition | None:
            file = file_rows.file_of(tx, actor, file_id)
            if file is None:
                return None
            found = file_rows.rendition_of(tx, actor, file_id, kind)
            return found or Rendition(kind, file.sha256, file.media_type, file.size_bytes, file.width, file.height)

        found = await self._db.read(look)
        if found is None:
            raise no_such_file()
        return found

    def read(self, sha256: str, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        """The content of a file or rendition that the caller was handed here."""
        return self._blobs.read(sha256, start, end)

    async def whole(self, sha256: str) -> bytes:
        return await self._blobs.whole(sha256)

    async def delete(self, actor: Actor, file_id: str) -> None:
        """Raises NotFound, and Conflict `file_in_use` while a message or a plugin holds it."""

        def take_away(tx: Tx) -> None:
            file_rows.lock_files(tx, actor.account_id)
            if file_rows.file_of(tx, actor, file_id) is None:
                raise no_such_file()
            if file_rows.messages_naming(tx, actor, file_id):
                raise Conflict(
                    "This file is part of a message. It goes when the message is deleted and can no longer be taken"
                    " back.",
                    code="file_in_use",
                )
            if file_rows.is_held(tx, actor, file_id):
                raise Conflict("This file is in use elsewhere. Take it out there first.", code="file_in_use")
            file_rows.delete_file(tx, actor, file_id)

        await self._db.write(take_away, essential=True)

    async def rewrite_picture(self, path: Path) -> Picture:
        """What is safe to show of a picture that was brought in, no side longer than 512 pixels; kept nowhere. Raises
        BadInput for what is none."""
        folder = await make_room(self._blobs.spool)
        try:
            piece = await self._intake.take_picture(path, folder)
            content = await asyncio.to_thread(piece.path.read_bytes)
        finally:
            await clear_room(folder)
        return Picture(content, piece.media_type, piece.width, piece.height)

    def of_plugin(self, name: str) -> PluginFiles:
        return PluginFiles(name, self._db, self)

    def job(self) -> JobSpec:
        return JobSpec("files", self._collect, every_s=600, lease_s=300)

    async def _collect(self, payload: dict[str, Any]) -> None:
        await self.collect()
        await self._blobs.collect()

    async def collect(self, *, unsent_us: int = UNSENT_KEPT_US) -> int:
        """Take away files that no message and nobody else names; returns how many. Their content goes later."""
        before = now_us() - unsent_us
        taken = 0
        seen: set[str] = set()
        while True:
            found = await self._db.read(lambda tx: file_rows.unused_files(tx, before, COLLECTED_AT_ONCE))
            if not found or seen.issuperset(one.id for one in found):
                return taken
            for one in found:
                await self._db.write(partial(file_rows.collect_file, file=one, before=before), essential=True)
            seen.update(one.id for one in found)
            taken += len(found)

    def make_space(self, tx: Tx, actor: Actor, file: StoredFile) -> bool:
        """In the transaction that will insert a file: that there is room for it, held until that ends. False: the
        actor has a file of this id. Raises LimitReached."""
        file_rows.lock_files(tx, actor.account_id)
        if file_rows.file_of(tx, actor, file.id) is not None:
            return False
        self._check_space(file_rows.usage_of(tx, actor.account_id), file.stored_bytes)
        return True

    def _check_space(self, used: file_rows.Usage, more_bytes: int) -> None:
        if self._limit_files and used.files >= self._limit_files:
            raise LimitReached(
                "You have %(count)s files, and may have %(most)s. Delete chats whose files you can spare.",
                values={"count": used.files, "most": self._limit_files},
                code="files_per_account",
                retry_after_s=3600,
            )
        if self._limit_bytes and used.used_bytes + more_bytes > self._limit_bytes:
            raise LimitReached(
                "Your files take %(taken)s MB of %(most)s MB, and this one does not fit."
                " Delete chats whose files you can spare.",
                values={"taken": round(used.used_bytes / MB), "most": round(self._limit_bytes / MB)},
                code="storage_mb",
                retry_after_s=3600,
            )


class PluginFiles:
    """`ctx.files`: files of whoever asks, for a plugin. Each call takes the Actor; somebody else's file is NotFound."""

    def __init__(self, name: str, db: Database, files: Files) -> None:
        self._holder = f"plugin:{name}"
        self._db = db
        self._files = files

    async def get(self, actor: Actor, file_id: str) -> StoredFile:
        return await self._files.get(actor, file_id)

    async def list(self, actor: Actor, after: str = "") -> tuple[list[StoredFile], str | None]:
        """The newest first, and where the next page begins."""
        return await self._files.list(actor, after)

    async def read(self, actor: Actor, file_id: str) -> AsyncGenerator[bytes, None]:
        """The file's content, in chunks."""
        file = await self._files.get(actor, file_id)
        async with aclosing(self._files.read(file.sha256)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def bring_in(self, actor: Actor, name: str, path: Path) -> StoredFile:
        """As if the actor had brought it in."""
        return await self._files.bring_in(actor, name, path)

    async def rewrite_picture(self, path: Path) -> Picture:
        """A picture that came with a form, written anew without anything it carried besides its pixels, no side longer
        than 512 of them; nobody's file, and kept nowhere. Raises BadInput for what is no picture."""
        return await self._files.rewrite_picture(path)

    async def hold(self, actor: Actor, file_id: str) -> None:
        """The file stays until the plugin lets it go, also when no message names it."""

        def keep(tx: Tx) -> bool:
            file_rows.lock_files(tx, actor.account_id)
            return file_rows.hold_file(tx, actor, file_id, self._holder)

        if not await self._db.write(keep):
            raise no_such_file()

    async def let_go(self, actor: Actor, file_id: str) -> None:
        await self._db.write(lambda tx: file_rows.drop_file(tx, actor, file_id, self._holder))


def no_such_file() -> NotFound:
    return NotFound("There is no such file.")


def _file(actor: Actor, taken: Taken, kept: Kept, stored_bytes: int, file_id: str) -> StoredFile:
    piece = taken.pieces[0]
    return StoredFile(
        id=file_id,
        owner_id=actor.account_id,
        name=taken.name,
        media_type=piece.media_type,
        size_bytes=kept.size_bytes,
        stored_bytes=stored_bytes,
        sha256=kept.sha256,
        created_at=now_us(),
        width=piece.width,
        height=piece.height,
        charset=taken.charset,
        tokens=taken.tokens,
    )


def _own_id(tx: Tx, actor: Actor, file_id: str) -> tuple[str, bool]:
    """Under which id the actor has, or would have, a file that had this one elsewhere; and whether they have it."""
    made = write_id(
        int.from_bytes(hashlib.blake2b(f"{actor.account_id}\x00{file_id}".encode(), digest_size=16).digest())
    )
    for one in (file_id, made):
        if file_rows.file_of(tx, actor, one) is not None:
            return one, True
    is_free = read_id(file_id) is not None and not file_rows.is_taken(tx, file_id)
    return (file_id if is_free else made), False
