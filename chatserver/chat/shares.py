"""Share a branch or a whole tree by a link, read what a link opens, go on from it in a copy of one's own, revoke."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping

import msgspec

from chatserver.chat.accounts import Accounts
from chatserver.chat.conversations import check_title
from chatserver.chat.credentials import sha256
from chatserver.chat.files import Files
from chatserver.chat.imports import Imports
from chatserver.clock import new_id, now_us, write_id
from chatserver.domain.access import Actor
from chatserver.domain.conversations import Conversation, title_from
from chatserver.domain.files import StoredFile, file_ids, with_names
from chatserver.domain.imported import ImportedConversation, ImportedMessage
from chatserver.domain.messages import Message, text_of
from chatserver.domain.shares import (
    NewShare,
    Share,
    SharedItem,
    SharedPage,
    ShareScope,
    branch_of,
    leaf_under,
    shown_parts,
    versions_in,
)
from chatserver.domain.tree import Edge, leaves_of
from chatserver.errors import BadInput, Conflict, LimitReached, NotFound
from chatserver.store import conversations as conversation_rows
from chatserver.store import files as file_rows
from chatserver.store import messages as message_rows
from chatserver.store import shares as share_rows
from chatserver.store.database import Database, Tx

SHARES_PER_ACCOUNT = 1_000
MESSAGES_ON_PAGE = 60
LONGEST_S = 10 * 366 * 86_400


class Shares:
    """A snapshot names messages, which never change; it copies nothing. What is deleted is gone from it as well."""

    def __init__(self, db: Database, accounts: Accounts, files: Files) -> None:
        self._db = db
        self._accounts = accounts
        self._files = files

    async def create(
        self,
        actor: Actor,
        conversation_id: str,
        tip_id: str | None = None,
        scope: ShareScope = "path",
        *,
        title: str = "",
        thoughts: bool = False,
        expires_in_s: int | None = None,
    ) -> NewShare:
        """A link to the branch down to tip_id (None: the stored tip), or to the whole tree as it is now.

        title '': the conversation's own, unless it may tell of what is not shared. Raises NotFound, BadInput,
        Conflict `reply_running` or `nothing_to_share`, LimitReached `shares_per_account`.
        """
        clean = check_title(title) if title.strip() else ""
        if expires_in_s is not None and not 1 <= expires_in_s <= LONGEST_S:
            raise BadInput("A link lasts between one second and ten years.", code="bad_expiry", status=422)
        secret = secrets.token_urlsafe(32)
        share_id, now = new_id(), now_us()

        def store(tx: Tx) -> Share:
            tx.lock(f"shares {actor.account_id}")
            conversation_rows.lock_conversation(tx, conversation_id)
            found = conversation_rows.conversation_of(tx, actor, conversation_id)
            if found is None:
                raise NotFound("There is no such conversation.")
            if found.temporary:
                raise Conflict("A temporary chat cannot be shared. Keep it first.", code="temporary_chat")
            if share_rows.count_shares(tx, actor) >= SHARES_PER_ACCOUNT:
                raise LimitReached(
                    "You share %(most)s times already. Revoke a link you do not need any more.",
                    values={"most": SHARES_PER_ACCOUNT},
                    code="shares_per_account",
                )
            tip = tip_id or found.tip_id
            if tip is None:
                raise Conflict("There is nothing to share in this chat yet.", code="nothing_to_share")
            if message_rows.message_in(tx, found.id, tip) is None:
                raise NotFound("There is no such message in this conversation.")
            edges = message_rows.edges_of(tx, found.id)
            if scope == "path":
                wanted = set(branch_of(edges, tip))
                edges = [edge for edge in edges if edge.id in wanted]
            if any(edge.state == "running" for edge in edges):
                raise Conflict(
                    "An answer in it is still being written. Wait for it, or stop it first.", code="reply_running"
                )
            share = Share(
                id=share_id,
                owner_id=actor.account_id,
                conversation_id=found.id,
                tip_id=tip,
                scope=scope,
                title=clean or _harmless_title(tx, found, edges),
                thoughts=thoughts,
                messages=len(edges),
                last_four=secret[-4:],
                created_at=now,
                expires_at=None if expires_in_s is None else now + expires_in_s * 1_000_000,
            )
            share_rows.insert_share(tx, actor, share, sha256(secret))
            if scope == "path":
                share_rows.include_path(tx, share_id, found.id, tip)
            else:
                share_rows.include_tree(tx, share_id, found.id)
            return share

        return NewShare(await self._db.write(store), secret)

    async def list(self, actor: Actor, conversation_id: str | None = None) -> list[Share]:
        """The actor's shares, the newest first."""
        return await self._db.read(lambda tx: share_rows.shares_of(tx, actor, conversation_id))

    async def revoke(self, actor: Actor, share_id: str) -> None:
        """From now on the link opens nothing; on other nodes within a second."""
        revoked = await self._db.write(lambda tx: share_rows.remove_share(tx, actor, share_id), essential=True)
        self._accounts.forget_credentials()
        if not revoked:
            raise NotFound("There is no such link.")

    async def read(self, reader: Actor, tip_id: str | None = None, at: str | None = None) -> SharedPage:
        """A page of the shared branch that ends at tip_id, the one on which the message `at` stands."""

        def look(tx: Tx) -> SharedPage:
            share, edges, tip = _open(tx, reader, tip_id)
            branch = branch_of(edges, tip)
            place = branch.index(at) if at in branch else 0
            start = place - place % MESSAGES_ON_PAGE
            end = start + MESSAGES_ON_PAGE
            versions = versions_in(edges)
            items = tuple(
                SharedItem(_as_shown(message, share), versions.get(message.parent_id, (message.id,)))
                for message in message_rows.messages_among(tx, share.conversation_id, branch[start:end])
            )
            before = branch[start - MESSAGES_ON_PAGE] if start else None
            return SharedPage(share, tip, items, start, before, branch[end] if end < len(branch) else None)

        return await self._db.read(look)

    async def file(self, reader: Actor, file_id: str) -> StoredFile:
        """A file in what was shared. Raises NotFound for any other."""
        found = await self._db.read(lambda tx: share_rows.file_read_by(tx, reader, file_id))
        if found is None:
            raise NotFound("There is no such file in what was shared.")
        return found

    async def leaf_below(self, reader: Actor, message_id: str) -> str:
        """The tip of the branch to open for a version of a message: the newest below it that was shared."""

        def look(tx: Tx) -> str:
            _, edges, top = _open(tx, reader, message_id)
            return leaf_under(edges, top)

        return await self._db.read(look)

    async def copy(self, reader: Actor, actor: Actor) -> str:
        """All that a link opens as a conversation of the actor's own; returns its id. Asked again, by the same actor
        for the same link, it is the same conversation."""

        def look(tx: Tx) -> ImportedConversation:
            share, edges, tip = _open(tx, reader, None)
            messages = message_rows.messages_among(tx, share.conversation_id, [edge.id for edge in edges])
            shown = [_as_shown(message, share) for message in messages]
            names.update({id_: _copied_id(share, actor, id_) for one in shown for id_ in file_ids(one.parts)})
            return ImportedConversation(
                id=f"share:{share.id}",
                title=share.title,
                messages=tuple(_as_copied(one, share, names) for one in shown),
                title_source="person",
                created_at=share.created_at,
                updated_at=now_us(),
                tip_id=tip,
                model=next((message.model for message in reversed(messages) if message.model), ""),
            )

        names: dict[str, str] = {}
        source = await self._db.read(look)
        await self._db.write(lambda tx: self._copy_files(tx, reader, actor, names))
        imports = Imports(self._db, actor)
        await imports.take(source)
        await imports.flush()
        return imports.last_id

    def _copy_files(self, tx: Tx, reader: Actor, actor: Actor, names: Mapping[str, str]) -> None:
        """What the link shows becomes the actor's own as well; what is no more is left out. Raises LimitReached."""
        for file_id, own_id in names.items():
            file = share_rows.file_read_by(tx, reader, file_id)
            if file is not None and self._files.make_space(tx, actor, msgspec.structs.replace(file, id=own_id)):
                file_rows.give_file(tx, actor, file, own_id, now_us())


def _open(tx: Tx, reader: Actor, message_id: str | None) -> tuple[Share, list[Edge], str]:
    """What this reader's link opens: the share, its tree, and the message named (None: where the share opens)."""
    share = share_rows.share_read_by(tx, reader) if reader.share_id else None
    edges = share_rows.edges_read_by(tx, reader) if share is not None else []
    if share is None or not edges:
        raise NotFound("This link opens nothing, or nothing any more.")
    known = {edge.id for edge in edges}
    if message_id is not None and message_id not in known:
        raise NotFound("There is no such message in what was shared.")
    tip = message_id or (share.tip_id if share.tip_id in known else max(leaves_of(edges)))
    return share, edges, tip


def _harmless_title(tx: Tx, conversation: Conversation, shared: list[Edge]) -> str:
    """A title that tells of nothing but what is shared: a person's own words, or a model's when all of it is shared;
    else the first question's."""
    is_all = len(message_rows.edges_of(tx, conversation.id, hidden_too=True)) == len(shared)
    if conversation.title and (conversation.title_source == "person" or is_all):
        return conversation.title
    for message in message_rows.messages_among(tx, conversation.id, [edge.id for edge in shared[:8]]):
        if message.role == "user" and (title := title_from(text_of(message.parts))):
            return title
    return ""


def _as_shown(message: Message, share: Share) -> Message:
    return msgspec.structs.replace(message, parts=shown_parts(message, thoughts=share.thoughts))


def _copied_id(share: Share, actor: Actor, file_id: str) -> str:
    """The same every time the same actor copies the same share."""
    text = f"{share.id}\x00{actor.account_id}\x00{file_id}"
    return write_id(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest()))


def _as_copied(message: Message, share: Share, names: Mapping[str, str]) -> ImportedMessage:
    """Times are the snapshot's: when its owner wrote is theirs to tell, and equal times make equal ids."""
    return ImportedMessage(
        id=message.id,
        parent_id=message.parent_id,
        role=message.role,
        parts=with_names(message.parts, names),
        created_at=share.created_at,
        model=message.model,
        state=message.state,
        continues=message.continues,
        cleared_at=share.created_at if message.cleared_after else 0,
    )
