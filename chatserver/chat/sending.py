"""Asking for replies: send, edit, regenerate, continue, ask several. Each makes one draft, kept whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from chatserver.chat.attachments import attached, check_readable
from chatserver.chat.drafts import Draft, Drafts, IdempotencyKey, check_parent, reply_running
from chatserver.chat.refusals import refused
from chatserver.clock import new_id, now_us
from chatserver.domain.access import Actor
from chatserver.domain.conversations import Conversation, Sent
from chatserver.domain.extend import Refusal, SendRequest
from chatserver.domain.files import file_ids
from chatserver.domain.messages import CitationPart, FilePart, ImagePart, Message, Parts, TextPart
from chatserver.domain.models import Model
from chatserver.errors import BadInput, NotFound, Unavailable
from chatserver.gateway.catalog import Catalog
from chatserver.plugins import Plugins
from chatserver.store import accounts as account_rows
from chatserver.store import conversations as conversation_rows
from chatserver.store import messages as message_rows
from chatserver.store import turns as turn_rows
from chatserver.store.database import Database, Tx

__all__ = ["AT_TIP", "MODELS_AT_ONCE", "IdempotencyKey", "ParentTip", "Sending"]

MAX_TEXT_BYTES = 200_000
MODELS_AT_ONCE = 4
"""How many models one question may be put to: what fits side by side on a wide screen."""


NEAR = 8
"""How far up a branch is looked for a turn: the reply just above has one, but where replies were rewritten."""
Fields = dict[str, msgspec.Raw]


class ParentTip(msgspec.Struct, frozen=True):
    """Stands for `below the stored tip` where a sender named no parent."""


AT_TIP = ParentTip()


class Sending:
    """Works out what a request means: the nodes it makes and the models it asks."""

    def __init__(self, db: Database, plugins: Plugins, catalog: Catalog, drafts: Drafts) -> None:
        self._db = db
        self._plugins = plugins
        self._catalog = catalog
        self._drafts = drafts

    async def send(
        self,
        actor: Actor,
        conversation_id: str | None,
        parent_id: str | ParentTip | None,
        text: str,
        model: str = "",
        *,
        models: Sequence[str] = (),
        attachments: Sequence[str] = (),
        idempotency: IdempotencyKey | None = None,
        fields: Mapping[str, msgspec.Raw] | None = None,
        temporary: bool = False,
    ) -> Sent:
        """A question below `parent_id` (None: a new root) and a running reply. conversation_id None: a new one.
        models: several to ask at once, instead of `model`; each writes a reply of its own. attachments: ids of files,
        with which the text may be empty. temporary: a new one is.

        Raises NotFound, Conflict `reply_running`, BadInput, LimitReached, Refused, Unavailable; nothing is kept then.
        """
        check_text(text, is_all=not attachments)
        self._check_fields(fields)

        def look(tx: Tx) -> tuple[Conversation | None, str | None, Fields, Parts]:
            files = attached(tx, actor, attachments)
            if conversation_id is None:
                return None, None, {}, files
            found = conversation_rows.conversation_of(tx, actor, conversation_id)
            if found is None:
                raise NotFound("There is no such conversation.")
            parent = found.tip_id if isinstance(parent_id, ParentTip) else parent_id
            check_parent(tx, found.id, parent)
            return found, parent, self._fields_above(tx, found.id, parent), files

        conversation, parent, above, files = await self._db.read(look)
        where = conversation.id if conversation else new_id()
        wish = await self._prepare(actor, where, models[0] if models else model, above, fields)
        if models:
            picked = self._pick_several(actor, models)
        else:
            liked = "" if wish.model or (conversation and conversation.model) else await self._default_model(actor)
            picked = (self._pick_model(actor, wish.model, conversation, liked=liked),)
        now = now_us()
        parts = (*files, TextPart(text)) if text.strip() else files
        check_readable(parts, picked)
        question = Message(new_id(), where, parent, "user", "done", parts, "", now)
        untitled = not temporary if conversation is None else conversation.title_source == "none"
        untitled = untitled and not (conversation and conversation.temporary)
        draft = Draft(
            where,
            parent,
            tuple(new_reply(where, question.id, one, now) for one in picked),
            picked,
            question,
            question.id,
            is_new=conversation is None,
            wants_title=untitled and not picked[0].is_demo,
            is_temporary=temporary and conversation is None,
            attachments=file_ids(files),
            fields=wish.fields,
            labels=wish.labels,
        )
        return await self._drafts.commit(actor, draft, idempotency)

    async def edit(
        self, actor: Actor, message_id: str, text: str, model: str = "", *, idempotency: IdempotencyKey | None = None
    ) -> Sent:
        """A sibling with other text. Of a question: with a new reply. Of a reply: without a turn."""
        message, conversation, above = await self._message(actor, message_id)
        check_text(text, is_all=not file_ids(message.parts))
        if message.state == "running":
            raise reply_running()
        now = now_us()
        parts = replace_text(message.parts, text)
        if message.role != "user":
            edited = msgspec.structs.replace(
                message, id=new_id(), state="done", parts=parts, created_at=now, cleared_after=False
            )
            return await self._drafts.commit(actor, Draft(conversation.id, message.parent_id, (edited,)), idempotency)
        wish = await self._prepare(actor, conversation.id, model, above)
        picked = self._pick_model(actor, wish.model, conversation)
        check_readable(parts, [picked])
        question = Message(new_id(), conversation.id, message.parent_id, "user", "done", parts, "", now)
        reply = new_reply(conversation.id, question.id, picked, now)
        draft = Draft(conversation.id, message.parent_id, (reply,), (picked,), question, question.id)
        return await self._drafts.commit(actor, with_wish(draft, wish), idempotency)

    async def regenerate(
        self, actor: Actor, message_id: str, model: str = "", *, idempotency: IdempotencyKey | None = None
    ) -> Sent:
        """Another reply beside this one (or, given a question, below it), by the same model unless another is named."""
        message, conversation, above = await self._message(actor, message_id)
        asked = message.id if message.role == "user" else message.parent_id
        wanted = model or (message.model if message.role == "assistant" else "")
        wish = await self._prepare(actor, conversation.id, wanted, above)
        picked = self._pick_model(actor, wish.model, conversation, fall_back=not model)
        check_readable(await self._parts(conversation.id, message, asked), [picked])
        reply = new_reply(conversation.id, asked, picked, now_us(), continues=message.continues)
        answers = None if message.continues else asked
        draft = Draft(conversation.id, asked, (reply,), (picked,), question_id=answers)
        return await self._drafts.commit(actor, with_wish(draft, wish), idempotency)

    async def ask_several(
        self, actor: Actor, question_id: str, models: Sequence[str], *, idempotency: IdempotencyKey | None = None
    ) -> Sent:
        """Further replies to a question that is there, one by each model, beside those it has."""
        question, conversation, above = await self._message(actor, question_id)
        if question.role != "user":
            raise BadInput("Only a question can be put to several models.", code="not_a_question", status=422)
        picked = self._pick_several(actor, models)
        check_readable(question.parts, picked)
        wish = await self._prepare(actor, conversation.id, picked[0].id, above)
        now = now_us()
        replies = tuple(new_reply(conversation.id, question.id, one, now) for one in picked)
        draft = Draft(conversation.id, question.id, replies, picked, question_id=question.id)
        return await self._drafts.commit(actor, with_wish(draft, wish), idempotency)

    async def continue_reply(self, actor: Actor, message_id: str, *, idempotency: IdempotencyKey | None = None) -> Sent:
        """A child of a reply that goes on where it ended; shown joined to it, merged with it in prompts."""
        message, conversation, above = await self._message(actor, message_id)
        if message.role != "assistant":
            raise BadInput("Only a reply can be continued.", code="not_a_reply")
        if message.state == "running":
            raise reply_running()
        wish = await self._prepare(actor, conversation.id, message.model, above)
        picked = self._pick_model(actor, wish.model, conversation, fall_back=True)
        reply = new_reply(conversation.id, message.id, picked, now_us(), continues=True)
        draft = Draft(conversation.id, message.id, (reply,), (picked,), question_id=message.parent_id)
        return await self._drafts.commit(actor, with_wish(draft, wish), idempotency)

    async def _message(self, actor: Actor, message_id: str) -> tuple[Message, Conversation, Fields]:
        """A message to ask again at, where it is, and what plugins were handed when it was asked before."""

        def look(tx: Tx) -> tuple[Message, Conversation, Fields]:
            message = message_rows.message_of(tx, actor, message_id)
            found = conversation_rows.conversation_of(tx, actor, message.conversation_id) if message else None
            if message is None or found is None:
                raise NotFound("There is no such message.")
            near = message.id
            if message.role == "user":
                near = next(reversed(message_rows.children_of(tx, found.id, message.id)), near)
            return message, found, self._fields_above(tx, found.id, near)

        return await self._db.read(look)

    async def _parts(self, conversation_id: str, message: Message, question_id: str | None) -> Parts:
        """What the question holds that is asked again; message: it, or a reply to it."""
        if question_id is None or message.id == question_id:
            return message.parts
        found = await self._db.read(lambda tx: message_rows.message_in(tx, conversation_id, question_id))
        return found.parts if found is not None else ()

    def _fields_above(self, tx: Tx, conversation_id: str, message_id: str | None) -> Fields:
        """What plugins were handed at the turn nearest above; not read when no plugin would be told."""
        if not self._plugins.has("prepare_send"):
            return {}
        for _ in range(NEAR):
            if message_id is None:
                break
            turn = turn_rows.turn_by_reply(tx, conversation_id, message_id)
            message = message_rows.message_in(tx, conversation_id, message_id) if turn is None else None
            if turn is None and message is not None and message.role == "assistant" and message.parent_id:
                # a reply that somebody rewrote has no turn of its own: those it stands beside have
                beside = message_rows.children_of(tx, conversation_id, message.parent_id)
                turns = (turn_rows.turn_by_reply(tx, conversation_id, one) for one in reversed(beside))
                turn = next(filter(None, turns), None)
            if turn is not None:
                return turn.parameters
            message_id = message.parent_id if message is not None else None
        return {}

    async def _prepare(
        self,
        actor: Actor,
        conversation_id: str,
        model: str,
        above: Fields,
        fields: Mapping[str, msgspec.Raw] | None = None,
    ) -> SendRequest:
        """The request as plugins completed it. Raises what they refuse with."""
        wish = SendRequest(actor.account, actor.origin, conversation_id, model, dict(fields or {}), above)
        answer = await self._plugins.chain("prepare_send", wish)
        if isinstance(answer, Refusal):
            raise refused(answer)
        assert isinstance(answer, SendRequest)
        return answer

    def _check_fields(self, fields: Mapping[str, msgspec.Raw] | None) -> None:
        for name in fields or ():
            if not any(self._plugins.implements(name, hook) for hook in ("prepare_send", "prepare_prompt")):
                raise BadInput(
                    "Nothing here takes the field “%(name)s”.", values={"name": name}, code="unknown_field", status=422
                )

    def _pick_model(
        self, actor: Actor, wanted: str, conversation: Conversation | None, *, liked: str = "", fall_back: bool = False
    ) -> Model:
        """The model asked for; with none asked, the conversation's, else the liked one, else the first the actor may
        use."""
        served = self._catalog.models(actor.account.groups)
        by_id = {model.id: model for model in served}
        if wanted and (wanted in by_id or not fall_back):
            if wanted in by_id:
                return by_id[wanted]
            raise BadInput(
                "There is no model “%(model)s” here. Pick one from the list.",
                values={"model": wanted[:100]},
                code="unknown_model",
                status=422,
            )
        for known in (conversation.model if conversation is not None else "", liked):
            if known in by_id:
                return by_id[known]
        if not served:
            raise Unavailable(
                "No model is set up yet. Put an API key into the environment or a [[channels]] table into"
                " chatserver.toml, then restart.",
                code="no_model",
            )
        return served[0]

    async def _default_model(self, actor: Actor) -> str:
        """What the account begins new chats with, '' when it did not say."""
        settings = await self._db.read(lambda tx: account_rows.get_settings(tx, actor.account_id))
        return str(settings.get("default_model") or "")

    def _pick_several(self, actor: Actor, wanted: Sequence[str]) -> tuple[Model, ...]:
        if not 0 < len(wanted) <= MODELS_AT_ONCE or "" in wanted:
            raise BadInput(
                "Name one to %(most)s models to ask at once.",
                values={"most": MODELS_AT_ONCE},
                code="models_at_once",
                status=422,
            )
        return tuple(self._pick_model(actor, model, None) for model in wanted)


def with_wish(draft: Draft, wish: SendRequest) -> Draft:
    return msgspec.structs.replace(draft, fields=wish.fields, labels=wish.labels)


def new_reply(
    conversation_id: str, parent_id: str | None, model: Model, now: int, *, continues: bool = False
) -> Message:
    """A reply that is about to be written."""
    return Message(new_id(), conversation_id, parent_id, "assistant", "running", (), model.id, now, continues)


def check_text(text: str, *, is_all: bool = True) -> None:
    """Refuse a message without words, or one over the limit. is_all: there are no files to speak for themselves."""
    if is_all and not text.strip():
        raise BadInput("Write something first.", code="empty_text", status=422)
    if len(text.encode("utf-8", "surrogatepass")) > MAX_TEXT_BYTES:
        raise BadInput(
            "A message may have %(most)s kB of text. Shorten it.",
            values={"most": MAX_TEXT_BYTES // 1000},
            code="text_too_long",
            status=413,
        )
    try:
        text.encode("utf-8")
        clean = "\x00" not in text
    except UnicodeEncodeError:
        clean = False
    if not clean:
        raise BadInput("The text holds characters that cannot be stored. Remove them.", code="bad_text", status=422)


def replace_text(parts: Parts, text: str) -> Parts:
    """The parts of a message with its text replaced: files, pictures and citations stay, reasoning goes."""
    kept = tuple(part for part in parts if isinstance(part, (ImagePart, FilePart)))
    cited = tuple(part for part in parts if isinstance(part, CitationPart))
    return (*kept, TextPart(text), *cited) if text.strip() else kept
