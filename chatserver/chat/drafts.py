"""A draft is what a request will write: admitted, committed in one transaction or not at all, then its turns run."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence

import msgspec

from chatserver.chat.attachments import still_there
from chatserver.chat.calling import Calling
from chatserver.chat.flusher import LEASE_US
from chatserver.chat.prompts import Prompts
from chatserver.chat.refusals import refused
from chatserver.chat.runner import Runner, TurnJob
from chatserver.clock import new_id, now_us
from chatserver.domain.access import Actor
from chatserver.domain.calls import Call
from chatserver.domain.conversations import Asked, Sent, title_from
from chatserver.domain.extend import Refusal
from chatserver.domain.messages import Message, text_of, words_of
from chatserver.domain.models import Model
from chatserver.domain.turns import Turn
from chatserver.errors import BadInput, ChatserverError, Conflict, LimitReached, NotFound, Unavailable, _
from chatserver.store import calls as call_rows
from chatserver.store import conversations as conversation_rows
from chatserver.store import idempotency, search
from chatserver.store import messages as message_rows
from chatserver.store import turns as turn_rows
from chatserver.store.database import Database, Tx
from chatserver.store.idempotency import KeptAnswer

_decode_sent = msgspec.json.Decoder(Sent).decode
_encode = msgspec.json.Encoder().encode


class IdempotencyKey(msgspec.Struct, frozen=True):
    """The caller's key and what they asked for, so that the same key with another request is told apart."""

    key: str
    request: bytes

    @property
    def request_hash(self) -> str:
        return hashlib.sha256(self.request).hexdigest()


class Draft(msgspec.Struct, frozen=True):
    """What a request will write: a question, if any, below `parent_id`, and replies below it, siblings of each other.

    models: who writes each reply; none for a reply that is there already, as an edited one. question_id: what the
    replies answer. attachments: files the question holds. fields: what plugins were handed. labels: what they wrote on
    the turns and calls.
    """

    conversation_id: str
    parent_id: str | None
    replies: tuple[Message, ...]
    models: tuple[Model, ...] = ()
    question: Message | None = None
    question_id: str | None = None
    is_new: bool = False
    wants_title: bool = False
    is_temporary: bool = False
    attachments: tuple[str, ...] = ()
    fields: dict[str, msgspec.Raw] = {}
    labels: dict[str, str] = {}


def reply_running() -> Conflict:
    return Conflict("The reply above is still being written. Wait for it, or stop it first.", code="reply_running")


def check_parent(tx: Tx, conversation_id: str, parent_id: str | None) -> None:
    """Raises NotFound, or Conflict below a reply that is being written."""
    if parent_id is None:
        return
    parent = message_rows.message_in(tx, conversation_id, parent_id)
    if parent is None:
        raise NotFound("There is no such message to write below.")
    if parent.state == "running":
        raise reply_running()


class Drafts:
    """Takes drafts from their limits and admissions to their commit, and starts their turns."""

    def __init__(
        self,
        db: Database,
        calling: Calling,
        runner: Runner,
        prompts: Prompts,
        *,
        node_id: str,
        limits: Mapping[str, int],
        running: Callable[[], int],
    ) -> None:
        """running: how many turns run on this node now."""
        self._db = db
        self._calling = calling
        self._runner = runner
        self._prompts = prompts
        self._node_id = node_id
        self._limits = limits
        self._running = running
        self.is_draining = False
        self._under_way = 0

    def __len__(self) -> int:
        """Drafts that were let in and whose turns do not run yet."""
        return self._under_way

    async def commit(self, actor: Actor, draft: Draft, key: IdempotencyKey | None) -> Sent:
        """All of the draft is kept and all of its turns run, or nothing is.

        Raises NotFound, Conflict `reply_running`, LimitReached, Refused, Unavailable, BadInput for a key used before.
        """
        if key is not None:
            kept = await self._db.read(lambda tx: idempotency.kept_answer(tx, actor, key.key))
            if kept is not None:
                return self._again(kept, key)
        if not draft.models:
            return await self._write(actor, draft, (), key)
        self._under_way += 1  # before the look: who drains meanwhile waits for it
        try:
            await self._check_limits(actor, len(draft.models))
            jobs = await self._admit(actor, draft)
            writing = asyncio.ensure_future(self._write_and_start(actor, draft, jobs, key))
        except BaseException:
            self._settle()
            raise
        writing.add_done_callback(self._settle)
        # whoever asked may leave while this is written: the turns go on
        return await asyncio.shield(writing)

    def _settle(self, _writing: object = None) -> None:
        self._under_way -= 1

    async def _check_limits(self, actor: Actor, wanted: int) -> None:
        if self.is_draining:
            raise Unavailable(
                "The server is about to restart. Try again in a few seconds.", code="draining", retry_after_s=5
            )
        node_limit = self._limits.get("turns_per_node", 0)
        if node_limit and self._running() + wanted > node_limit:
            raise LimitReached(
                "This server is answering as much as it may. Try again soon.", code="turns_per_node", retry_after_s=2
            )
        if self._limits.get("turns_per_account", 0):
            running = await self._db.read(lambda tx: turn_rows.running_of_account(tx, actor.account_id))
            self._check_turns(running, wanted)

    def _check_turns(self, running: int, wanted: int) -> None:
        limit = self._limits.get("turns_per_account", 0)
        if not limit or running + wanted <= limit:
            return
        if wanted > 1:
            text = _("%(wanted)s more replies are over the limit of %(limit)s at once. Ask fewer models, or wait.")
        else:
            text = _("%(running)s of your replies are being written, which is the limit. Wait for one, or stop one.")
        values = {"wanted": wanted, "limit": limit, "running": running}
        raise LimitReached(text, values=values, code="turns_per_account", retry_after_s=2)

    async def _write_and_start(
        self, actor: Actor, draft: Draft, jobs: Sequence[TurnJob], key: IdempotencyKey | None
    ) -> Sent:
        """Commit, and run the turns. Without a key upstreams may start meanwhile; their first words wait."""
        committed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if key is None:
            self._start(jobs, committed)
        try:
            sent = await self._write(actor, draft, jobs, key)
        except ChatserverError:
            await self._calling.release([job.call for job in jobs])
            raise
        else:
            if sent.turn_id != jobs[0].turn.id:
                await self._calling.release([job.call for job in jobs])
                return sent
            committed.set_result(True)
            if key is not None:
                self._start(jobs, committed)
            return sent
        finally:
            if not committed.done():
                committed.set_result(False)

    def _start(self, jobs: Sequence[TurnJob], committed: asyncio.Future[bool]) -> None:
        for job in jobs:
            self._runner.start(job, committed)

    async def _admit(self, actor: Actor, draft: Draft) -> list[TurnJob]:
        """A job for each reply. When one is refused, whoever placed holds for those before it is told."""
        jobs: list[TurnJob] = []
        for reply, model in zip(draft.replies, draft.models, strict=True):
            job = self._job(actor, draft, reply, model)
            if self._calling.asks_first:
                try:
                    job = await self._admit_one(job)
                except ChatserverError:
                    await self._calling.release([one.call for one in (*jobs, job)])
                    raise
            jobs.append(job)
        return jobs

    def _job(self, actor: Actor, draft: Draft, reply: Message, model: Model) -> TurnJob:
        now = now_us()
        turn = Turn(
            id=new_id(),
            conversation_id=draft.conversation_id,
            account_id=actor.account_id,
            question_id=draft.question_id,
            reply_id=reply.id,
            state="running",
            model=model.id,
            origin=actor.origin,
            created_at=now,
            lease_owner=self._node_id,
            lease_epoch=1,
            lease_until=now + LEASE_US,
            labels=draft.labels,
            parameters=draft.fields,
        )
        call = Call(
            new_id(), actor.account_id, "chat", actor.origin, model.id, "running", now, turn.id, labels=draft.labels
        )
        parent = draft.parent_id if draft.question is not None else reply.parent_id
        return TurnJob(turn, call, actor.account, model, draft.question, parent, draft.wants_title)

    async def _admit_one(self, job: TurnJob) -> TurnJob:
        size = await self._prompts.size(job.turn, job.question, job.parent_id, job.model)
        admitted = await self._calling.admit(job.call, job.account, size.input_tokens, size.max_output)
        if isinstance(admitted, Refusal):
            raise refused(admitted)
        call, max_output = admitted
        turn = msgspec.structs.replace(job.turn, labels=call.labels)
        return msgspec.structs.replace(job, turn=turn, call=call, max_output=max_output)

    async def _write(self, actor: Actor, draft: Draft, jobs: Sequence[TurnJob], key: IdempotencyKey | None) -> Sent:
        """The one transaction of a request: question, replies, turns and calls, or nothing of them."""
        asked = tuple(Asked(job.turn.reply_id, job.turn.id, job.turn.model) for job in jobs)
        turn_id = asked[0].turn_id if asked else None
        sent = Sent(draft.conversation_id, turn_id, draft.question_id, draft.replies[0].id, asked)
        now = now_us()

        def store(tx: Tx) -> Sent:
            if key is not None:
                tx.lock(f"key {actor.account_id} {key.key}")
                kept = idempotency.kept_answer(tx, actor, key.key)
                if kept is not None:
                    return self._again(kept, key)
                answer = KeptAnswer(key.request_hash, 202, _encode(sent).decode())
                idempotency.keep_answer(tx, actor, key.key, answer, now)
            if jobs and self._limits.get("turns_per_account", 0):
                tx.lock(f"turns {actor.account_id}")
                self._check_turns(turn_rows.running_of_account(tx, actor.account_id), len(jobs))
            _write_place(tx, actor, draft, now)
            _write_messages(tx, actor, draft, now)
            for job in jobs:
                turn_rows.insert_turn(tx, job.turn)
                call_rows.insert_call(tx, job.call)
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


def _write_place(tx: Tx, actor: Actor, draft: Draft, now: int) -> None:
    """The conversation a draft belongs to: made, or found to be there still, with the parent to write below."""
    question = words_of(draft.question.parts) if draft.question else ""
    if draft.is_new:
        conversation_rows.insert_conversation(
            tx,
            actor,
            conversation_id=draft.conversation_id,
            title=title_from(question),
            title_source="none",
            model=draft.replies[0].model,
            now=now,
            temporary=draft.is_temporary,
        )
        return
    conversation_rows.lock_conversation(tx, draft.conversation_id)
    found = conversation_rows.conversation_of(tx, actor, draft.conversation_id)
    if found is None:
        raise NotFound("There is no such conversation.")
    check_parent(tx, draft.conversation_id, draft.parent_id)
    if not found.title and draft.question is not None:
        conversation_rows.first_title(tx, found.id, title_from(question))


def _write_messages(tx: Tx, actor: Actor, draft: Draft, now: int) -> None:
    """The nodes, what search finds of them, and the view that moves to the first of the replies."""
    still_there(tx, actor, draft.attachments)
    forks = (
        draft.is_new or draft.parent_id is None or message_rows.has_children(tx, draft.conversation_id, draft.parent_id)
    )
    for message in (draft.question, *draft.replies):
        if message is None:
            continue
        message_rows.insert_message(tx, message)
        text = text_of(message.parts)
        if text:
            search.index_new_message(
                tx,
                owner_id=actor.account_id,
                conversation_id=draft.conversation_id,
                message_id=message.id,
                text=text,
            )
    conversation_rows.touch_conversation(
        tx,
        draft.conversation_id,
        actor.account_id,
        now=now,
        model=draft.replies[0].model,
        more_branches=(1 if forks else 0) + len(draft.replies) - 1,
        tip_id=draft.replies[0].id,
    )
    if draft.parent_id is not None:
        conversation_rows.forget_view(tx, draft.conversation_id, draft.parent_id)
    conversation_rows.note_view(tx, draft.conversation_id, draft.replies[0].id, now)
