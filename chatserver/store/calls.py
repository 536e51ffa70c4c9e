"""Calls as rows: one for each metered request to a model, inserted before it starts, ended once."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from chatserver.domain.access import Origin
from chatserver.domain.calls import Attempt, Call, CallKind, Usage
from chatserver.domain.events import CallEnded
from chatserver.store import outbox
from chatserver.store.database import Tx

_decode_usage = msgspec.json.Decoder(Usage).decode
_encode = msgspec.json.Encoder().encode


class ModelFactor(msgspec.Struct, frozen=True):
    """How far our token estimates are off for a model, in millionths, from `samples` measured calls."""

    model: str
    factor_ppm: int
    samples: int


def insert_call(tx: Tx, call: Call) -> None:
    tx.queue(
        "INSERT INTO calls (id, turn_id, account_id, kind, origin, model, channel, state, started_at, first_token_at,"
        " ended_at, usage, attempts, labels, node) VALUES (:id, :turn, :account, :kind, :origin, :model, :channel,"
        " :state, :started, NULL, NULL, '{}', '[]', :labels, :node)",
        id=call.id,
        turn=call.turn_id,
        account=call.account_id,
        kind=call.kind,
        origin=call.origin,
        model=call.model,
        channel=call.channel,
        state=call.state,
        started=call.started_at,
        labels=_encode(call.labels).decode() if call.labels else "{}",
        node=call.node,
    )


def end_call(
    tx: Tx, ended: CallEnded, now: int, *, attempts: Sequence[Attempt] = (), first_token_at: int | None = None
) -> bool:
    """End a running call, once, and tell the outbox."""
    is_ended = bool(
        tx.run(
            "UPDATE calls SET state = :state, channel = :channel, usage = :usage, attempts = :attempts,"
            " first_token_at = :first, ended_at = :now WHERE id = :id AND state = 'running'",
            state=ended.state,
            channel=ended.channel,
            usage=_encode(ended.usage).decode(),
            attempts=_encode(tuple(attempts)).decode(),
            first=first_token_at,
            now=now,
            id=ended.call_id,
        )
    )
    if is_ended:
        outbox.append(tx, ended)
    return is_ended


def running_call_of(tx: Tx, turn_id: str) -> str | None:
    """The id of a turn's call that has not ended."""
    return tx.one(str, "SELECT id FROM calls WHERE turn_id = :turn AND state = 'running' LIMIT 1", turn=turn_id)


def usage_of_ended(tx: Tx, turn_id: str) -> Usage:
    """What the calls of a turn used that have ended."""
    texts = tx.all(str, "SELECT usage FROM calls WHERE turn_id = :turn AND state <> 'running'", turn=turn_id)
    return sum((_decode_usage(text) for text in texts), Usage())


def labels_of(tx: Tx, call_id: str) -> dict[str, str]:
    text = tx.one(str, "SELECT labels FROM calls WHERE id = :id", id=call_id)
    return msgspec.json.decode(text, type=dict[str, str]) if text else {}


_LEFT = "SELECT id, account_id, kind, origin, model, turn_id, labels FROM calls WHERE state = 'running'"


class LeftCall(msgspec.Struct, frozen=True):
    id: str
    account_id: str
    kind: CallKind
    origin: Origin
    model: str
    turn_id: str | None
    labels: str


def running_call(tx: Tx, call_id: str) -> LeftCall | None:
    """One that has not ended, whoever makes it."""
    return tx.one(LeftCall, f"{_LEFT} AND id = :id", id=call_id)


def running_calls_without_turn(tx: Tx) -> list[LeftCall]:
    """Calls of no turn (titles, probes, those of programs) that have not ended, whoever makes them."""
    return tx.all(LeftCall, f"{_LEFT} AND turn_id IS NULL")


def left_calls(tx: Tx, living: Sequence[str], *, begun_before: int, unknown_before: int) -> list[LeftCall]:
    """Of these, those that began before a time on a node that is not among the living, or before a time long ago on
    one that says no name."""
    names = {f"node_{number}": node for number, node in enumerate(living)}
    among = ", ".join(f":{name}" for name in names) or "''"
    return tx.all(
        LeftCall,
        f"{_LEFT} AND turn_id IS NULL AND started_at < :begun_before AND ((node = '' AND started_at < :unknown_before)"
        f" OR (node <> '' AND node NOT IN ({among})))",
        begun_before=begun_before,
        unknown_before=unknown_before,
        **names,
    )


class NodeSeen(msgspec.Struct, frozen=True):
    """A node, and the mark it left when it last said that it lives."""

    id: str
    seen_at: int


def nodes_seen(tx: Tx) -> list[NodeSeen]:
    return tx.all(NodeSeen, "SELECT id, seen_at FROM nodes")


def saw_node(tx: Tx, node_id: str, now: int) -> None:
    """A node lives, and leaves a new mark, also where its clock was set back."""
    tx.run(
        "INSERT INTO nodes (id, seen_at) VALUES (:id, :now) ON CONFLICT (id) DO UPDATE SET seen_at ="
        " CASE WHEN nodes.seen_at < excluded.seen_at THEN excluded.seen_at ELSE nodes.seen_at + 1 END",
        id=node_id,
        now=now,
    )


def forget_nodes(tx: Tx, dead: Sequence[NodeSeen]) -> None:
    """Unless they have said meanwhile that they live."""
    for node in dead:
        tx.run("DELETE FROM nodes WHERE id = :id AND seen_at = :seen", id=node.id, seen=node.seen_at)


def model_factors(tx: Tx) -> list[ModelFactor]:
    return tx.all(ModelFactor, "SELECT model, factor_ppm, samples FROM model_factors")


def save_model_factor(tx: Tx, factor: ModelFactor) -> None:
    tx.run(
        "INSERT INTO model_factors (model, factor_ppm, samples) VALUES (:model, :ppm, :samples)"
        " ON CONFLICT (model) DO UPDATE SET factor_ppm = excluded.factor_ppm, samples = excluded.samples",
        model=factor.model,
        ppm=factor.factor_ppm,
        samples=factor.samples,
    )
