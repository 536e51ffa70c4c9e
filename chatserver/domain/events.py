"""Committed facts in the outbox: a Struct each, tagged by a dotted name."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from chatserver.domain.access import Origin
from chatserver.domain.calls import CallKind, CallState, Usage
from chatserver.domain.feedback import Verdict
from chatserver.domain.turns import TurnState


class AccountCreated(msgspec.Struct, frozen=True, tag="account.created", tag_field="name"):
    account_id: str


class AccountErased(msgspec.Struct, frozen=True, tag="account.erased", tag_field="name"):
    """An account was deleted and nothing of it is left in the core: whoever keeps something of it, forgets it now."""

    account_id: str


class CallEnded(msgspec.Struct, frozen=True, tag="call.ended", tag_field="name"):
    """Every admitted call ends in exactly one of these, also when a later refusal kept it from starting."""

    call_id: str
    account_id: str
    kind: CallKind
    origin: Origin
    model: str
    channel: str
    state: CallState
    usage: Usage
    turn_id: str | None = None
    labels: dict[str, str] = {}


class TurnEnded(msgspec.Struct, frozen=True, tag="turn.ended", tag_field="name"):
    turn_id: str
    conversation_id: str
    account_id: str
    question_id: str | None
    reply_id: str
    state: TurnState
    usage: Usage
    labels: dict[str, str] = {}


class FeedbackGiven(msgspec.Struct, frozen=True, tag="feedback.given", tag_field="name"):
    """Somebody judged a reply, thought better of it, or took it back (value ''). before: the verdict until now. What
    they wrote stays with the chat. turn_id: None for a reply that no model wrote here; labels: of its turn."""

    account_id: str
    conversation_id: str
    message_id: str
    value: Verdict | Literal[""]
    before: Verdict | Literal[""]
    tags: tuple[str, ...] = ()
    model: str = ""
    turn_id: str | None = None
    labels: dict[str, str] = {}


Event = AccountCreated | AccountErased | CallEnded | TurnEnded | FeedbackGiven

encode_event = msgspec.json.Encoder().encode
decode_event = msgspec.json.Decoder(Event).decode


def name_of_event(event: Event | type[Event]) -> str:
    """`turn.ended`, as it is stored and told."""
    return str(event.__struct_config__.tag)


EVENT_NAMES = tuple(name_of_event(one) for one in get_args(Event))


class Delivery(msgspec.Struct, frozen=True):
    """An event on its way to a plugin, at least once; `seq` is the idempotency key."""

    seq: int
    event: Event
    created_at: int
