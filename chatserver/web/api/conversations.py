"""Conversations over the API: make, list, change, delete."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from litestar import delete, get, patch, post
from litestar.params import FromPath, FromQuery, JSONBody

from chatserver.chat.tunings import TuningChange
from chatserver.domain.conversations import Conversation, ConversationLine, Deletion
from chatserver.domain.filing import ListFilter
from chatserver.web.api.request import ApiRequest, actor_of, house_of

LIST_LIMIT = 50


class ParametersChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Only what is given changes; null leaves a parameter to the model again. What a model does not know is not sent to
    it. reasoning_effort: low, medium or high."""

    temperature: float | msgspec.UnsetType | None = msgspec.UNSET
    max_output: int | msgspec.UnsetType | None = msgspec.UNSET
    reasoning_effort: str | msgspec.UnsetType | None = msgspec.UNSET


class NewConversation(msgspec.Struct):
    """temporary: in no list and no search, erased a day after its last message unless it is kept."""

    title: str | None = None
    temporary: bool = False
    system_prompt: str = ""
    parameters: ParametersChange = ParametersChange()


class ConversationChange(msgspec.Struct, forbid_unknown_fields=True):
    """Only what is given changes. temporary: false keeps a temporary one; there is no way back."""

    title: str | msgspec.UnsetType = msgspec.UNSET
    tip: str | msgspec.UnsetType = msgspec.UNSET
    pinned: bool | msgspec.UnsetType = msgspec.UNSET
    archived: bool | msgspec.UnsetType = msgspec.UNSET
    temporary: Literal[False] | msgspec.UnsetType = msgspec.UNSET
    system_prompt: str | msgspec.UnsetType = msgspec.UNSET
    parameters: ParametersChange | msgspec.UnsetType = msgspec.UNSET
    folder_id: str | msgspec.UnsetType | None = msgspec.UNSET
    tags: list[str] | msgspec.UnsetType = msgspec.UNSET


class ParametersOut(msgspec.Struct):
    """null: left to the model."""

    temperature: float | None
    max_output: int | None
    reasoning_effort: str | None


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
    temporary: bool
    system_prompt: str
    parameters: ParametersOut
    folder_id: str | None
    tags: tuple[str, ...]


class ConversationLineOut(msgspec.Struct):
    id: str
    title: str
    tip: str | None
    pinned: bool
    archived: bool
    running: bool
    branches: int
    updated_at: int
    folder_id: str | None
    tags: tuple[str, ...]


class ConversationList(msgspec.Struct):
    conversations: list[ConversationLineOut]
    next: str | None


class DeletionOut(msgspec.Struct):
    """deleted: how many messages went out of sight. deletion_id takes them back for 30 days."""

    deletion_id: str
    deleted: int
    tip: str | None


def conversation_out(found: Conversation) -> ConversationOut:
    given = found.tuning.parameters
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
        found.temporary,
        found.tuning.system_prompt,
        ParametersOut(given.temperature, given.max_output or None, given.reasoning_effort or None),
        found.folder_id or None,
        found.tags,
    )


def _line(line: ConversationLine) -> ConversationLineOut:
    return ConversationLineOut(
        line.id,
        line.title,
        line.tip_id,
        line.pinned,
        line.archived,
        line.is_running,
        line.branches,
        line.updated_at,
        line.folder_id or None,
        line.tags,
    )


def deletion_out(deletion: Deletion) -> DeletionOut:
    return DeletionOut(deletion.id, deletion.count, deletion.tip_id)


def _tuning(system_prompt: str | msgspec.UnsetType, parameters: ParametersChange | msgspec.UnsetType) -> TuningChange:
    given = ParametersChange() if parameters is msgspec.UNSET else parameters
    return TuningChange(system_prompt, given.temperature, given.max_output, given.reasoning_effort)


def _given(value: Any) -> Any:
    return None if value is msgspec.UNSET else value


@post("/conversations", status_code=201)
async def create_conversation(request: ApiRequest, data: JSONBody[NewConversation | None] = None) -> ConversationOut:
    """Start an empty conversation. A title given here is never replaced."""
    wanted = data or NewConversation()
    return conversation_out(
        await house_of(request).conversations.create(
            actor_of(request),
            wanted.title,
            temporary=wanted.temporary,
            tuning=_tuning(wanted.system_prompt, wanted.parameters),
        )
    )


@get("/conversations")
async def list_conversations(
    request: ApiRequest,
    after: FromQuery[str | None] = None,
    archived: FromQuery[bool] = False,
    pinned: FromQuery[bool | None] = None,
    folder: FromQuery[str | None] = None,
    tag: FromQuery[str] = "",
) -> ConversationList:
    """One's conversations, the last changed first. after: `next` of the page before. folder: a folder's id, empty for
    those in none."""
    wanted = ListFilter(archived, pinned, folder, tag)
    lines, following = await house_of(request).conversations.list(actor_of(request), after, LIST_LIMIT, wanted)
    return ConversationList([_line(line) for line in lines], following)


@get("/conversations/{conversation_id:str}")
async def get_conversation(request: ApiRequest, conversation_id: FromPath[str]) -> ConversationOut:
    return conversation_out(await house_of(request).conversations.get(actor_of(request), conversation_id))


@patch("/conversations/{conversation_id:str}")
async def change_conversation(
    request: ApiRequest, conversation_id: FromPath[str], data: JSONBody[ConversationChange]
) -> ConversationOut:
    """Rename, switch the tip, pin or archive; put into a folder, null takes it out; tag; keep a temporary one; set its
    system prompt and parameters."""
    if data.temporary is False:
        await house_of(request).temporaries.keep(actor_of(request), conversation_id)
    if data.folder_id is not msgspec.UNSET or data.tags is not msgspec.UNSET:
        await house_of(request).filing.file(
            actor_of(request),
            conversation_id,
            folder_id=None if data.folder_id is msgspec.UNSET else data.folder_id or "",
            tags=_given(data.tags),
        )
    return conversation_out(
        await house_of(request).conversations.update(
            actor_of(request),
            conversation_id,
            title=_given(data.title),
            tip=_given(data.tip),
            pinned=_given(data.pinned),
            archived=_given(data.archived),
            tuning=_tuning(data.system_prompt, data.parameters),
        )
    )


@delete("/conversations/{conversation_id:str}", status_code=200)
async def delete_conversation(request: ApiRequest, conversation_id: FromPath[str]) -> DeletionOut:
    """Hide a conversation; POST /api/deletions/{deletion_id}/undo takes it back for 30 days."""
    return deletion_out(await house_of(request).conversations.delete(actor_of(request), conversation_id))


@post("/conversations/{conversation_id:str}/end", status_code=204)
async def end_conversation(request: ApiRequest, conversation_id: FromPath[str]) -> None:
    """Erase a temporary conversation at once; nothing takes it back."""
    await house_of(request).temporaries.end(actor_of(request), conversation_id)


route_handlers = (
    create_conversation,
    list_conversations,
    get_conversation,
    change_conversation,
    delete_conversation,
    end_conversation,
)
