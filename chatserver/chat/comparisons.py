"""Replies to one question side by side: which they are, and keeping one of them."""

from __future__ import annotations

from collections.abc import Sequence

from chatserver.chat.recovery import Recovery
from chatserver.chat.sending import MODELS_AT_ONCE
from chatserver.clock import now_us
from chatserver.domain.access import Actor
from chatserver.domain.conversations import Comparison, Conversation, PathItem, PathView
from chatserver.domain.messages import Message
from chatserver.domain.tree import newest_leaf
from chatserver.errors import NotFound
from chatserver.store import conversations as conversation_rows
from chatserver.store import messages as message_rows
from chatserver.store import turns as turn_rows
from chatserver.store.database import Database, Tx


class Comparisons:
    """Looks at siblings in the tree; nothing of a comparison is stored but the tree itself."""

    def __init__(self, db: Database, recovery: Recovery) -> None:
        self._db = db
        self._recovery = recovery

    async def look(
        self, actor: Actor, conversation_id: str, question_id: str, wanted: Sequence[str] = ()
    ) -> Comparison:
        """The replies wanted, in that order; without any, the last few. Raises NotFound for what is none of them."""

        def read(tx: Tx) -> Comparison:
            found = _conversation(tx, actor, conversation_id)
            question = message_rows.message_in(tx, found.id, question_id)
            if question is None:
                raise NotFound("There is no such message in this conversation.")
            there = message_rows.children_of(tx, found.id, question.id)
            replies = [
                reply
                for reply_id in (wanted or there)
                if reply_id in there and (reply := message_rows.message_in(tx, found.id, reply_id)) is not None
            ]
            if wanted and len(replies) != len(wanted):
                raise NotFound("There is no such reply to this question.")
            replies = [reply for reply in replies if _stands_alone(reply)]
            items = tuple(
                PathItem(reply, tuple(there), turn_rows.turn_by_reply(tx, found.id, reply.id))
                for reply in replies[-MODELS_AT_ONCE:]
            )
            versions = message_rows.versions_along(tx, found.id, question.id, 1)
            beside = versions.get(question.parent_id, (question.id,))
            view = PathView(found, question.id, (PathItem(question, beside),), question.parent_id is not None)
            return Comparison(view, items, *_kept(tx, found, question.id, items))

        seen = await self._db.read(read)
        running = [item.turn for item in seen.replies if item.turn is not None and item.turn.state == "running"]
        if any([await self._recovery.end_if_expired(turn) for turn in running]):
            return await self._db.read(read)
        return seen

    async def keep(self, actor: Actor, reply_id: str) -> tuple[str, str]:
        """Go on with this one: the stored tip moves to it, or to where one last was below it. Answers the
        conversation and its tip. The others stay, as siblings."""

        def store(tx: Tx) -> tuple[str, str]:
            reply = message_rows.message_of(tx, actor, reply_id)
            if reply is None:
                raise NotFound("There is no such message.")
            conversation_rows.lock_conversation(tx, reply.conversation_id)
            found = _conversation(tx, actor, reply.conversation_id)
            if message_rows.message_in(tx, found.id, reply.id) is None:  # deleted while we waited for the lock
                raise NotFound("There is no such message.")
            edges = message_rows.subtree_of(tx, found.id, reply.id)
            tip = newest_leaf(reply.id, edges, message_rows.views_of(tx, found.id))
            conversation_rows.move_tip(tx, actor, found.id, tip, now_us())
            return found.id, tip

        return await self._db.write(store)


def _conversation(tx: Tx, actor: Actor, conversation_id: str) -> Conversation:
    found = conversation_rows.conversation_of(tx, actor, conversation_id)
    if found is None:
        raise NotFound("There is no such conversation.")
    return found


def _stands_alone(message: Message) -> bool:
    """Whether this is an answer of its own, and not the rest of the one above it."""
    return message.role == "assistant" and not message.continues


def _kept(tx: Tx, found: Conversation, question_id: str, items: Sequence[PathItem]) -> tuple[str | None, str]:
    """The reply the conversation goes on below, and where."""
    shown = [item.message.id for item in items]
    if found.tip_id is not None:
        kept = message_rows.child_towards(tx, found.id, question_id, found.tip_id)
        if kept in shown:
            return kept, found.tip_id
    return (shown[0], shown[0]) if shown else (None, question_id)
