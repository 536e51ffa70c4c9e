"""Asking for a reply: send, edit, regenerate, continue. Each is one transaction that makes the nodes, turn and call."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping

import msgspec

from chatserver.chat.flusher import LEASE_US
from chatserver.chat.prompts import Prompts
from chatserver.chat.runner import Runner, TurnJob
from chatserver.clock import new_id, now_us
from chatserver.domain.access import Actor
from chatserver.domain.calls import Call
from chatserver.domain.conversations import Conversation, Sent, title_from
from chatserver.domain.events import CallEnded
from chatserver.domain.extend import Admission, Refusal
from chatserver.domain.messages import FilePart, ImagePart, Message, Parts, TextPart, text_of
from chatserver.domain.models import Model
from chatserver.domain.turns import Turn
from chatserver.errors import BadInput, ChatserverError, Conflict, LimitReached, NotFound, Refused, Unavailable
from chatserver.gateway.catalog import Catalog
from chatserver.plugins import Plugins
from chatserver.store import calls as call_rows
from chatserver.store import conversations as conversation_rows
from chatserver.store import idempotency, outbox, search
from chatserver.store import messages as message_rows
from chatserver.store import turns as turn_rows
from chatserver.store.database import Database, Tx
from chatserver.store.idempotency import KeptAnswer

MAX_TEXT_BYTES = 200_000

_decode_sent = msgspec.json.Decoder(Sent).decode
_encode = msgspec.json.Encoder().encode


class IdempotencyKey(msgspec.Struct, frozen=True):
    """The caller's key and what they asked for, so that the same key with another request is told apart."""

    key: str
    request: bytes

    @property
    def request_hash(self) -> str:
        return hashlib.sha256(self.request).hexdigest()


class ParentTip(msgspec.Struct, frozen=True):
    """Stands for `below the stored tip` where a sender named no parent."""


AT_TIP = ParentTip()


class Draft(msgspec.Struct, frozen=True):
    """What a request will write: the nodes, and for a reply its turn. New nodes hang below `parent_id`."""

    conversation_id: str
    parent_id: str | None
    reply: Message
    question: Message | None = None
    is_new: bool = False
    model: Model | None = None
    question_id: str | None = None
    wants_title: bool = False


def reply_running() -> Conflict:
    return Conflict("The reply above is still being written. Wait for it, or stop it first.", code="reply_running")


class Sending:
    """Prepares a request, has it admitted, commits it and starts its turn."""

    def __init__(
        self,
        db: Database,
        plugins: Plugins,
        catalog: Catalog,
        runner: Runner,
        prompts: Prompts,
        *,
        node_id: str,
        limits: Mapping[str, int],
        running: Callable[[], int],
    ) -> None:
        """running: how many turns run on this node now."""
        self._db = db
        self._plugins = plugins
        self._catalog = catalog
        self._runner = runner
        self._prompts = prompts
        self._node_id = node_id
        self._limits = limits
        self._running = running
        self.is_draining = False

    async def send(
        self,
        actor: Actor,
        conversation_id: str | None,
        parent_id: str | ParentTip | None,
        text: str,
        model: str = "",
        *,
        idempotency: IdempotencyKey | None = None,
        fields: Mapping[str, msgspec.Raw] | None = None,
    ) -> Sent:
        """A question below `parent_id` (None: a new root) and a running reply. conversation_id None: a new one.

        Raises NotFound, Conflict `reply_running`, BadInput, LimitReached, Refused, Unavailable; nothing is kept then.
        """
        check_text(text)
        self._check_fields(fields)

        def look(tx: Tx) -> tuple[Conversation | None, str | None]:
            if conversation_id is None:
                return None, None
            found = conversation_rows.conversation_of(tx, actor, conversation_id)
            if found is None:
                raise NotFound("There is no such conversation.")
            parent = found.tip_id if isinstance(parent_id, ParentTip) else parent_id
            self._check_parent(tx, found.id, parent)
            return found, parent

        conversation, parent = await self._db.read(look)
        picked = self._pick_model(actor, model, conversation)
        now = now_us()
        where = conversation.id if conversation else new_id()
        question = Message(new_id(), where, parent, "user", "done", (TextPart(text),), "", now)
        reply = Message(new_id(), where, question.id, "assistant", "running", (), picked.id, now)
        untitled = conversation is None or conversation.title_source == "none"
        draft = Draft(
            where, parent, reply, question, conversation is None, picked, question.id, untitled and not picked.is_demo
        )
        return await self._commit(actor, draft, idempotency, fields or {})

    async def edit(
        self, actor: Actor, message_id: str, text: str, model: str = "", *, idempotency: IdempotencyKey | None = None
    ) -> Sent:
        """A sibling with other text. Of a question: with a new reply. Of a reply: without a turn."""
        check_text(text)
        message, conversation = await self._message(actor, message_id)
        if message.state == "running":
            raise reply_running()
        now = now_us()
        parts = replace_text(message.parts, text)
        if message.role != "user":
            edited = msgspec.structs.replace(
                message, id=new_id(), state="done", parts=parts, created_at=now, cleared_after=False
            )
            return await self._commit(actor, Draft(conversation.id, message.parent_id, edited), idempotency, {})
        picked = self._pick_model(actor, model, conversation)
        question = Message(new_id(), conversation.id, message.parent_id, "user", "done", parts, "", now)
        reply = Message(new_id(), conversation.id, question.id, "assistant", "running", (), picked.id, now)
        draft = Draft(conversation.id, message.parent_id, reply, question, False, picked, question.id)
        return await self._commit(actor, draft, idempotency, {})

    async def regenerate(
        self, actor: Actor, message_id: str, model: str = "", *, idempotency: IdempotencyKey | None = None
    ) -> Sent:
        """Another reply beside this one (or, given a question, below it), by the same model unless another is named."""
        message, conversation = await self._message(actor, message_id)
        asked = message.id if message.role == "user" else message.parent_id
        wanted = model or (message.model if message.role == "assistant" else "")
        picked = self._pick_model(actor, wanted, conversation, fall_back=not model)
        reply = Message(
            new_id(), conversation.id, asked, "assistant", "running", (), picked.id, now_us(), message.continues
        )
        draft = Draft(conversation.id, asked, reply, None, False, picked, None if message.continues else asked)
        return await self._commit(actor, draft, idempotency, {})

    async def continue_reply(self, actor: Actor, message_id: str, *, idempotency: IdempotencyKey | None = None) -> Sent:
        """A child of a reply that goes on where it ended; shown joined to it, merged with it in prompts."""
        message, conversation = await self._message(actor, message_id)
        if message.role != "assistant":
            raise BadInput("Only a reply can be continued.", code="not_a_reply")
        if message.state == "running":
            raise reply_running()
        picked = self._pick_model(actor, message.model, conversation, fall_back=True)
        reply = Message(new_id(), conversation.id, message.id, "assistant", "running", (), picked.id, now_us(), True)
        draft = Draft(conversation.id, message.id, reply, None, False, picked, message.parent_id)
        return await self._commit(actor, draft, idempotency, {})

    async def _message(self, actor: Actor, message_id: str) -> tuple[Message, Conversation]:
        def look(tx: Tx) -> tuple[Message, Conversation]:
            message = message_rows.message_of(tx, actor, message_id)
            found = conversation_rows.conversation_of(tx, actor, message.conversation_id) if message else None
            if message is None or found is None:
                raise NotFound("There is no such message.")
            return message, found

        return await self._db.read(look)

    def _check_parent(self, tx: Tx, conversation_id: str, parent_id: str | None) -> None:
        if parent_id is None:
            return
        parent = message_rows.message_in(tx, conversation_id, parent_id)
        if parent is None:
            raise NotFound("There is no such message to write below.")
        if parent.state == "running":
            raise reply_running()

    def _check_fields(self, fields: Mapping[str, msgspec.Raw] | None) -> None:
        for name in fields or ():
            if not self._plugins.implements(name, "prepare_prompt"):
                raise BadInput(f"Nothing here takes the field {name!r}.", code="unknown_field", status=422)

    def _pick_model(
        self, actor: Actor, wanted: str, conversation: Conversation | None, *, fall_back: bool = False
    ) -> Model:
        """The model asked for; with none asked, the conversation's, else the first the actor may use."""
        served = self._catalog.models(actor.account.groups)
        by_id = {model.id: model for model in served}
        if wanted and (wanted in by_id or not fall_back):
            if wanted in by_id:
                return by_id[wanted]
            raise BadInput(
                f"There is no model {wanted[:100]!r} here. Pick one from the list.", code="unknown_model", status=422
            )
        if conversation is not None and conversation.model in by_id:
            return by_id[conversation.model]
        if not served:
            raise Unavailable(
                "No model is set up yet. Put an API key into the environment or a [[channels]] table into"
                " chatserver.toml, then restart.",
                code="no_model",
            )
        return served[0]

    async def _commit(
        self, actor: Actor, draft: Draft, key: IdempotencyKey | None, fields: Mapping[str, msgspec.Raw]
    ) -> Sent:
        if key is not None:
            kept = await self._db.read(lambda tx: idempotency.kept_answer(tx, actor, key.key))
            if kept is not None:
                return self._again(kept, key)
        if draft.model is None:
            return await self._write(actor, draft, None, key)
        if self.is_draining:
            raise Unavailable(
                "The server is about to restart. Try again in a few seconds.", code="draining", retry_after_s=5
            )
        node_limit = self._limits.get("turns_per_node", 0)
        if node_limit and self._running() >= node_limit:
            raise LimitReached(
                "This server is answering as much as it may. Try again soon.", code="turns_per_node", retry_after_s=2
            )
        account_limit = self._limits.get("turns_per_account", 0)
        if account_limit:
            running = await self._db.read(lambda tx: turn_rows.running_of_account(tx, actor.account_id))
            self._check_turns(running)
        job = await self._admitted(actor, draft, fields)
        # whoever asked may leave while this is written: the turn goes on
        return await asyncio.shield(asyncio.ensure_future(self._write_and_start(actor, draft, job, key)))

    async def _write_and_start(self, actor: Actor, draft: Draft, job: TurnJob, key: IdempotencyKey | None) -> Sent:
        """Commit, and run the turn. Without a key the upstream may start meanwhile; its first word waits."""
        committed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if key is None:
            self._runner.start(job, committed)
        try:
            sent = await self._write(actor, draft, job, key)
        except ChatserverError:
            await self._release(job, actor)
            raise
        else:
            if sent.turn_id != job.turn.id:
                await self._release(job, actor)
                return sent
            committed.set_result(True)
            if key is not None:
                self._runner.start(job, committed)
            return sent
        finally:
            if not committed.done():
                committed.set_result(False)

    async def _admitted(self, actor: Actor, draft: Draft, fields: Mapping[str, msgspec.Raw]) -> TurnJob:
        assert draft.model is not None
        now = now_us()
        turn = Turn(
            id=new_id(),
            conversation_id=draft.conversation_id,
            account_id=actor.account_id,
            question_id=draft.question_id,
            reply_id=draft.reply.id,
            state="running",
            model=draft.model.id,
            origin=actor.origin,
            created_at=now,
            lease_owner=self._node_id,
            lease_epoch=1,
            lease_until=now + LEASE_US,
            parameters=dict(fields),
        )
        call = Call(new_id(), actor.account_id, "chat", actor.origin, draft.model.id, "running", now, turn.id)
        parent = draft.parent_id if draft.question is not None else draft.reply.parent_id
        max_output = 0
        if self._plugins.has("admit_call"):
            tokens = await self._prompts.estimate_input(draft.conversation_id, draft.question, parent, draft.model)
            admission = Admission(call.id, actor.account, actor.origin, "chat", draft.model.id, tokens, 0, turn.id)
            answer = await self._plugins.chain("admit_call", admission)
            if isinstance(answer, Refusal):
                await self._release(
                    TurnJob(turn, call, actor.account, draft.model, draft.question, draft.parent_id), actor
                )
                raise Refused(
                    f"{answer.message} {answer.next_step}".strip(),
                    code=answer.code,
                    status=answer.status,
                    retry_after_s=answer.retry_after_s,
                )
            call = msgspec.structs.replace(call, labels=answer.labels)
            turn = msgspec.structs.replace(turn, labels=answer.labels)
            max_output = answer.max_output
        return TurnJob(turn, call, actor.account, draft.model, draft.question, parent, draft.wants_title, max_output)

    async def _release(self, job: TurnJob, actor: Actor) -> None:
        """Tell whoever placed a hold that this call will never be made."""
        if not self._plugins.has("admit_call"):
            return
        call = job.call
        event = CallEnded(
            call.id, actor.account_id, "chat", actor.origin, call.model, "", "failed", call.usage, None, call.labels
        )
        await self._db.write(lambda tx: outbox.append(tx, event))

    def _check_turns(self, running: int) -> None:
        limit = self._limits.get("turns_per_account", 0)
        if limit and running >= limit:
            raise LimitReached(
                f"{running} of your replies are being written, which is the limit. Wait for one, or stop one.",
                code="turns_per_account",
                retry_after_s=2,
            )

    async def _write(self, actor: Actor, draft: Draft, job: TurnJob | None, key: IdempotencyKey | None) -> Sent:
        """The one transaction of a request: question, reply, turn and call, or nothing of them."""
        sent = Sent(draft.conversation_id, job.turn.id if job else None, draft.question_id, draft.reply.id)
        now = now_us()

        def store(tx: Tx) -> Sent:
            if key is not None:
                tx.lock(f"key {actor.account_id} {key.key}")
                kept = idempotency.kept_answer(tx, actor, key.key)
                if kept is not None:
                    return self._again(kept, key)
                answer = KeptAnswer(key.request_hash, 202, _encode(sent).decode())
                idempotency.keep_answer(tx, actor, key.key, answer, now)
            if job is not None and self._limits.get("turns_per_account", 0):
                tx.lock(f"turns {actor.account_id}")
                self._check_turns(turn_rows.running_of_account(tx, actor.account_id))
            if draft.is_new:
                text = text_of(draft.question.parts) if draft.question else ""
                conversation_rows.insert_conversation(
                    tx,
                    actor,
                    conversation_id=draft.conversation_id,
                    title=title_from(text),
                    title_source="none",
                    model=draft.reply.model,
                    now=now,
                )
            else:
                conversation_rows.lock_conversation(tx, draft.conversation_id)
                found = conversation_rows.conversation_of(tx, actor, draft.conversation_id)
                if found is None:
                    raise NotFound("There is no such conversation.")
                self._check_parent(tx, draft.conversation_id, draft.parent_id)
                if not found.title and draft.question is not None:
                    conversation_rows.first_title(tx, found.id, title_from(text_of(draft.question.parts)))
            forks = (
                draft.is_new
                or draft.parent_id is None
                or message_rows.has_children(tx, draft.conversation_id, draft.parent_id)
            )
            for message in (draft.question, draft.reply):
                if message is not None:
                    message_rows.insert_message(tx, message)
                    text = text_of(message.parts)
                    if text:
                        search.index_message(
                            tx,
                            owner_id=actor.account_id,
                            conversation_id=draft.conversation_id,
                            message_id=message.id,
                            text=text,
                        )
            if job is not None:
                turn_rows.insert_turn(tx, job.turn)
                call_rows.insert_call(tx, job.call)
            conversation_rows.touch_conversation(
                tx,
                draft.conversation_id,
                actor.account_id,
                now=now,
                model=draft.reply.model,
                more_branches=1 if forks else 0,
            )
            if draft.parent_id is not None:
                conversation_rows.forget_view(tx, draft.conversation_id, draft.parent_id)
            conversation_rows.move_tip(tx, actor, draft.conversation_id, draft.reply.id, now)
            return sent

        return await self._db.write(store)

    @staticmethod
    def _again(kept: KeptAnswer, key: IdempotencyKey) -> Sent:
        if kept.request_hash != key.request_hash:
            raise BadInput(
                "This Idempotency-Key was used for another request. Take a fresh key.",
                code="idempotency_mismatch",
                status=422,
            )
        return _decode_sent(kept.response)


def check_text(text: str) -> None:
    """Refuse a message without words, or one over the limit."""
    if not text.strip():
        raise BadInput("Write something first.", code="empty_text", status=422)
    if len(text.encode("utf-8", "surrogatepass")) > MAX_TEXT_BYTES:
        raise BadInput(
            f"A message may have {MAX_TEXT_BYTES // 1000} kB of text. Shorten it.", code="text_too_long", status=413
        )
    try:
        clean = "\x00" not in text and bool(text.encode("utf-8"))
    except UnicodeEncodeError:
        clean = False
    if not clean:
        raise BadInput("The text holds characters that cannot be stored. Remove them.", code="bad_text", status=422)


def replace_text(parts: Parts, text: str) -> Parts:
    """The parts of a message with its text replaced: files and pictures stay, reasoning goes."""
    kept = tuple(part for part in parts if isinstance(part, (ImagePart, FilePart)))
    return (*kept, TextPart(text))
