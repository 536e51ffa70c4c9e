"""How a turn ends: one transaction, guarded, that seals the reply and tells the outbox."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from chatserver.domain.calls import Attempt, CallState, Usage, estimate_tokens
from chatserver.domain.events import CallEnded, TurnEnded
from chatserver.domain.messages import CitationPart, Parts, ReasoningPart, reasoning_of, text_of
from chatserver.domain.prompts import PromptRecord, Texts
from chatserver.domain.sources import with_citations
from chatserver.domain.turns import Delta, EndDelta, Turn, TurnError, TurnState, assemble_parts
from chatserver.store import calls as call_rows
from chatserver.store import conversations as conversation_rows
from chatserver.store import jobs, outbox, search
from chatserver.store import messages as message_rows
from chatserver.store import prompts as prompt_rows
from chatserver.store import turns as turn_rows
from chatserver.store.calls import ModelFactor
from chatserver.store.database import Tx


class CallOutcome(msgspec.Struct, frozen=True):
    """How one call of a turn went. factor: what was learned of the model's counting, if anything was."""

    call_id: str
    labels: dict[str, str]
    usage: Usage
    attempts: tuple[Attempt, ...] = ()
    channel: str = ""
    first_token_at: int | None = None
    factor: ModelFactor | None = None


class Ending(msgspec.Struct, frozen=True):
    """All that is known when a turn ends. deltas: every delta of the turn, the stored ones too. call: the one that ran,
    None when none did. usage, attempts: of all its calls. reasoning_ms: from the first thought to the first word.
    prompt: what was sent, if anything was. citations: what the reply was given to cite."""

    turn: Turn
    call: CallOutcome | None
    state: TurnState
    deltas: tuple[Delta, ...]
    usage: Usage
    error: TurnError | None = None
    attempts: tuple[Attempt, ...] = ()
    first_token_at: int | None = None
    left_out: int = 0
    wants_title: bool = False
    reasoning_ms: int = 0
    prompt: tuple[PromptRecord, Texts] | None = None
    citations: tuple[CitationPart, ...] = ()


def estimated_usage(input_tokens: int, parts: Parts, factor: float = 1.0) -> Usage:
    """What a call probably used, when the upstream did not say."""
    return Usage(
        input=int(input_tokens * factor),
        output=estimate_tokens(text_of(parts), factor),
        reasoning=estimate_tokens(reasoning_of(parts), factor),
        calls=1,
        estimated=True,
    )


def with_duration(parts: Parts, reasoning_ms: int) -> Parts:
    """Parts whose first reasoning tells how long it took."""
    for index, part in enumerate(parts):
        if isinstance(part, ReasoningPart) and reasoning_ms:
            return (*parts[:index], ReasoningPart(part.text, reasoning_ms), *parts[index + 1 :])
    return parts


def write_ending(tx: Tx, ending: Ending, now: int) -> bool:
    """End a turn this node ran; False when somebody else ended it first, and then nothing is written."""
    conversation_rows.lock_conversation(tx, ending.turn.conversation_id)
    end = EndDelta(ending.state, ending.usage, ending.error)
    parts = with_duration(assemble_parts(ending.deltas), ending.reasoning_ms)
    while (at := turn_rows.standing(tx, ending.turn)) is not None:
        # a batch of this turn's may be stored between the look and the end: then look again
        deltas = [*ending.deltas[at.last_seq :], end]
        is_visible = bool(at.is_visible)
        if _end(tx, ending, parts, at.last_seq + 1, deltas, now, held_at=at.last_seq, is_visible=is_visible):
            return True
    return False


def write_foreign_ending(
    tx: Tx, ending: Ending, parts: Parts, first_seq: int, deltas: Sequence[Delta], now: int
) -> bool:
    """End a turn somebody else ran and left: from what was stored, with a reset for readers who saw more."""
    return _end(tx, ending, parts, first_seq, deltas, now)


def _end(
    tx: Tx,
    ending: Ending,
    parts: Parts,
    first_seq: int,
    deltas: Sequence[Delta],
    now: int,
    *,
    held_at: int | None = None,
    is_visible: bool | None = None,
) -> bool:
    """is_visible: None where it is yet to be looked up."""
    turn = ending.turn
    if not turn_rows.end_turn(
        tx,
        turn,
        state=ending.state,
        usage=ending.usage,
        error=ending.error,
        attempts=ending.attempts,
        first_token_at=ending.first_token_at,
        left_out=ending.left_out,
        first_seq=first_seq,
        deltas=deltas,
        now=now,
        held_at=held_at,
    ):
        return False
    if ending.prompt is not None:
        prompt_rows.keep_prompt(tx, turn, *ending.prompt)
    message_rows.seal_message(tx, turn.reply_id, ending.state, with_citations(parts, ending.citations))
    text = text_of(parts)
    if text and is_visible is None:
        is_visible = message_rows.is_visible(tx, turn.conversation_id, turn.reply_id)
    if text and is_visible:
        search.index_new_message(
            tx,
            owner_id=turn.account_id,
            conversation_id=turn.conversation_id,
            message_id=turn.reply_id,
            text=text,
        )
    conversation_rows.touch_conversation(tx, turn.conversation_id, turn.account_id, now=now)
    if ending.call is not None:
        write_call_end(tx, turn, ending.call, ending.state, now)
    outbox.append(
        tx,
        TurnEnded(
            turn.id,
            turn.conversation_id,
            turn.account_id,
            turn.question_id,
            turn.reply_id,
            ending.state,
            ending.usage,
            turn.labels,
        ),
    )
    if ending.wants_title and ending.state == "done":
        payload = {
            "conversation_id": turn.conversation_id,
            "account_id": turn.account_id,
            "model": turn.model,
            "reply_id": turn.reply_id,
        }
        jobs.enqueue(tx, "title", payload, now, job_id=f"title-{turn.conversation_id}")
    return True


def write_call_end(tx: Tx, turn: Turn, call: CallOutcome, state: CallState, now: int) -> None:
    """Meter one call of a turn, once, and tell the outbox."""
    ended = CallEnded(
        call.call_id,
        turn.account_id,
        "chat",
        turn.origin,
        turn.model,
        call.channel,
        state,
        call.usage,
        turn.id,
        call.labels,
    )
    call_rows.end_call(tx, ended, now, attempts=call.attempts, first_token_at=call.first_token_at)
    if call.factor is not None:
        call_rows.save_model_factor(tx, call.factor)
