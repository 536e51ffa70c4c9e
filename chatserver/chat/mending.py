"""Put right what the doctor found, one thing at a time, and nothing that is right by now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import msgspec

from chatserver.chat.exports import parts_so_far
from chatserver.chat.left_calls import end_left_call
from chatserver.chat.recovery import interrupt_turn
from chatserver.clock import now_us
from chatserver.domain.calls import Usage
from chatserver.domain.events import CallEnded, TurnEnded
from chatserver.domain.tree import Edge, leaves_of
from chatserver.store import calls as call_rows
from chatserver.store import conversations as conversation_rows
from chatserver.store import integrity, outbox
from chatserver.store import messages as message_rows
from chatserver.store import turns as turn_rows
from chatserver.store.database import Tx

TOLD_US = 600_000_000
"""What ended longer ago is not looked for in the outbox, which may hold a week of it."""
MARGIN_US = 60_000_000
_usage = msgspec.json.Decoder(Usage).decode
_labels = msgspec.json.Decoder(dict[str, str]).decode


class _Turn(msgspec.Struct, frozen=True):
    turn_id: str


class _Call(msgspec.Struct, frozen=True):
    call_id: str


def turns_told(tx: Tx) -> Counter[str]:
    """How often the end of each turn was told, of late."""
    decode = msgspec.json.Decoder(_Turn).decode
    since = now_us() - TOLD_US - MARGIN_US
    return Counter(decode(one).turn_id for one in integrity.told_since(tx, "turn.ended", since))


def calls_told(tx: Tx) -> Counter[str]:
    decode = msgspec.json.Decoder(_Call).decode
    since = now_us() - TOLD_US - MARGIN_US
    return Counter(decode(one).call_id for one in integrity.told_since(tx, "call.ended", since))


def is_tip(tip_id: str | None, visible: Sequence[Edge]) -> bool:
    """Whether a conversation with these messages can open at this one; without messages, at none."""
    return any(edge.id == tip_id for edge in visible) if visible else tip_id is None


def _tip(tx: Tx, conversation_id: str) -> bool:
    conversation_rows.lock_conversation(tx, conversation_id)
    shape, visible = integrity.shape_of(tx, conversation_id), message_rows.edges_of(tx, conversation_id)
    if shape is not None and not is_tip(shape.tip_id, visible):
        integrity.set_tip(tx, conversation_id, max(leaves_of(visible), default=None))
    return True


def _branches(tx: Tx, conversation_id: str) -> bool:
    conversation_rows.lock_conversation(tx, conversation_id)
    leaves = leaves_of(message_rows.edges_of(tx, conversation_id))
    conversation_rows.set_branches(tx, conversation_id, len(leaves))
    return True


def _reply(tx: Tx, message_id: str) -> bool:
    """Sealed as its turn ended, with what is stored of it; nothing of that is lost."""
    conversation_id = _conversation(tx, message_id)
    turn = turn_rows.turn_by_reply(tx, conversation_id, message_id)
    if turn is None or turn.state != "running":
        parts = parts_so_far(tx, conversation_id, message_id)
        message_rows.seal_message(tx, message_id, turn.state if turn is not None else "interrupted", parts)
    return True


def _state(tx: Tx, message_id: str) -> bool:
    """The end of the turn is the truth. Of one that still runs only its holder knows."""
    turn = turn_rows.turn_by_reply(tx, _conversation(tx, message_id), message_id)
    if turn is None or turn.state == "running":
        return False
    integrity.set_state_of_turn(tx, message_id)
    return True


def _parent(tx: Tx, message_id: str) -> bool:
    _to_the_top(tx, {suspect.id for suspect in integrity.foreign_parents(tx)} & {message_id})
    return True


def _circle(tx: Tx, message_id: str) -> bool:
    above, trail = integrity.parent_of(tx, message_id), {message_id}
    while above is not None and above not in trail:
        trail.add(above)
        above = integrity.parent_of(tx, above)
    _to_the_top(tx, {message_id} if above == message_id else ())
    return True


def _to_the_top(tx: Tx, message_ids: Iterable[str]) -> None:
    """It begins a branch of its own, with all below it."""
    for message_id in message_ids:
        conversation_id = _conversation(tx, message_id)
        integrity.set_at_top(tx, message_id)
        _tip(tx, conversation_id)
        _branches(tx, conversation_id)


def _turn(tx: Tx, turn_id: str) -> bool:
    for turn in turn_rows.running_turns(tx, [turn_id]):
        if turn.lease_until < now_us():
            return interrupt_turn(tx, turn, now_us())
    return True


def _left_call(tx: Tx, call_id: str) -> bool:
    if (left := call_rows.running_call(tx, call_id)) is not None:
        end_left_call(tx, left, "failed")
    return True


def _turn_event(tx: Tx, turn_id: str) -> bool:
    turn = integrity.ended_turn(tx, turn_id)
    if turn is not None and turn_id not in turns_told(tx):
        ended = TurnEnded(
            turn.id,
            turn.conversation_id,
            turn.account_id,
            turn.question_id,
            turn.reply_id,
            turn.state,
            _usage(turn.usage),
            _labels(turn.labels),
        )
        outbox.append(tx, ended)
    return True


def _call_event(tx: Tx, call_id: str) -> bool:
    call = integrity.ended_call(tx, call_id)
    if call is not None and call_id not in calls_told(tx):
        ended = CallEnded(
            call.id,
            call.account_id,
            call.kind,
            call.origin,
            call.model,
            call.channel,
            call.state,
            _usage(call.usage),
            call.turn_id,
            _labels(call.labels),
        )
        outbox.append(tx, ended)
    return True


def _parked(tx: Tx, _: str) -> bool:
    outbox.release_parked(tx, now=now_us())
    return True


def _share(tx: Tx, message_id: str) -> bool:
    integrity.remove_foreign_in_shares(tx, message_id)
    return True


def _conversation(tx: Tx, message_id: str) -> str:
    return integrity.conversation_of(tx, message_id) or ""


MENDS: dict[str, Callable[[Tx, str], bool]] = {
    "missing_tip": _tip,
    "branches_miscounted": _branches,
    "running_without_turn": _reply,
    "state_differs": _state,
    "foreign_parent": _parent,
    "cycle": _circle,
    "turn_left": _turn,
    "call_left_running": _left_call,
    "turn_untold": _turn_event,
    "call_untold": _call_event,
    "events_parked": _parked,
    "foreign_in_share": _share,
}
"""By the kind of finding; the answer says whether it is right now. What is not here only a person can judge."""
