"""Turns over the API: their state, and stopping one. Their events go round Litestar, see web/turns.py."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import get, post
from litestar.params import FromPath

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


@get("/turns/{turn_id:str}")
async def get_turn(request: ApiRequest, turn_id: FromPath[str]) -> TurnOut:
    return _turn(await house_of(request).readers.turn(actor_of(request), turn_id))


@post("/turns/{turn_id:str}/stop", status_code=202)
async def stop_turn(request: ApiRequest, turn_id: FromPath[str]) -> TurnOut:
    """Stop a turn, from anywhere; one that has ended stays as it is."""
    return _turn(await house_of(request).conversations.stop(actor_of(request), turn_id))


route_handlers = (
    get_turn,
    stop_turn,
)
