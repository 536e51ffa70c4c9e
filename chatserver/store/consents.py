"""What people said to tools that asked first: one row a call that asked, written when it asks, answered once."""

from __future__ import annotations

from typing import Literal

import msgspec

from chatserver.domain.tools import ConsentAnswer
from chatserver.domain.turns import Turn
from chatserver.store.database import Tx


class Consent(msgspec.Struct, frozen=True):
    """answer '': nobody said anything yet."""

    call_id: str
    tool: str
    answer: ConsentAnswer | Literal[""]


def ask(tx: Tx, turn: Turn, call_id: str, tool: str, now: int) -> None:
    tx.run(
        "INSERT INTO tool_consents (turn_id, call_id, conversation_id, tool, answer, asked_at, answered_at)"
        " VALUES (:turn, :call, :conversation, :tool, '', :now, NULL) ON CONFLICT (turn_id, call_id) DO NOTHING",
        turn=turn.id,
        call=call_id,
        conversation=turn.conversation_id,
        tool=tool,
        now=now,
    )


def answer(tx: Tx, turn: Turn, call_id: str, said: ConsentAnswer, now: int) -> bool:
    """Write down what was said; False when something was said before, or nothing was asked. The first word counts."""
    return bool(
        tx.run(
            "UPDATE tool_consents SET answer = :said, answered_at = :now"
            " WHERE turn_id = :turn AND call_id = :call AND answer = ''",
            said=said,
            now=now,
            turn=turn.id,
            call=call_id,
        )
    )


def consent_of(tx: Tx, turn: Turn, call_id: str) -> Consent | None:
    """turn: one that the caller has found to be the actor's, or runs."""
    return tx.one(
        Consent,
        "SELECT call_id, tool, answer FROM tool_consents WHERE turn_id = :turn AND call_id = :call",
        turn=turn.id,
        call=call_id,
    )


def always_allowed(tx: Tx, turn: Turn, *, is_tainted: bool) -> set[str]:
    """The tools that need not ask in this turn's conversation any more; is_tainted: said in turns with sources."""
    return set(
        tx.all(
            str,
            "SELECT DISTINCT c.tool FROM tool_consents c JOIN turns t ON t.id = c.turn_id"
            " LEFT JOIN message_sources s ON s.message_id = t.reply_id"
            " WHERE c.conversation_id = :conversation AND c.answer = 'always'"
            " AND (:tainted = 0 OR s.message_id IS NOT NULL)",
            conversation=turn.conversation_id,
            tainted=int(is_tainted),
        )
    )


def forget_reply(tx: Tx, conversation_id: str, reply_id: str) -> None:
    """A reply is erased, and what was said for it."""
    tx.run(
        "DELETE FROM tool_consents WHERE conversation_id = :conversation"
        " AND turn_id IN (SELECT id FROM turns WHERE reply_id = :reply)",
        conversation=conversation_id,
        reply=reply_id,
    )


def forget_conversation(tx: Tx, conversation_id: str) -> None:
    tx.run("DELETE FROM tool_consents WHERE conversation_id = :id", id=conversation_id)
