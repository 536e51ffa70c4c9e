"""What a person does with conversations besides asking: look, list, search, switch, rename, clear, delete."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from chatserver.chat.readers import Readers
from chatserver.chat.recovery import Recovery
from chatserver.chat.runner import Runner
from chatserver.chat.tunings import TuningChange, change_tuning, check_change
from chatserver.chat.wakes import Wakes
from chatserver.clock import new_id, now_us
from chatserver.domain.access import Actor
from chatserver.domain.conversations import (
    TITLE_LIMIT,
    Conversation,
    ConversationLine,
    Deletion,
    Hit,
    PathItem,
    PathView,
)
from chatserver.domain.filing import ListFilter, SearchFilter
from chatserver.domain.messages import Message, text_of
from chatserver.domain.tree import leaves_of, newest_leaf
from chatserver.domain.tuning import UNTUNED
from chatserver.domain.turns import Turn
from chatserver.errors import BadInput, Conflict, NotFound
from chatserver.store import conversations as conversation_rows
from chatserver.store import deletions as deletion_rows
from chatserver.store import feedback as feedback_rows
from chatserver.store import messages as message_rows
from chatserver.store import search
from chatserver.store import tunings as tuning_rows
from chatserver.store import turns as turn_rows
from chatserver.store.conversations import lock_conversation
from chatserver.store.database import Database, Tx
from chatserver.store.deletions import DeletionRow

PAGE = 40

Lines = tuple[list[ConversationLine], str | None]
Messages = list[Message]
Hits = list[Hit]
Turns = list[Turn]


class Conversations:
    """Conversations of the actor who asks; a foreign id answers like an unknown one."""

    def __init__(self, db: Database, readers: Readers, runner: Runner, recovery: Recovery, wakes: Wakes) -> None:
        self._db = db
        self._readers = readers
        self._runner = runner
        self._recovery = recovery
        self._wakes = wakes

    async def create(
        self,
        actor: Actor,
        title: str | None = None,
        *,
        temporary: bool = False,
        tuning: TuningChange | None = None,
        model: str = "",
    ) -> Conversation:
        """An empty conversation; a title given here is a person's and stays. model: what it begins with."""
        wanted = change_tuning(UNTUNED, tuning) if tuning is not None else UNTUNED
        clean = check_title(title) if title is not None else ""
        conversation_id = new_id()

        def store(tx: Tx) -> Conversation:
            conversation_rows.insert_conversation(
                tx,
                actor,
                conversation_id=conversation_id,
                title=clean,
                title_source="person" if clean else "none",
                model=model,
                now=now_us(),
                temporary=temporary,
            )
            if wanted != UNTUNED:
                tuning_rows.set_tuning(tx, actor, conversation_id, wanted)
            if clean:
                search.index_title(tx, owner_id=actor.account_id, conversation_id=conversation_id, title=clean)
            return _conversation(tx, actor, conversation_id)

        return await self._db.write(store)

    async def list(
        self, actor: Actor, after: str | None = None, limit: int = 50, wanted: ListFilter = ListFilter()
    ) -> Lines:
        """A page of conversations, the last changed first, and the cursor of the next page."""
        before = _cursor(after)
        lines = await self._db.read(
            lambda tx: conversation_rows.list_conversations(tx, actor, wanted, before=before, limit=limit + 1)
        )
        if len(lines) <= limit:
            return lines, None
        last = lines[limit - 1]
        return lines[:limit], f"{last.updated_at}-{last.id}"

    async def get(self, actor: Actor, conversation_id: str) -> Conversation:
        return await self._db.read(lambda tx: _conversation(tx, actor, conversation_id))

    async def update(
        self,
        actor: Actor,
        conversation_id: str,
        *,
        title: str | None = None,
        tip: str | None = None,
        pinned: bool | None = None,
        archived: bool | None = None,
        tuning: TuningChange | None = None,
    ) -> Conversation:
        """Rename, switch the stored tip, pin, archive, tune; only what is given changes, and all of it or nothing."""
        clean = check_title(title) if title is not None else None
        if tuning is not None:
            check_change(tuning)

        def store(tx: Tx) -> Conversation:
            found = _conversation(tx, actor, conversation_id)
            if clean is not None:
                conversation_rows.set_title(tx, actor, conversation_id, clean)
                search.index_title(tx, owner_id=actor.account_id, conversation_id=conversation_id, title=clean)
            if tip is not None:
                if message_rows.message_in(tx, conversation_id, tip) is None:
                    raise NotFound("There is no such message in this conversation.")
                conversation_rows.move_tip(tx, actor, conversation_id, tip, now_us())
            if pinned is not None or archived is not None:
                conversation_rows.set_flags(
                    tx,
                    actor,
                    conversation_id,
                    pinned=found.pinned if pinned is None else pinned,
                    archived=found.archived if archived is None else archived,
                )
            if tuning is not None:
                tuning_rows.set_tuning(tx, actor, conversation_id, change_tuning(found.tuning, tuning))
            return _conversation(tx, actor, conversation_id)

        return await self._db.write(store)

    async def delete(self, actor: Actor, conversation_id: str) -> Deletion:
        """Hide a whole conversation; its turns stop; it can be taken back for 30 days."""
        deletion_id = new_id()
        deletion, running = await self._db.write(
            lambda tx: hide_whole(tx, actor, conversation_id, deletion_id), essential=True
        )
        await self.stop_all(running)
        return deletion

    async def delete_message(self, actor: Actor, message_id: str) -> Deletion:
        """Hide a message and all below it; the view moves to a sibling's branch, else to the parent."""
        deletion_id = new_id()

        def store(tx: Tx) -> tuple[Deletion, list[Turn]]:
            message = message_rows.message_of(tx, actor, message_id)
            if message is None:
                raise NotFound("There is no such message.")
            found = _conversation(tx, actor, message.conversation_id)
            if message_rows.message_in(tx, found.id, message_id) is None:  # deleted while we waited for the lock
                raise NotFound("There is no such message.")
            hidden = {edge.id for edge in message_rows.subtree_of(tx, found.id, message_id)}
            running = [turn for turn in turn_rows.running_in(tx, found.id) if turn.reply_id in hidden]
            count = deletion_rows.hide_subtree(tx, found.id, message_id, deletion_id)
            now = now_us()
            deletion_rows.insert_deletion(
                tx, DeletionRow(deletion_id, found.id, message_id, message.parent_id, count, now)
            )
            search.forget_messages(tx, sorted(hidden))
            tip = found.tip_id
            if tip in hidden:
                tip = _beside(tx, found.id, message)
                conversation_rows.move_tip(tx, actor, found.id, tip, now)
            conversation_rows.set_branches(tx, found.id, len(leaves_of(message_rows.edges_of(tx, found.id))))
            return Deletion(deletion_id, found.id, count, tip), running

        deletion, running = await self._db.write(store, essential=True)
        await self.stop_all(running)
        return deletion

    async def stop_all(self, turns: Iterable[Turn]) -> None:
        """Stop these turns, wherever they run."""
        for turn in turns:
            await self._stop(turn)

    async def message(self, actor: Actor, message_id: str) -> Message:
        """One message of the actor's own."""
        found = await self._db.read(lambda tx: message_rows.message_of(tx, actor, message_id))
        if found is None:
            raise NotFound("There is no such message.")
        return found

    async def erased(self, message_ids: Sequence[str]) -> set[str]:
        """Which of these are gone for good, and cannot be taken back: what a plugin keeps of them goes, too."""
        return await self._db.read(lambda tx: deletion_rows.erased_among(tx, message_ids))

    async def count_below(self, actor: Actor, message_id: str) -> int:
        """How many messages deleting this one would hide."""

        def look(tx: Tx) -> int:
            message = message_rows.message_of(tx, actor, message_id)
            if message is None:
                raise NotFound("There is no such message.")
            return len(message_rows.subtree_of(tx, message.conversation_id, message_id))

        return await self._db.read(look)

    async def restore(self, actor: Actor, deletion_id: str) -> Deletion:
        """Take a deletion back, whole; the view goes to what came back."""

        def store(tx: Tx) -> Deletion:
            row = deletion_rows.deletion_of(tx, actor, deletion_id)
            if row is not None:
                lock_conversation(tx, row.conversation_id)
                row = deletion_rows.deletion_of(tx, actor, deletion_id)
            if row is None:
                raise NotFound("There is nothing to take back any more.")
            if row.message_id is None:
                conversation_rows.unhide_conversation(tx, actor, row.conversation_id, deletion_id)
                back = [message.id for message in message_rows.tree_of(tx, row.conversation_id)]
            else:
                _conversation(tx, actor, row.conversation_id)
                if row.parent_id and message_rows.message_in(tx, row.conversation_id, row.parent_id) is None:
                    raise Conflict("What this hung on was deleted too. Take that back first.", code="parent_deleted")
                back = deletion_rows.hidden_by(tx, row.conversation_id, deletion_id)
                deletion_rows.unhide_subtree(tx, row.conversation_id, deletion_id)
            deletion_rows.remove_deletion(tx, deletion_id)
            found = _conversation(tx, actor, row.conversation_id)
            _index_again(tx, found, set(back))
            tip = found.tip_id
            if row.message_id is not None:
                tip = _leaf_below(tx, row.conversation_id, row.message_id)
                conversation_rows.move_tip(tx, actor, row.conversation_id, tip, now_us())
            conversation_rows.set_branches(
                tx, row.conversation_id, len(leaves_of(message_rows.edges_of(tx, row.conversation_id)))
            )
            return Deletion(deletion_id, row.conversation_id, len(back), tip)

        return await self._db.write(store)

    async def clear_context(self, actor: Actor, conversation_id: str, message_id: str) -> None:
        """From here on this branch, prompts hold only what is below; the transcript stays."""

        def store(tx: Tx) -> None:
            found = _conversation(tx, actor, conversation_id)
            message = message_rows.message_in(tx, found.id, message_id)
            if message is None:
                raise NotFound("There is no such message in this conversation.")
            if message.state == "running":
                raise Conflict(
                    "The reply above is still being written. Wait for it, or stop it first.", code="reply_running"
                )
            message_rows.set_marker(tx, found.id, message_id, now_us())

        await self._db.write(store)

    async def restore_context(self, actor: Actor, conversation_id: str, message_id: str) -> None:
        """Take a clear-context marker back."""

        def store(tx: Tx) -> None:
            found = _conversation(tx, actor, conversation_id)
            if not message_rows.remove_marker(tx, found.id, message_id):
                raise NotFound("The context was not cleared here.")

        await self._db.write(store)

    async def view(
        self,
        actor: Actor,
        conversation_id: str,
        tip_id: str | None = None,
        *,
        before: str | None = None,
        limit: int = PAGE,
    ) -> PathView:
        """The end of the branch down to `tip_id` (else the stored tip); with `before`, what lies above that message."""

        def look(tx: Tx) -> PathView:
            found = _conversation(tx, actor, conversation_id)
            tip = tip_id or found.tip_id
            end = tip
            if tip is not None and message_rows.message_in(tx, found.id, tip) is None:
                raise NotFound("There is no such message in this conversation.")
            if before is not None:
                lower = message_rows.message_in(tx, found.id, before)
                if lower is None:
                    raise NotFound("There is no such message in this conversation.")
                end = lower.parent_id
            if end is None:
                return PathView(found, tip, (), False)
            path = message_rows.path_to(tx, found.id, end, limit)
            versions = message_rows.versions_along(tx, found.id, end, limit)
            turns = turn_rows.turns_along(tx, found.id, end, limit)
            verdicts = feedback_rows.verdicts_in(tx, found.id)
            items = tuple(
                PathItem(
                    message,
                    versions.get(message.parent_id, (message.id,)),
                    turns.get(message.id),
                    verdicts.get(message.id, ""),
                )
                for message in path
            )
            return PathView(found, tip, items, bool(path and path[0].parent_id is not None))

        seen = await self._db.read(look)
        expired = [item.turn for item in seen.items if item.turn is not None and item.turn.state == "running"]
        if any([await self._recovery.end_if_expired(turn) for turn in expired]):
            return await self._db.read(look)
        return seen

    async def text(self, actor: Actor, message_id: str) -> str:
        """A message's words as they are read: with those it goes on from. Raises NotFound."""

        def look(tx: Tx) -> str:
            message = message_rows.message_of(tx, actor, message_id)
            if message is None:
                raise NotFound("There is no such message.")
            return message_rows.text_above(tx, message) + text_of(message.parts)

        return await self._db.read(look)

    async def path(self, actor: Actor, conversation_id: str, tip_id: str | None = None) -> Messages:
        """The whole branch down to a tip, root first."""

        def look(tx: Tx) -> Messages:
            found = _conversation(tx, actor, conversation_id)
            tip = tip_id or found.tip_id
            if tip is None:
                return []
            if message_rows.message_in(tx, found.id, tip) is None:
                raise NotFound("There is no such message in this conversation.")
            return message_rows.path_to(tx, found.id, tip)

        return await self._db.read(look)

    async def tree(self, actor: Actor, conversation_id: str) -> Messages:
        """Every visible message, in order of creation."""

        def look(tx: Tx) -> Messages:
            return message_rows.tree_of(tx, _conversation(tx, actor, conversation_id).id)

        return await self._db.read(look)

    async def leaf_below(self, actor: Actor, conversation_id: str, message_id: str) -> str:
        """The tip to open for a version: the one last looked at below it, else the newest."""

        def look(tx: Tx) -> str:
            found = _conversation(tx, actor, conversation_id)
            if message_rows.message_in(tx, found.id, message_id) is None:
                raise NotFound("There is no such message in this conversation.")
            return _leaf_below(tx, found.id, message_id)

        return await self._db.read(look)

    async def search(
        self, actor: Actor, query: str, limit: int = 50, wanted: SearchFilter = SearchFilter(), before: int = 0
    ) -> Hits:
        """Places in the actor's own messages and titles, the newest first. before: the cursor of the last one seen."""
        return await self._db.read(
            lambda tx: search.find(
                tx, owner_id=actor.account_id, query=query, limit=limit, wanted=wanted, before=before
            )
        )

    async def stop(self, actor: Actor, turn_id: str) -> Turn:
        """Stop a turn, wherever it runs. Stopping one that has ended changes nothing."""
        turn = await self._readers.turn(actor, turn_id)
        if turn.state == "running":
            await self._stop(turn)
        return turn

    async def _stop(self, turn: Turn) -> None:
        if not self._runner.stop(turn.id):
            await self._db.write(lambda tx: turn_rows.request_stop(tx, turn.id), essential=True)
            self._wakes.stop(turn.id)


def hide_whole(tx: Tx, actor: Actor, conversation_id: str, deletion_id: str) -> tuple[Deletion, Turns]:
    """Put a conversation out of sight, and say which of its turns are to be stopped. Raises NotFound."""
    _conversation(tx, actor, conversation_id)
    running = turn_rows.running_in(tx, conversation_id)
    count = len(message_rows.edges_of(tx, conversation_id))
    deletion_rows.insert_deletion(tx, DeletionRow(deletion_id, conversation_id, None, None, count, now_us()))
    conversation_rows.hide_conversation(tx, actor, conversation_id, deletion_id)
    search.forget_conversation(tx, conversation_id)
    return Deletion(deletion_id, conversation_id, count), running


def check_title(title: str) -> str:
    clean = " ".join(title.split())
    if not clean:
        raise BadInput("A title needs at least one character.", code="empty_title", status=422)
    if len(clean) > TITLE_LIMIT:
        raise BadInput(
            "A title may have %(most)s characters. Shorten it.",
            values={"most": TITLE_LIMIT},
            code="title_too_long",
            status=422,
        )
    return clean


def _conversation(tx: Tx, actor: Actor, conversation_id: str) -> Conversation:
    """The conversation as it stays while this transaction runs."""
    lock_conversation(tx, conversation_id)
    found = conversation_rows.conversation_of(tx, actor, conversation_id)
    if found is None:
        raise NotFound("There is no such conversation.")
    return found


def _cursor(after: str | None) -> tuple[int, str] | None:
    if not after:
        return None
    at, _, last_id = after.partition("-")
    if not at.isascii() or not at.isdigit() or len(at) > 18 or not last_id:
        raise BadInput("This cursor is not one of ours; take `next` of the page before.", code="bad_cursor")
    return int(at), last_id


def _leaf_below(tx: Tx, conversation_id: str, message_id: str) -> str:
    edges = message_rows.subtree_of(tx, conversation_id, message_id)
    return newest_leaf(message_id, edges, message_rows.views_of(tx, conversation_id))


def _beside(tx: Tx, conversation_id: str, gone: Message) -> str | None:
    """Where a view goes when its message is hidden: the sibling before, else after, else the parent."""
    if gone.parent_id is None:
        siblings = message_rows.roots_of(tx, conversation_id)
    else:
        siblings = message_rows.children_of(tx, conversation_id, gone.parent_id)
    before = [sibling for sibling in siblings if sibling < gone.id]
    nearest = before[-1] if before else (siblings[0] if siblings else None)
    return _leaf_below(tx, conversation_id, nearest) if nearest else gone.parent_id


def _index_again(tx: Tx, conversation: Conversation, message_ids: set[str]) -> None:
    search.index_title(tx, owner_id=conversation.owner_id, conversation_id=conversation.id, title=conversation.title)
    for message in message_rows.tree_of(tx, conversation.id):
        text = text_of(message.parts)
        if message.id in message_ids and text:
            search.index_message(
                tx,
                owner_id=conversation.owner_id,
                conversation_id=conversation.id,
                message_id=message.id,
                text=text,
            )
