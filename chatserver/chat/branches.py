"""A tree as a whole: its map, the names of its branches, the difference between two, and forks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec

from chatserver.chat.conversations import check_title
from chatserver.clock import new_id, now_us
from chatserver.domain.access import Actor
from chatserver.domain.branch_map import Branch, BranchMap, Node, children_of, draw
from chatserver.domain.conversations import Conversation, Difference, ForkScope, Origin
from chatserver.domain.messages import Message, text_of
from chatserver.domain.tree import Edge, leaves_of
from chatserver.errors import BadInput, Conflict, NotFound
from chatserver.store import branches as branch_rows
from chatserver.store import conversations as conversation_rows
from chatserver.store import folders as folder_rows
from chatserver.store import imports as import_rows
from chatserver.store import messages as message_rows
from chatserver.store import search
from chatserver.store import sources as source_rows
from chatserver.store.batches import runs_of
from chatserver.store.database import Database, Tx

NAME_LIMIT = 60
ROWS = 400
"""Rows of a map at once; more are asked for."""
LANES = 5
TAIL = 200
"""Messages of a branch a difference shows below the fork."""


class Mapped(msgspec.Struct, frozen=True):
    """A tree's map with what its rows show: the messages by id (a fold's first among them) and the names by message."""

    conversation: Conversation
    tip_id: str | None
    map: BranchMap
    messages: Mapping[str, Message]
    nodes: Mapping[str, Node]
    names: Mapping[str, str]
    has_sources: bool = False

    def name_of(self, branch: Branch) -> str:
        """The name nearest above a branch's tip, '' for none."""
        current: str | None = branch.tip_id
        while current is not None:
            if current in self.names:
                return self.names[current]
            current = self.nodes[current].parent_id
        return ""


class Branches:
    """Trees of the actor who asks; a foreign id answers like an unknown one."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def map(
        self,
        actor: Actor,
        conversation_id: str,
        tip_id: str | None = None,
        *,
        opened: Collection[str] = (),
        limit: int = ROWS,
    ) -> Mapped:
        """The map seen from a tip, the stored one when none is named. opened: the folds that are shown whole."""

        def look(tx: Tx) -> Mapped:
            found = _conversation(tx, actor, conversation_id)
            nodes = branch_rows.nodes_of(tx, found.id)
            by_id = {node.id: node for node in nodes}
            if tip_id is not None and tip_id not in by_id:
                raise NotFound("There is no such message in this conversation.")
            tip = tip_id or found.tip_id
            drawn = draw(nodes, tip, LANES, opened=opened, limit=limit)
            wanted = [row.id for row in drawn.rows] + [branch.start_id for branch in drawn.branches[:ROWS]]
            messages = branch_rows.messages_named(tx, found.id, list(dict.fromkeys(wanted)))
            names, has_sources = branch_rows.names_of(tx, found.id), source_rows.has_sources(tx, found.id)
            return Mapped(found, tip, drawn, messages, by_id, names, has_sources)

        return await self._db.read(look)

    async def standing(self, actor: Actor, conversation_id: str, tip_id: str) -> tuple[str, Origin | None]:
        """The name of the branch that ends at a message, '' for none; and where the conversation was forked, as long
        as the actor can see that."""

        def look(tx: Tx) -> tuple[str, Origin | None]:
            found = _conversation(tx, actor, conversation_id)
            return branch_rows.name_of(tx, found.id, tip_id), branch_rows.origin_of(tx, actor, found.id)

        return await self._db.read(look)

    async def name(self, actor: Actor, message_id: str, name: str) -> str:
        """Name the branch a message is on, or take its name away with ''. The name is kept at the first message below
        the last fork, so that it stays with the branch as that grows. Returns the name as it is kept."""
        clean = " ".join(name.split())
        if len(clean) > NAME_LIMIT:
            raise BadInput(
                "A branch's name may have %(most)s characters. Shorten it.",
                values={"most": NAME_LIMIT},
                code="name_too_long",
                status=422,
            )

        def store(tx: Tx) -> str:
            message = message_rows.message_of(tx, actor, message_id)
            if message is None:
                raise NotFound("There is no such message.")
            found = _conversation(tx, actor, message.conversation_id)
            nodes = branch_rows.nodes_of(tx, found.id)
            start = start_of(nodes, message_id)
            if start is None:  # deleted while we waited for the lock
                raise NotFound("There is no such message.")
            branch_rows.set_name(tx, found.id, start, clean, now_us())
            return clean

        return await self._db.write(store)

    async def difference(self, actor: Actor, conversation_id: str, left_id: str, right_id: str) -> Difference:
        """Where two branches part, and what each goes on with."""

        def look(tx: Tx) -> Difference:
            found = _conversation(tx, actor, conversation_id)
            nodes = branch_rows.nodes_of(tx, found.id)
            parents = {node.id: node.parent_id for node in nodes}
            if left_id not in parents or right_id not in parents:
                raise NotFound("There is no such message in this conversation.")
            left, right = (_down_to(parents, tip) for tip in (left_id, right_id))
            shared = 0
            while shared < min(len(left), len(right)) and left[shared] == right[shared]:
                shared += 1
            tails = left[shared : shared + TAIL], right[shared : shared + TAIL]
            wanted = [*tails[0], *tails[1], *left[max(0, shared - 1) : shared]]
            messages = branch_rows.messages_named(tx, found.id, wanted)
            return Difference(
                shared=shared,
                last_shared=messages[left[shared - 1]] if shared else None,
                left=tuple(messages[id_] for id_ in tails[0]),
                right=tuple(messages[id_] for id_ in tails[1]),
                left_name=branch_rows.name_of(tx, found.id, left_id),
                right_name=branch_rows.name_of(tx, found.id, right_id),
            )

        return await self._db.read(look)

    async def fork(self, actor: Actor, message_id: str, scope: ForkScope, title: str = "") -> Conversation:
        """A conversation of its own from a message on: new ids, the same words, names and markers, in the same folder
        with the same tags. A reply that is being written is left behind; forking at one is Conflict `reply_running`,
        and a temporary chat `temporary_chat`."""
        clean = check_title(title) if title.strip() else ""
        now = now_us()

        def store(tx: Tx) -> Conversation:
            message = message_rows.message_of(tx, actor, message_id)
            if message is None:
                raise NotFound("There is no such message.")
            if message.state == "running":
                raise Conflict("This reply is still being written. Wait for it, or stop it.", code="reply_running")
            source = _conversation(tx, actor, message.conversation_id)
            if source.temporary:
                raise Conflict("A temporary chat cannot be forked. Keep it first.", code="temporary_chat")
            taken = [one for one in _taken(tx, source.id, message_id, scope) if one.state != "running"]
            copies = copy_of(taken, new_id())
            fork_id = copies[0].conversation_id
            tip = copies[[one.id for one in sorted(taken, key=lambda one: one.id)].index(message_id)].id
            import_rows.insert_conversation(
                tx,
                msgspec.structs.replace(
                    source,
                    id=fork_id,
                    title=clean or source.title,
                    title_source="person" if clean else source.title_source,
                    tip_id=None,
                    pinned=False,
                    archived=False,
                    created_at=now,
                    updated_at=now,
                    branches=len(leaves_of([Edge(one.id, one.parent_id) for one in copies])),
                ),
                None,
            )
            folder_rows.set_folder(tx, actor, fork_id, source.folder_id)
            folder_rows.set_tags(tx, actor, fork_id, source.tags)
            self._fill(tx, actor, source.id, taken, copies, now)
            conversation_rows.move_tip(tx, actor, fork_id, tip, now)
            branch_rows.set_origin(tx, actor, fork_id, message_id)
            return _conversation(tx, actor, fork_id)

        return await self._db.write(store)

    @staticmethod
    def _fill(
        tx: Tx, actor: Actor, source_id: str, taken: Sequence[Message], copies: Sequence[Message], now: int
    ) -> None:
        """The copied messages, parents first, with their markers and names, and what they are found by."""
        fork_id = copies[0].conversation_id
        for run in runs_of(_parents_first(copies)):
            import_rows.insert_messages(tx, run)
        for copy in copies:
            source_rows.keep_copied(tx, copy)
        names = branch_rows.names_of(tx, source_id)
        for old, copy in zip(sorted(taken, key=lambda one: one.id), copies, strict=True):
            if old.cleared_after:
                message_rows.set_marker(tx, fork_id, copy.id, now)
            if old.id in names:
                branch_rows.set_name(tx, fork_id, copy.id, names[old.id], now)
        found = conversation_rows.conversation_of(tx, actor, fork_id)
        if found is not None and found.title:
            search.index_title(tx, owner_id=actor.account_id, conversation_id=fork_id, title=found.title)
        search.index_new_messages(
            tx,
            [search.NewText(actor.account_id, fork_id, one.id, text) for one in copies if (text := text_of(one.parts))],
        )


def start_of(nodes: Sequence[Node], message_id: str) -> str | None:
    """The first message of the branch a message is on: the one below the last fork above it, else the root."""
    below = children_of(nodes)
    parents = {node.id: node.parent_id for node in nodes}
    current = message_id if message_id in parents else None
    while current is not None and parents[current] is not None and len(below[parents[current]]) == 1:
        current = parents[current]
    return current


def copy_of(messages: Sequence[Message], conversation_id: str) -> list[Message]:
    """The same messages under new ids that sort as the old ones do. The parent of every one but roots is among them."""
    ordered = sorted(messages, key=lambda message: message.id)
    ids = {message.id: new_id() for message in ordered}
    return [
        msgspec.structs.replace(
            message,
            id=ids[message.id],
            conversation_id=conversation_id,
            parent_id=ids[message.parent_id] if message.parent_id is not None else None,
        )
        for message in ordered
    ]


def _taken(tx: Tx, conversation_id: str, message_id: str, scope: ForkScope) -> list[Message]:
    if scope == "all":
        return message_rows.tree_of(tx, conversation_id)
    path = message_rows.path_to(tx, conversation_id, message_id)
    if scope == "path":
        return path
    below = {edge.id for edge in message_rows.subtree_of(tx, conversation_id, message_id)} - {message_id}
    return [*path, *(one for one in message_rows.tree_of(tx, conversation_id) if one.id in below)]


def _parents_first(messages: Sequence[Message]) -> list[Message]:
    """Not by id: in imported trees a child may have the lesser one."""
    below: dict[str | None, list[Message]] = {}
    for message in messages:
        below.setdefault(message.parent_id, []).append(message)
    ordered: list[Message] = []
    level = below.get(None, [])
    while level:
        ordered += level
        level = [child for parent in level for child in below.get(parent.id, ())]
    return ordered


def _down_to(parents: Mapping[str, str | None], tip_id: str) -> list[str]:
    """The ids from the root down to a tip."""
    trail: list[str] = []
    current: str | None = tip_id
    while current is not None:
        trail.append(current)
        current = parents[current]
    return trail[::-1]


def _conversation(tx: Tx, actor: Actor, conversation_id: str) -> Conversation:
    conversation_rows.lock_conversation(tx, conversation_id)
    found = conversation_rows.conversation_of(tx, actor, conversation_id)
    if found is None:
        raise NotFound("There is no such conversation.")
    return found
