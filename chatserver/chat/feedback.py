"""Say what one thinks of a reply, change one's mind, take it back; each is an event for those who count."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chatserver.clock import now_us
from chatserver.domain.access import Actor
from chatserver.domain.events import FeedbackGiven
from chatserver.domain.feedback import REASON_LIMIT, TAGS, Feedback
from chatserver.domain.messages import Message
from chatserver.errors import BadInput, Conflict, NotFound
from chatserver.store import conversations as conversation_rows
from chatserver.store import feedback as feedback_rows
from chatserver.store import messages as message_rows
from chatserver.store import outbox
from chatserver.store import turns as turn_rows
from chatserver.store.database import Database, Tx


class FeedbackBox:
    """Feedback of the actor's, on replies of their own conversations."""

    def __init__(self, db: Database, wake: Callable[[], None]) -> None:
        """wake: called when there is an event to be handed on."""
        self._db = db
        self._wake = wake

    async def read(self, actor: Actor, message_id: str) -> tuple[Message, Feedback | None]:
        """A reply, and what was said of it. Raises NotFound, BadInput `not_a_reply`, Conflict `reply_running`."""

        def look(tx: Tx) -> tuple[Message, Feedback | None]:
            message = _reply(tx, actor, message_id)
            return message, feedback_rows.feedback_on(tx, message.conversation_id, message_id)

        return await self._db.read(look)

    async def give(
        self, actor: Actor, message_id: str, value: str, *, tags: Sequence[str] | None = None, reason: str | None = None
    ) -> Feedback:
        """In place of what was said before. tags, reason: None keeps those of before, while the verdict is the same.

        Raises NotFound, Conflict `reply_running`, BadInput for what is no verdict, no tag of it, or too long a reason.
        """
        verdict = next((known for known in TAGS if known == value), None)
        if verdict is None:
            raise BadInput("Feedback is `good` or `bad`.", code="bad_verdict", status=422)
        unknown = next((tag for tag in tags or () if tag not in TAGS[verdict]), None)
        if unknown is not None:
            raise BadInput(
                "The tags of %(verdict)s are %(tags)s.",
                values={"verdict": verdict, "tags": ", ".join(TAGS[verdict])},
                code="unknown_tag",
                status=422,
            )
        if reason is not None:
            reason = check_reason(reason)

        def store(tx: Tx) -> Feedback:
            message = _reply(tx, actor, message_id)
            before = feedback_rows.feedback_on(tx, message.conversation_id, message_id)
            kept = before if before is not None and before.value == verdict else Feedback(verdict)
            said = Feedback(
                verdict,
                kept.tags if tags is None else tuple(tag for tag in TAGS[verdict] if tag in tags),
                kept.reason if reason is None else reason,
                now_us(),
            )
            feedback_rows.set_feedback(tx, message.conversation_id, message_id, said)
            _tell(tx, actor, message, before, said)
            return said

        said = await self._db.write(store)
        self._wake()
        return said

    async def take_back(self, actor: Actor, message_id: str) -> None:
        """Whether there was any or not."""

        def store(tx: Tx) -> None:
            message = _reply(tx, actor, message_id)
            before = feedback_rows.feedback_on(tx, message.conversation_id, message_id)
            if feedback_rows.remove_feedback(tx, message.conversation_id, message_id):
                _tell(tx, actor, message, before, None)

        await self._db.write(store)
        self._wake()


def check_reason(reason: str) -> str:
    """The words as they are kept. Raises BadInput."""
    clean = reason.replace("\r\n", "\n").strip()
    if len(clean) > REASON_LIMIT:
        raise BadInput(
            "A reason may have %(most)s characters. Shorten it.",
            values={"most": REASON_LIMIT},
            code="reason_too_long",
            status=422,
        )
    if "\x00" in clean or any("\ud800" <= character <= "\udfff" for character in clean):
        raise BadInput("The reason holds characters that cannot be stored. Remove them.", code="bad_text", status=422)
    return clean


def _reply(tx: Tx, actor: Actor, message_id: str) -> Message:
    message = message_rows.message_of(tx, actor, message_id)
    if message is None:
        raise NotFound("There is no such message.")
    conversation_rows.lock_conversation(tx, message.conversation_id)
    message = message_rows.message_in(tx, message.conversation_id, message_id)
    if message is None:  # deleted while we waited for the lock
        raise NotFound("There is no such message.")
    if message.role != "assistant":
        raise BadInput("Feedback is on replies.", code="not_a_reply", status=422)
    if message.state == "running":
        raise Conflict("This reply is still being written. Wait for it, or stop it.", code="reply_running")
    return message


def _tell(tx: Tx, actor: Actor, message: Message, before: Feedback | None, said: Feedback | None) -> None:
    turn = turn_rows.turn_by_reply(tx, message.conversation_id, message.id)
    outbox.append(
        tx,
        FeedbackGiven(
            actor.account_id,
            message.conversation_id,
            message.id,
            said.value if said else "",
            before.value if before else "",
            said.tags if said else (),
            message.model,
            turn.id if turn else None,
            turn.labels if turn else {},
        ),
    )
