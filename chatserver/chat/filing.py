"""Keep chats in order: folders, tags, and deeds done to many chats at once."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from chatserver.chat.conversations import Conversations, hide_whole
from chatserver.clock import new_id, now_us
from chatserver.domain.access import Actor
from chatserver.domain.conversations import Conversation, Deletion
from chatserver.domain.filing import (
    BATCH_LIMIT,
    FOLDERS_LIMIT,
    NAME_LIMIT,
    TAG_LIMIT,
    TAGS_LIMIT,
    Deed,
    Folder,
    Tag,
)
from chatserver.domain.turns import Turn
from chatserver.errors import BadInput, NotFound
from chatserver.store import conversations as conversation_rows
from chatserver.store import folders as folder_rows
from chatserver.store.database import Database, Tx


class Filing:
    """Folders and tags of the actor who asks; a foreign id answers like an unknown one."""

    def __init__(self, db: Database, conversations: Conversations) -> None:
        self._db = db
        self._conversations = conversations

    async def folders(self, actor: Actor) -> list[Folder]:
        """Those at the top in order of creation, each followed by those in it."""
        found = await self._db.read(lambda tx: folder_rows.folders_of(tx, actor))
        return in_order(found)

    async def tags(self, actor: Actor) -> list[Tag]:
        """The most used first."""
        return await self._db.read(lambda tx: folder_rows.tags_of(tx, actor))

    async def make_folder(self, actor: Actor, name: str, parent_id: str | None = None) -> Folder:
        """Raises BadInput for a name that is none and for a third level, NotFound for a parent nobody knows."""
        clean = clean_name(name)
        folder_id = new_id()

        def store(tx: Tx) -> Folder:
            folder_rows.lock_folders(tx, actor)
            if len(folder_rows.folders_of(tx, actor)) >= FOLDERS_LIMIT:
                raise BadInput(
                    "There are %(most)s folders already. Delete one first.",
                    values={"most": FOLDERS_LIMIT},
                    code="too_many_folders",
                )
            _check_parent(tx, actor, parent_id)
            folder_rows.insert_folder(tx, actor, folder_id=folder_id, name=clean, parent_id=parent_id, now=now_us())
            return Folder(folder_id, clean, parent_id)

        return await self._db.write(store)

    async def change_folder(
        self,
        actor: Actor,
        folder_id: str,
        name: str | None = None,
        parent_id: str | msgspec.UnsetType | None = msgspec.UNSET,
    ) -> Folder:
        """Rename it, or put it into another one; only what is given changes."""
        clean = clean_name(name) if name is not None else None

        def store(tx: Tx) -> Folder:
            folder_rows.lock_folders(tx, actor)
            found = _folder(tx, actor, folder_id)
            parent = found.parent_id if parent_id is msgspec.UNSET else parent_id
            if parent is not None and parent != found.parent_id:
                has_folders = any(one.parent_id == folder_id for one in folder_rows.folders_of(tx, actor))
                if parent == folder_id or has_folders:
                    raise BadInput("A folder goes into one at the top only.", code="too_deep", status=422)
                _check_parent(tx, actor, parent)
            named = clean or found.name
            folder_rows.change_folder(tx, actor, folder_id, name=named, parent_id=parent)
            return Folder(folder_id, named, parent)

        return await self._db.write(store)

    async def remove_folder(self, actor: Actor, folder_id: str) -> None:
        """The folder goes; what lay in it stays, at the top."""

        def store(tx: Tx) -> None:
            folder_rows.lock_folders(tx, actor)
            _folder(tx, actor, folder_id)
            folder_rows.remove_folder(tx, actor, folder_id)

        await self._db.write(store)

    async def file(
        self, actor: Actor, conversation_id: str, *, folder_id: str | None = None, tags: Sequence[str] | None = None
    ) -> Conversation:
        """Put a chat into a folder, '' takes it out; give it tags in place of those it had. None changes nothing."""
        clean = clean_tags(tuple(tags)) if tags is not None else None

        def store(tx: Tx) -> Conversation:
            _conversation(tx, actor, conversation_id)
            if folder_id is not None:
                _put(tx, actor, conversation_id, folder_id)
            if clean is not None:
                folder_rows.set_tags(tx, actor, conversation_id, clean)
            return _conversation(tx, actor, conversation_id)

        return await self._db.write(store)

    async def do(
        self, actor: Actor, conversation_ids: Sequence[str], deed: Deed, *, folder_id: str = "", tag: str = ""
    ) -> list[Deletion]:
        """One deed to many chats in one transaction: all of them or none. Returns what takes deletions back."""
        ids = list(dict.fromkeys(conversation_ids))
        if not ids:
            raise BadInput("Pick at least one chat.", code="nothing_picked", status=422)
        if len(ids) > BATCH_LIMIT:
            raise BadInput(
                "At most %(most)s chats at once. Pick fewer.",
                values={"most": BATCH_LIMIT},
                code="too_many_picked",
                status=422,
            )
        tags = clean_tags((tag,)) if deed in ("tag", "untag") else ()
        if deed in ("tag", "untag") and not tags:
            raise BadInput("Name the tag.", code="no_tag", status=422)

        def store(tx: Tx) -> tuple[list[Deletion], list[Turn]]:
            deletions: list[Deletion] = []
            running: list[Turn] = []
            for one in sorted(ids):  # in one order, so that two such deeds never wait for each other
                if deed == "delete":
                    deletion, turns = hide_whole(tx, actor, one, new_id())
                    deletions.append(deletion)
                    running += turns
                else:
                    self._do_one(tx, actor, _conversation(tx, actor, one), deed, folder_id, tags)
            return deletions, running

        deletions, running = await self._db.write(store, essential=deed == "delete")
        await self._conversations.stop_all(running)
        return deletions

    @staticmethod
    def _do_one(tx: Tx, actor: Actor, found: Conversation, deed: Deed, folder_id: str, tags: tuple[str, ...]) -> None:
        if deed == "move":
            _put(tx, actor, found.id, folder_id)
        elif deed == "tag":
            folder_rows.set_tags(tx, actor, found.id, clean_tags((*found.tags, *tags)))
        elif deed == "untag":
            folder_rows.set_tags(tx, actor, found.id, tuple(tag for tag in found.tags if tag not in tags))
        else:
            conversation_rows.set_flags(
                tx,
                actor,
                found.id,
                pinned=deed == "pin" if deed in ("pin", "unpin") else found.pinned,
                archived=deed == "archive" if deed in ("archive", "unarchive") else found.archived,
            )


def clean_name(name: str) -> str:
    """One line of at most 60 characters. Raises BadInput."""
    clean = " ".join(name.split())
    if not clean:
        raise BadInput("A folder needs a name.", code="empty_name", status=422)
    if len(clean) > NAME_LIMIT:
        raise BadInput(
            "A folder's name may have %(most)s characters. Shorten it.",
            values={"most": NAME_LIMIT},
            code="name_too_long",
            status=422,
        )
    return clean


def clean_tags(tags: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    """Each once, without a leading #, in the order given. Raises BadInput."""
    clean = tuple(dict.fromkeys(tag for text in tags if (tag := " ".join(text.split()).lstrip("#").strip())))
    if len(clean) > TAGS_LIMIT:
        raise BadInput(
            "A chat may have %(most)s tags. Take some away.",
            values={"most": TAGS_LIMIT},
            code="too_many_tags",
            status=422,
        )
    if any(len(tag) > TAG_LIMIT or "," in tag for tag in clean):
        raise BadInput(
            "A tag may have %(most)s characters, and no comma. Shorten it.",
            values={"most": TAG_LIMIT},
            code="bad_tag",
            status=422,
        )
    return clean


def in_order(folders: Sequence[Folder]) -> list[Folder]:
    """Each at the top followed by those in it."""
    return [
        folder
        for top in folders
        if top.parent_id is None
        for folder in (top, *(one for one in folders if one.parent_id == top.id))
    ]


def _put(tx: Tx, actor: Actor, conversation_id: str, folder_id: str) -> None:
    if folder_id:
        folder_rows.lock_folders(tx, actor)
        _folder(tx, actor, folder_id)
    folder_rows.set_folder(tx, actor, conversation_id, folder_id)


def _folder(tx: Tx, actor: Actor, folder_id: str) -> Folder:
    found = folder_rows.folder_of(tx, actor, folder_id)
    if found is None:
        raise NotFound("There is no such folder.")
    return found


def _check_parent(tx: Tx, actor: Actor, parent_id: str | None) -> None:
    if parent_id is not None and _folder(tx, actor, parent_id).parent_id is not None:
        raise BadInput("A folder goes into one at the top only.", code="too_deep", status=422)


def _conversation(tx: Tx, actor: Actor, conversation_id: str) -> Conversation:
    conversation_rows.lock_conversation(tx, conversation_id)
    found = conversation_rows.conversation_of(tx, actor, conversation_id)
    if found is None:
        raise NotFound("There is no such conversation.")
    return found
