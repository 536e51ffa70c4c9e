"""The JSON API: what the page can do, for scripts and other people's programs."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request, Router, delete, get, patch, post
from litestar.datastructures import State
from litestar.params import FromPath, FromQuery, JSONBody

from chatserver.chat.sending import AT_TIP, IdempotencyKey, ParentTip
from chatserver.domain.access import Actor
from chatserver.domain.conversations import Conversation, ConversationLine, Deletion, Sent
from chatserver.domain.messages import Message, Part
from chatserver.domain.turns import Turn
from chatserver.errors import BadInput, Refused
from chatserver.house import House

ApiRequest = Request[Any, Any, State]
LIST_LIMIT = 50


class NewConversation(msgspec.Struct):
    title: str | None = None


class ConversationChange(msgspec.Struct, forbid_unknown_fields=True):
    """Only what is given changes."""

    title: str | msgspec.UnsetType = msgspec.UNSET
    tip: str | msgspec.UnsetType = msgspec.UNSET
    pinned: bool | msgspec.UnsetType = msgspec.UNSET
    archived: bool | msgspec.UnsetType = msgspec.UNSET


class NewMessage(msgspec.Struct):
    text: str
    parent_id: str | msgspec.UnsetType | None = msgspec.UNSET
    model: str | None = None
    attachments: list[str] = []


KNOWN_FIELDS = frozenset(NewMessage.__struct_fields__)


class NewText(msgspec.Struct, forbid_unknown_fields=True):
    text: str
    model: str = ""


class ModelChoice(msgspec.Struct, forbid_unknown_fields=True):
    model: str = ""


class MarkerPlace(msgspec.Struct, forbid_unknown_fields=True):
    message_id: str


class ConversationOut(msgspec.Struct):
    id: str
    title: str
    tip: str | None
    model: str
    pinned: bool
    archived: bool
    branches: int
    created_at: int
    updated_at: int


class ConversationLineOut(msgspec.Struct):
    id: str
    title: str
    tip: str | None
    pinned: bool
    archived: bool
    running: bool
    branches: int
    updated_at: int


class ConversationList(msgspec.Struct):
    conversations: list[ConversationLineOut]
    next: str | None


class MessageOut(msgspec.Struct):
    """`state` of anything but a reply is done. cleared: a clear-context marker stands below this message."""

    id: str
    parent_id: str | None
    role: str
    parts: tuple[Part, ...]
    model: str
    state: str
    created_at: int
    continues: bool = False
    cleared: bool = False


class MessageList(msgspec.Struct):
    messages: list[MessageOut]


class SentOut(msgspec.Struct):
    conversation_id: str
    turn_id: str | None
    question_id: str | None
    reply_id: str


class DeletionOut(msgspec.Struct):
    """deleted: how many messages went out of sight. deletion_id takes them back for 30 days."""

    deletion_id: str
    deleted: int
    tip: str | None


class TurnErrorOut(msgspec.Struct):
    code: str
    message: str


class TurnOut(msgspec.Struct):
    id: str
    conversation_id: str
    reply_id: str
    question_id: str | None
    state: str
    model: str
    usage: Any
    error: TurnErrorOut | None
    attempts: Any
    left_out: int
    last_seq: int
    created_at: int
    ended_at: int | None


class ModelOut(msgspec.Struct):
    id: str
    name: str
    context_tokens: int
    abilities: tuple[str, ...]
    demo: bool


class ModelList(msgspec.Struct):
    models: list[ModelOut]


class HitOut(msgspec.Struct):
    conversation_id: str
    message_id: str | None
    text: str
    title: str


class HitList(msgspec.Struct):
    hits: list[HitOut]


class AccountOut(msgspec.Struct):
    id: str
    email: str
    name: str
    role: str
    groups: tuple[str, ...]
    origin: str


def actor_of(request: ApiRequest) -> Actor:
    """Who asks; 401 when nobody is signed in."""
    actor = request.scope["state"].get("actor")
    if not isinstance(actor, Actor):
        raise Refused("Sign in, or send a key: Authorization: Bearer KEY.", code="not_signed_in", status=401)
    return actor


def house_of(request: ApiRequest) -> House:
    house: House = request.app.state.house
    return house


async def idempotency_of(request: ApiRequest) -> IdempotencyKey | None:
    """The caller's Idempotency-Key with what it was sent for."""
    key = request.headers.get("idempotency-key", "")
    if not key:
        return None
    if len(key) > 200 or not key.isprintable():
        raise BadInput("An Idempotency-Key has at most 200 printable characters.", code="bad_idempotency_key")
    return IdempotencyKey(key, request.scope["path"].encode() + b"\n" + await request.body())


def _conversation(found: Conversation) -> ConversationOut:
    return ConversationOut(
        found.id,
        found.title,
        found.tip_id,
        found.model,
        found.pinned,
        found.archived,
        found.branches,
        found.created_at,
        found.updated_at,
    )


def _line(line: ConversationLine) -> ConversationLineOut:
    return ConversationLineOut(
        line.id, line.title, line.tip_id, line.pinned, line.archived, line.is_running, line.branches, line.updated_at
    )


def _message(message: Message) -> MessageOut:
    return MessageOut(
        message.id,
        message.parent_id,
        message.role,
        message.parts,
        message.model,
        message.state,
        message.created_at,
        message.continues,
        message.cleared_after,
    )


def _sent(sent: Sent) -> SentOut:
    return SentOut(sent.conversation_id, sent.turn_id, sent.question_id, sent.reply_id)


def _deletion(deletion: Deletion) -> DeletionOut:
    return DeletionOut(deletion.id, deletion.count, deletion.tip_id)


def _turn(turn: Turn) -> TurnOut:
    error = TurnErrorOut(turn.error.code, turn.error.message) if turn.error else None
    return TurnOut(
        turn.id,
        turn.conversation_id,
        turn.reply_id,
        turn.question_id,
        turn.state,
        turn.model,
        turn.usage,
        error,
        turn.attempts,
        turn.left_out,
        turn.last_seq,
        turn.created_at,
        turn.ended_at,
    )


def _given(value: Any) -> Any:
    return None if value is msgspec.UNSET else value


@post("/conversations", status_code=201)
async def create_conversation(request: ApiRequest, data: JSONBody[NewConversation | None] = None) -> ConversationOut:
    """Start an empty conversation. A title given here is never replaced."""
    return _conversation(await house_of(request).conversations.create(actor_of(request), data.title if data else None))


@get("/conversations")
async def list_conversations(
    request: ApiRequest,
    after: FromQuery[str | None] = None,
    archived: FromQuery[bool] = False,
    pinned: FromQuery[bool | None] = None,
) -> ConversationList:
    """One's conversations, the last changed first. after: `next` of the page before."""
    lines, following = await house_of(request).conversations.list(
        actor_of(request), after, LIST_LIMIT, archived=archived, pinned=pinned
    )
    return ConversationList([_line(line) for line in lines], following)


@get("/conversations/{conversation_id:str}")
async def get_conversation(request: ApiRequest, conversation_id: FromPath[str]) -> ConversationOut:
    return _conversation(await house_of(request).conversations.get(actor_of(request), conversation_id))


@patch("/conversations/{conversation_id:str}")
async def change_conversation(
    request: ApiRequest, conversation_id: FromPath[str], data: JSONBody[ConversationChange]
) -> ConversationOut:
    """Rename, switch the tip, pin or archive."""
    return _conversation(
        await house_of(request).conversations.update(
            actor_of(request),
            conversation_id,
            title=_given(data.title),
            tip=_given(data.tip),
            pinned=_given(data.pinned),
            archived=_given(data.archived),
        )
    )


@delete("/conversations/{conversation_id:str}", status_code=200)
async def delete_conversation(request: ApiRequest, conversation_id: FromPath[str]) -> DeletionOut:
    """Hide a conversation; POST /api/deletions/{deletion_id}/undo takes it back for 30 days."""
    return _deletion(await house_of(request).conversations.delete(actor_of(request), conversation_id))


@get("/conversations/{conversation_id:str}/messages")
async def list_messages(
    request: ApiRequest,
    conversation_id: FromPath[str],
    tip: FromQuery[str | None] = None,
    tree: FromQuery[bool] = False,
) -> MessageList:
    """The path down to a tip, root first; with tree=1 every message."""
    conversations = house_of(request).conversations
    actor = actor_of(request)
    if tree:
        return MessageList([_message(message) for message in await conversations.tree(actor, conversation_id)])
    return MessageList([_message(message) for message in await conversations.path(actor, conversation_id, tip)])


@post("/conversations/{conversation_id:str}/messages", status_code=202)
async def send_message(request: ApiRequest, conversation_id: FromPath[str], data: JSONBody[NewMessage]) -> SentOut:
    """Ask. parent_id: what to answer below; null starts another root; absent means the stored tip. A further field
    named after a plugin is handed to that plugin."""
    actor = actor_of(request)
    given = msgspec.json.decode(await request.body(), type=dict[str, msgspec.Raw])
    fields = {name: raw for name, raw in given.items() if name not in KNOWN_FIELDS}
    if data.attachments:
        raise BadInput("Attachments are not taken here yet. Send the text alone.", code="no_attachments", status=422)
    parent: str | ParentTip | None = AT_TIP if data.parent_id is msgspec.UNSET else data.parent_id
    return _sent(
        await house_of(request).sending.send(
            actor,
            conversation_id,
            parent,
            data.text,
            data.model or "",
            idempotency=await idempotency_of(request),
            fields=fields,
        )
    )


@post("/messages/{message_id:str}/edit", status_code=202)
async def edit_message(request: ApiRequest, message_id: FromPath[str], data: JSONBody[NewText]) -> SentOut:
    """A sibling with other text; of a question with a new reply, of a reply without one."""
    return _sent(
        await house_of(request).sending.edit(
            actor_of(request), message_id, data.text, data.model, idempotency=await idempotency_of(request)
        )
    )


@post("/messages/{message_id:str}/regenerate", status_code=202)
async def regenerate_message(
    request: ApiRequest, message_id: FromPath[str], data: JSONBody[ModelChoice | None] = None
) -> SentOut:
    """Another reply beside this one."""
    return _sent(
        await house_of(request).sending.regenerate(
            actor_of(request), message_id, data.model if data else "", idempotency=await idempotency_of(request)
        )
    )


@post("/messages/{message_id:str}/continue", status_code=202)
async def continue_message(request: ApiRequest, message_id: FromPath[str]) -> SentOut:
    """Go on where a reply ended, as its child."""
    return _sent(
        await house_of(request).sending.continue_reply(
            actor_of(request), message_id, idempotency=await idempotency_of(request)
        )
    )


@delete("/messages/{message_id:str}", status_code=200)
async def delete_message(request: ApiRequest, message_id: FromPath[str]) -> DeletionOut:
    """Hide a message and all below it."""
    return _deletion(await house_of(request).conversations.delete_message(actor_of(request), message_id))


@post("/deletions/{deletion_id:str}/undo", status_code=200)
async def undo_deletion(request: ApiRequest, deletion_id: FromPath[str]) -> DeletionOut:
    """Take a deletion back, whole."""
    return _deletion(await house_of(request).conversations.restore(actor_of(request), deletion_id))


@post("/conversations/{conversation_id:str}/clear-context", status_code=204)
async def clear_context(request: ApiRequest, conversation_id: FromPath[str], data: JSONBody[MarkerPlace]) -> None:
    """From this message on, on this branch, only what is below is sent to models."""
    await house_of(request).conversations.clear_context(actor_of(request), conversation_id, data.message_id)


@delete("/conversations/{conversation_id:str}/clear-context", status_code=204)
async def restore_context(request: ApiRequest, conversation_id: FromPath[str], message_id: FromQuery[str] = "") -> None:
    """Take a clear-context marker back. message_id: as a query parameter or in a JSON body."""
    wanted = message_id
    if not wanted and (body := await request.body()):
        try:
            wanted = msgspec.json.decode(body, type=MarkerPlace).message_id
        except msgspec.DecodeError as error:
            raise BadInput("Name the message: ?message_id=… or a JSON body with message_id.") from error
    await house_of(request).conversations.restore_context(actor_of(request), conversation_id, wanted)


@get("/turns/{turn_id:str}")
async def get_turn(request: ApiRequest, turn_id: FromPath[str]) -> TurnOut:
    return _turn(await house_of(request).readers.turn(actor_of(request), turn_id))


@post("/turns/{turn_id:str}/stop", status_code=202)
async def stop_turn(request: ApiRequest, turn_id: FromPath[str]) -> TurnOut:
    """Stop a turn, from anywhere; one that has ended stays as it is."""
    return _turn(await house_of(request).conversations.stop(actor_of(request), turn_id))


@get("/models", opt={"permission": "models.use"})
async def list_models(request: ApiRequest) -> ModelList:
    """The models one may use, demo models last."""
    models = house_of(request).models(actor_of(request))
    return ModelList([ModelOut(m.id, m.title, m.context_tokens, m.abilities, m.is_demo) for m in models])


@get("/search")
async def search(request: ApiRequest, q: FromQuery[str] = "") -> HitList:
    """Places in one's own messages and titles that hold every word, the newest first."""
    hits = await house_of(request).conversations.search(actor_of(request), q)
    return HitList([HitOut(hit.conversation_id, hit.message_id or None, hit.text, hit.title) for hit in hits])


@get("/account", opt={"permission": ""})
async def get_account(request: ApiRequest) -> AccountOut:
    actor = actor_of(request)
    account = actor.account
    return AccountOut(account.id, account.email, account.name, account.role, account.groups, actor.origin)


api = Router(
    "/api",
    route_handlers=[
        create_conversation,
        list_conversations,
        get_conversation,
        change_conversation,
        delete_conversation,
        list_messages,
        send_message,
        edit_message,
        regenerate_message,
        continue_message,
        delete_message,
        undo_deletion,
        clear_context,
        restore_context,
        get_turn,
        stop_turn,
        list_models,
        search,
        get_account,
    ],
)
