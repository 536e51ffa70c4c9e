"""Turns over the API: their state, and stopping one. Their events go round Litestar, see web/turns.py."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import get, post
from litestar.params import FromPath, JSONBody

from chatserver.domain.extend import ToolSpec
from chatserver.domain.messages import Part
from chatserver.domain.prompts import Source
from chatserver.domain.turns import Turn
from chatserver.web.api.request import ApiRequest, actor_of, house_of


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


class SentMessageOut(msgspec.Struct):
    """source: `branch` for a message of the chat; `added` for one that is not in it, as a system prompt; `hidden` for
    one whose author shows it to nobody, of which parts are empty and tokens a guess."""

    role: str
    parts: tuple[Part, ...]
    source: Source
    tokens: int


class PromptOut(msgspec.Struct):
    """messages: as they were sent, first to last. max_output 0: no bound. left_out: how many of the oldest did not fit.
    is_cleared: the context was cleared above the first. is_exact false: made by another version, shown as well as this
    one can. unseen: the files of pictures that only their names were sent of. attempts: on which channels, and how they
    went."""

    turn_id: str
    model: str
    messages: list[SentMessageOut]
    tools: tuple[ToolSpec, ...]
    parameters: dict[str, Any]
    max_output: int
    left_out: int
    is_cleared: bool
    is_exact: bool
    unseen: tuple[str, ...]
    attempts: Any


@get("/turns/{turn_id:str}/prompt")
async def get_prompt(request: ApiRequest, turn_id: FromPath[str]) -> PromptOut:
    """What was sent upstream for a turn of one's own, as far as its authors show it."""
    sent = await house_of(request).sent_prompts.read(actor_of(request), turn_id)
    return PromptOut(
        sent.turn.id,
        sent.turn.model,
        [SentMessageOut(one.message.role, one.message.parts, one.source, one.tokens) for one in sent.messages],
        sent.tools,
        sent.parameters,
        sent.max_output,
        sent.turn.left_out,
        sent.is_cleared,
        sent.is_exact,
        sent.unseen,
        sent.turn.attempts,
    )


@get("/turns/{turn_id:str}")
async def get_turn(request: ApiRequest, turn_id: FromPath[str]) -> TurnOut:
    return _turn(await house_of(request).readers.turn(actor_of(request), turn_id))


@post("/turns/{turn_id:str}/stop", status_code=202)
async def stop_turn(request: ApiRequest, turn_id: FromPath[str]) -> TurnOut:
    """Stop a turn, from anywhere; one that has ended stays as it is."""
    return _turn(await house_of(request).conversations.stop(actor_of(request), turn_id))


class ToolAnswerIn(msgspec.Struct):
    """answer: once, always (this tool in this chat), or declined."""

    answer: str


class ToolAnswerOut(msgspec.Struct):
    """What counts: what was said first. `expired` when nobody had said anything in time."""

    answer: str


@post("/turns/{turn_id:str}/tools/{call_id:str}", status_code=200)
async def answer_tool(
    request: ApiRequest, turn_id: FromPath[str], call_id: FromPath[str], data: JSONBody[ToolAnswerIn]
) -> ToolAnswerOut:
    """Answer a tool that asks before it acts: its `tool_call` event says `asks`. 409 when nothing waits any more."""
    house = house_of(request)
    counts = await house.consents.answer(actor_of(request), house.readers, turn_id, call_id, data.answer)
    request.app.state.painters.answered(turn_id, call_id)
    return ToolAnswerOut(counts)


route_handlers = (
    get_turn,
    get_prompt,
    stop_turn,
    answer_tool,
)
