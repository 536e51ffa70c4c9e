"""Messages over the API: the path and the tree, and all that makes a reply or takes one away."""

from __future__ import annotations

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath, FromQuery, JSONBody

from chatserver.chat.sending import AT_TIP, ParentTip
from chatserver.domain.conversations import Sent
from chatserver.domain.messages import Message, Part
from chatserver.errors import BadInput
from chatserver.web.api.conversations import DeletionOut, deletion_out
from chatserver.web.api.request import ApiRequest, actor_of, house_of, idempotency_of


class NewMessage(msgspec.Struct):
    text: str
    parent_id: str | msgspec.UnsetType | None = msgspec.UNSET
    model: str | None = None
    models: list[str] = []
    attachments: list[str] = []


KNOWN_FIELDS = frozenset(NewMessage.__struct_fields__)


class NewText(msgspec.Struct, forbid_unknown_fields=True):
    text: str
    model: str = ""


class ModelChoice(msgspec.Struct, forbid_unknown_fields=True):
    model: str = ""


class MarkerPlace(msgspec.Struct, forbid_unknown_fields=True):
    message_id: str


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


class AskedOut(msgspec.Struct):
    """One of several models that were asked: where its answer comes."""

    reply_id: str
    turn_id: str
    model: str


class SentOut(msgspec.Struct):
    """replies: one for each of the `models` that were named, in their order; the first one's ids are `turn_id` and
    `reply_id`."""

    conversation_id: str
    turn_id: str | None
    question_id: str | None
    reply_id: str
    replies: list[AskedOut] | msgspec.UnsetType = msgspec.UNSET


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


def _sent(sent: Sent, *, several: bool = False) -> SentOut:
    replies = [AskedOut(one.reply_id, one.turn_id, one.model) for one in sent.replies] if several else msgspec.UNSET
    return SentOut(sent.conversation_id, sent.turn_id, sent.question_id, sent.reply_id, replies)


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
    """Ask. parent_id: what to answer below; null starts another root; absent means the stored tip. models: up to four
    to ask at once instead of `model`; their replies are siblings. attachments: ids of files, with which the text may be
    empty. A further field named after a plugin is handed to that plugin."""
    actor = actor_of(request)
    given = msgspec.json.decode(await request.body(), type=dict[str, msgspec.Raw])
    fields = {name: raw for name, raw in given.items() if name not in KNOWN_FIELDS}
    if data.model and data.models:
        raise BadInput("Name either `model` or `models`.", code="model_and_models", status=422)
    parent: str | ParentTip | None = AT_TIP if data.parent_id is msgspec.UNSET else data.parent_id
    return _sent(
        await house_of(request).sending.send(
            actor,
            conversation_id,
            parent,
            data.text,
            data.model or "",
            models=data.models,
            attachments=data.attachments,
            idempotency=await idempotency_of(request),
            fields=fields,
        ),
        several=bool(data.models),
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
    return deletion_out(await house_of(request).conversations.delete_message(actor_of(request), message_id))


@post("/deletions/{deletion_id:str}/undo", status_code=200)
async def undo_deletion(request: ApiRequest, deletion_id: FromPath[str]) -> DeletionOut:
    """Take a deletion back, whole."""
    return deletion_out(await house_of(request).conversations.restore(actor_of(request), deletion_id))


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


route_handlers = (
    list_messages,
    send_message,
    edit_message,
    regenerate_message,
    continue_message,
    delete_message,
    undo_deletion,
    clear_context,
    restore_context,
)
