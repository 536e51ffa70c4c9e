"""Collections and the files in them: whose they are, who may read them, and how far each file is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from chatserver import Actor, BadInput, Conflict, Context, NotFound

FileState = Literal["queued", "running", "ready", "failed"]
NAME_MOST, GROUPS_MOST = 120, 50
FILES_MOST = 2_000


class Collection(msgspec.Struct, frozen=True):
    """groups: as it is kept, '' for none. version: grows with every change of what is found in it."""

    id: str
    owner_id: str
    name: str
    groups: str
    version: int

    @property
    def readers(self) -> tuple[str, ...]:
        """The groups that may read it besides its owner."""
        return readers_of(self.groups)

    def is_for(self, actor: Actor) -> bool:
        return may_read(actor, self.owner_id, self.groups)


class KnownFile(msgspec.Struct, frozen=True):
    """A file in a collection. id: of this place in it. error: '' or a sentence. chunks: its passages, once it is ready.

    step: while it is running, `reading` (done and total are pages, total 0 while nobody knows), or `embedding`
    (passages, all of which are kept by then). stamp: of its filling, another one each time.
    """

    id: str
    collection_id: str
    file_id: str
    owner_id: str
    sha256: str
    name: str
    state: FileState
    error: str
    chunks: int
    step: str = ""
    done: int = 0
    total: int = 0
    stamp: int = 0


class Passage(msgspec.Struct, frozen=True):
    """page: from 1, 0 where there are none. heading: the section it stands in."""

    page: int
    heading: str
    text: str


_COLLECTION = "SELECT id, owner_id, name, groups, version FROM knowledge_collections"
FILE = (
    "SELECT id, collection_id, file_id, owner_id, sha256, name, state, error, chunks, step, done, total, stamp"
    " FROM knowledge_files"
)


class Shelf:
    def open(self, ctx: Context) -> None:
        self._ctx = ctx

    # --- collections

    async def create(self, actor: Actor, name: str, groups: Sequence[str] = ()) -> str:
        """groups: may read it. Raises BadInput."""
        name, groups = _clean_name(name), _clean_groups(actor, groups)
        collection_id: str = self._ctx.clock.new_id()
        now = self._ctx.clock.now_us()
        await self._ctx.db.write(
            lambda tx: tx.run(
                "INSERT INTO knowledge_collections (id, owner_id, name, groups, version, made_at)"
                " VALUES (:id, :owner, :name, :groups, 1, :now)",
                id=collection_id,
                owner=actor.account_id,
                name=name,
                groups=_packed(groups),
                now=now,
            )
        )
        return collection_id

    async def change(
        self, actor: Actor, collection_id: str, *, name: str | None = None, groups: Sequence[str] | None = None
    ) -> None:
        """Call it otherwise, or let other groups read it; who may not any more is shut out at once. Raises NotFound and
        BadInput."""
        collection = await self.own(actor, collection_id)
        called = collection.name if name is None else _clean_name(name)
        shared = collection.readers if groups is None else _clean_groups(actor, groups, collection.readers)
        await self._ctx.db.write(
            lambda tx: tx.run(
                "UPDATE knowledge_collections SET name = :name, groups = :groups WHERE id = :id AND owner_id = :owner",
                name=called,
                groups=_packed(shared),
                id=collection.id,
                owner=actor.account_id,
            )
        )

    async def all(self, actor: Actor) -> list[Collection]:
        """One's own, and those shared with one's groups."""
        return await self._ctx.db.read(lambda tx: all_of(tx, actor))

    async def get(self, actor: Actor, collection_id: str) -> Collection:
        """Raises NotFound for one that is not there, or not for this account."""
        return await self._ctx.db.read(lambda tx: one_of(tx, actor, collection_id))

    async def own(self, actor: Actor, collection_id: str) -> Collection:
        """To change it. Raises NotFound."""
        found = await self.get(actor, collection_id)
        if found.owner_id != actor.account_id:
            raise NotFound("There is no such collection of yours.")
        return found

    async def remove(self, actor: Actor, collection_id: str) -> None:
        """With all that was read of its files; those that are in no other are let go."""
        collection = await self.own(actor, collection_id)

        def delete(tx: Any) -> list[str]:
            files: list[str] = tx.all(
                str, "SELECT file_id FROM knowledge_files WHERE collection_id = :id", id=collection.id
            )
            for table in ("knowledge_chunks", "knowledge_vectors"):
                tx.run(
                    f"DELETE FROM {table} WHERE file IN (SELECT id FROM knowledge_files WHERE collection_id = :id)",
                    id=collection.id,
                )
            tx.run("DELETE FROM knowledge_files WHERE collection_id = :id", id=collection.id)
            tx.run("DELETE FROM knowledge_collections WHERE id = :id", id=collection.id)
            return [one for one in files if not _is_held(tx, actor.account_id, one)]

        for file_id in await self._ctx.db.write(delete):
            await self._ctx.files.let_go(actor, file_id)

    # --- files

    async def files(self, collection_id: str) -> list[KnownFile]:
        return await self._ctx.db.read(lambda tx: files_of(tx, collection_id))

    async def file(self, place_id: str) -> KnownFile | None:
        return await self._ctx.db.read(lambda tx: tx.one(KnownFile, f"{FILE} WHERE id = :id", id=place_id))

    async def put_in(self, actor: Actor, collection_id: str, file_id: str) -> KnownFile:
        """Put a file of one's own into a collection of one's own; twice is once. Raises NotFound."""
        collection = await self.own(actor, collection_id)
        stored = await self._ctx.files.get(actor, file_id)
        if len(await self.files(collection.id)) >= FILES_MOST:
            raise Conflict(
                "A collection holds at most %(most)s files.", values={"most": FILES_MOST}, code="collection_full"
            )
        await self._ctx.files.hold(actor, file_id)
        place_id, now = self._ctx.clock.new_id(), self._ctx.clock.now_us()

        def put(tx: Any) -> KnownFile | None:
            tx.run(
                "INSERT INTO knowledge_files (id, collection_id, file_id, owner_id, sha256, name, state, error, chunks,"
                " added_at) SELECT :id, :collection, :file, :owner, :sha256, :name, 'queued', '', 0, :now"
                " WHERE EXISTS (SELECT 1 FROM knowledge_collections k WHERE k.id = :collection)"
                " ON CONFLICT (collection_id, file_id) DO NOTHING",
                id=place_id,
                collection=collection.id,
                file=file_id,
                owner=actor.account_id,
                sha256=stored.sha256,
                name=stored.name,
                now=now,
            )
            found: KnownFile | None = tx.one(
                KnownFile,
                f"{FILE} WHERE collection_id = :collection AND file_id = :file",
                collection=collection.id,
                file=file_id,
            )
            return found

        known = await self._ctx.db.write(put)
        if known is None:  # the collection was deleted meanwhile
            await self._ctx.files.let_go(actor, file_id)
            raise NotFound("There is no such collection.")
        if known.state in ("queued", "failed"):
            await self.queue(known)
        return known

    async def queue(self, file: KnownFile) -> None:
        """Have it read, again if need be; the number of its passages is the same however often."""
        await self.mark(file.id, "queued")
        await self._ctx.jobs.enqueue("knowledge.read", {"file": file.id})

    async def mark(self, place_id: str, state: FileState, error: str = "") -> None:
        await self._ctx.db.write(
            lambda tx: tx.run(
                "UPDATE knowledge_files SET state = :state, error = :error WHERE id = :id",
                state=state,
                error=error[:500],
                id=place_id,
            )
        )

    async def twin_of(self, file: KnownFile) -> KnownFile | None:
        """Another file of the same content in the same collection, whose passages are there."""
        return await self._ctx.db.read(
            lambda tx: tx.one(
                KnownFile,
                f"{FILE} WHERE collection_id = :collection AND sha256 = :sha256 AND id <> :id AND state = 'ready'"
                " AND EXISTS (SELECT 1 FROM knowledge_chunks c WHERE c.file = knowledge_files.id) ORDER BY id LIMIT 1",
                collection=file.collection_id,
                sha256=file.sha256,
                id=file.id,
            )
        )

    async def lean_on(self, file: KnownFile, twin: KnownFile) -> None:
        """The passages are stored once: this file is ready because its twin is."""
        await self._ctx.db.write(
            lambda tx: tx.run(
                "UPDATE knowledge_files SET state = 'ready', error = '', step = '', done = 0, total = 0,"
                " chunks = :chunks WHERE id = :id",
                chunks=twin.chunks,
                id=file.id,
            )
        )

    async def take_out(self, actor: Actor, file: KnownFile) -> None:
        def delete(tx: Any) -> bool:
            tx.run("DELETE FROM knowledge_chunks WHERE file = :id", id=file.id)
            tx.run("DELETE FROM knowledge_vectors WHERE file = :id", id=file.id)
            tx.run("DELETE FROM knowledge_files WHERE id = :id", id=file.id)
            changed(tx, file.collection_id)
            return _is_held(tx, file.owner_id, file.file_id)

        if not await self._ctx.db.write(delete):
            await self._ctx.files.let_go(actor, file.file_id)
        heir = await self._ctx.db.read(
            lambda tx: tx.one(
                KnownFile,
                f"{FILE} WHERE collection_id = :collection AND sha256 = :sha256 AND state = 'ready' AND NOT EXISTS"
                " (SELECT 1 FROM knowledge_chunks c WHERE c.file = knowledge_files.id) ORDER BY id LIMIT 1",
                collection=file.collection_id,
                sha256=file.sha256,
            )
        )
        if heir is not None and await self.twin_of(heir) is None:
            await self.queue(heir)  # it leaned on the one that went

    async def forget(self, account_id: str) -> None:
        """All of an account that is gone."""

        def delete(tx: Any) -> None:
            for table in ("knowledge_chunks", "knowledge_vectors"):
                tx.run(
                    f"DELETE FROM {table} WHERE file IN (SELECT id FROM knowledge_files WHERE owner_id = :owner)",
                    owner=account_id,
                )
            for table in ("knowledge_files", "knowledge_collections"):
                tx.run(f"DELETE FROM {table} WHERE owner_id = :owner", owner=account_id)

        await self._ctx.db.write(delete)

    async def sweep(self, payload: dict[str, Any]) -> None:
        """All of accounts that went while this plugin was away."""
        owners = "SELECT owner_id FROM knowledge_collections UNION SELECT owner_id FROM knowledge_files"
        for account_id in await self._ctx.db.read(lambda tx: tx.all(str, owners)):
            if await self._ctx.accounts.by_id(account_id) is None:
                await self.forget(account_id)


def _is_held(tx: Any, owner_id: str, file_id: str) -> bool:
    """Some collection has it."""
    found = tx.one(
        int,
        "SELECT 1 FROM knowledge_files WHERE file_id = :file AND owner_id = :owner LIMIT 1",
        file=file_id,
        owner=owner_id,
    )
    return found is not None


def may_read(actor: Actor, owner_id: str, groups: str) -> bool:
    """groups: as a collection keeps them."""
    return owner_id == actor.account_id or any(one in readers_of(groups) for one in actor.account.groups)


def readers_of(groups: str) -> tuple[str, ...]:
    return msgspec.json.decode(groups, type=tuple[str, ...]) if groups else ()


def _packed(groups: Sequence[str]) -> str:
    return msgspec.json.encode(groups).decode() if groups else ""


def _clean_name(name: str) -> str:
    name = " ".join(name.split())
    if not name or len(name) > NAME_MOST:
        raise BadInput(
            "Give the collection a name of at most %(most)s characters.",
            values={"most": NAME_MOST},
            code="bad_name",
            status=422,
        )
    return name


def _clean_groups(actor: Actor, groups: Sequence[str], before: Sequence[str] = ()) -> tuple[str, ...]:
    """One shares with one's own groups, an admin with any; those it is shared with already may stay."""
    cleaned = tuple(dict.fromkeys(one for group in groups if (one := group.strip())))
    known = {*actor.account.groups, *before}
    foreign = [one for one in cleaned if one not in known]
    if foreign and actor.account.role != "admin":
        raise BadInput(
            "You are not in the group %(group)s, so you cannot share with it.",
            values={"group": foreign[0][:40]},
            code="unknown_group",
            status=422,
        )
    if len(cleaned) > GROUPS_MOST or any(len(one) > NAME_MOST for one in cleaned):
        raise BadInput(
            "Share it with at most %(most)s groups.", values={"most": GROUPS_MOST}, code="too_many_groups", status=422
        )
    return cleaned


def all_of(tx: Any, actor: Actor) -> list[Collection]:
    rows: list[Collection] = tx.all(
        Collection,
        f"{_COLLECTION} WHERE owner_id = :owner OR groups <> '' ORDER BY made_at, id",
        owner=actor.account_id,
    )
    return [row for row in rows if row.is_for(actor)]


def one_of(tx: Any, actor: Actor, collection_id: str) -> Collection:
    """Raises NotFound for one that is not there, or not for this account."""
    found: Collection | None = tx.one(
        Collection,
        f"{_COLLECTION} WHERE id = :id AND (owner_id = :owner OR groups <> '')",
        id=collection_id,
        owner=actor.account_id,
    )
    if found is None or not found.is_for(actor):
        raise NotFound("There is no such collection.")
    return found


def files_of(tx: Any, collection_id: str) -> list[KnownFile]:
    rows: list[KnownFile] = tx.all(
        KnownFile, f"{FILE} WHERE collection_id = :collection ORDER BY added_at, id", collection=collection_id
    )
    return rows


def changed(tx: Any, collection_id: str) -> None:
    """In the transaction that changes what is found in a collection: every node looks at it anew."""
    tx.run("UPDATE knowledge_collections SET version = version + 1 WHERE id = :id", id=collection_id)
