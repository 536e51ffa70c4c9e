"""Questions about what must always be true: asked by the doctor over the whole database, never on a request's way."""

from __future__ import annotations

import msgspec

from chatserver.domain.access import Origin
from chatserver.domain.calls import CallKind, CallState
from chatserver.domain.turns import FOREIGN_END_OFFSET, TurnState
from chatserver.store.database import Tx


class Suspect(msgspec.Struct, frozen=True):
    """A row that breaks a rule, and the conversation it belongs to."""

    id: str
    conversation_id: str


def conversation_ids(tx: Tx, after: str, limit: int) -> list[str]:
    return tx.all(
        str, "SELECT id FROM conversations WHERE id > :after ORDER BY id LIMIT :limit", after=after, limit=limit
    )


def foreign_parents(tx: Tx) -> list[Suspect]:
    """Messages whose parent is gone or lies in another conversation."""
    return tx.all(
        Suspect,
        "SELECT m.id, m.conversation_id FROM messages m LEFT JOIN messages p ON p.id = m.parent_id"
        " WHERE m.parent_id IS NOT NULL AND (p.id IS NULL OR p.conversation_id <> m.conversation_id)",
    )


def visible_below_hidden(tx: Tx) -> list[Suspect]:
    return tx.all(
        Suspect,
        "SELECT m.id, m.conversation_id FROM messages m JOIN messages p ON p.id = m.parent_id"
        " WHERE m.deletion_id IS NULL AND p.deletion_id IS NOT NULL",
    )


def running_without_turn(tx: Tx) -> list[Suspect]:
    """Replies that claim to be written while no turn writes them."""
    return tx.all(
        Suspect,
        "SELECT m.id, m.conversation_id FROM messages m WHERE m.state = 'running' AND NOT EXISTS"
        " (SELECT 1 FROM turns t WHERE t.reply_id = m.id AND t.state = 'running')",
    )


def turns_without_reply(tx: Tx) -> list[Suspect]:
    return tx.all(
        Suspect,
        "SELECT t.id, t.conversation_id FROM turns t LEFT JOIN messages m ON m.id = t.reply_id"
        " WHERE m.id IS NULL OR m.conversation_id <> t.conversation_id",
    )


def ended_with_running_call(tx: Tx) -> list[Suspect]:
    return tx.all(
        Suspect,
        "SELECT k.id, t.conversation_id FROM calls k JOIN turns t ON t.id = k.turn_id"
        " WHERE k.state = 'running' AND t.state <> 'running'",
    )


def differing_states(tx: Tx) -> list[Suspect]:
    """Replies that are sealed, and say another end than their turn. One to be written is another rule's."""
    return tx.all(
        Suspect,
        "SELECT m.id, m.conversation_id FROM messages m JOIN turns t ON t.reply_id = m.id"
        " WHERE m.state <> 'running' AND m.state <> t.state",
    )


def turns_without_call(tx: Tx) -> list[Suspect]:
    """Turns that nothing meters: each comes with its first call."""
    return tx.all(
        Suspect,
        "SELECT t.id, t.conversation_id FROM turns t WHERE NOT EXISTS (SELECT 1 FROM calls k WHERE k.turn_id = t.id)",
    )


def left_turns(tx: Tx, before: int) -> list[Suspect]:
    """Turns that run, and whose lease was over by then."""
    return tx.all(
        Suspect,
        "SELECT t.id, t.conversation_id FROM turns t WHERE t.state = 'running' AND t.lease_until < :before",
        before=before,
    )


def turns_with_gaps(tx: Tx, since: int) -> list[Suspect]:
    """Turns that run, or ended after a time, whose events are not numbered without a gap from the first to the last. An
    ending by somebody else than its holder leaves one, of a known width."""
    return tx.all(
        Suspect,
        "SELECT t.id, t.conversation_id FROM turns t WHERE (t.state = 'running' OR t.ended_at > :since) AND (t.last_seq"
        " <> COALESCE((SELECT MAX(e.last_seq) FROM turn_events e WHERE e.turn_id = t.id),"
        " CASE WHEN t.state = 'running' THEN 0 ELSE -1 END) OR EXISTS (SELECT 1 FROM turn_events e"
        " WHERE e.turn_id = t.id AND e.first_seq NOT IN (1, :foreign) AND NOT EXISTS (SELECT 1 FROM turn_events p"
        " WHERE p.turn_id = t.id AND p.first_seq < e.first_seq"
        " AND p.last_seq IN (e.first_seq - 1, e.first_seq - :foreign))))",
        since=since,
        foreign=FOREIGN_END_OFFSET,
    )


class EndedTurn(msgspec.Struct, frozen=True):
    """What an ended turn tells the outbox, as its row has it."""

    id: str
    conversation_id: str
    account_id: str
    question_id: str | None
    reply_id: str
    state: TurnState
    usage: str
    labels: str


class EndedCall(msgspec.Struct, frozen=True):
    """What an ended call tells the outbox, as its row has it."""

    id: str
    account_id: str
    kind: CallKind
    origin: Origin
    model: str
    channel: str
    state: CallState
    usage: str
    turn_id: str | None
    labels: str


_ENDED_TURNS = "SELECT id, conversation_id, account_id, question_id, reply_id, state, usage, labels FROM turns"
_ENDED_CALLS = "SELECT id, account_id, kind, origin, model, channel, state, usage, turn_id, labels FROM calls"


def turns_ended_since(tx: Tx, since: int) -> list[EndedTurn]:
    return tx.all(EndedTurn, f"{_ENDED_TURNS} WHERE state <> 'running' AND ended_at > :since", since=since)


def calls_ended_since(tx: Tx, since: int) -> list[EndedCall]:
    return tx.all(EndedCall, f"{_ENDED_CALLS} WHERE state <> 'running' AND ended_at > :since", since=since)


def ended_turn(tx: Tx, turn_id: str) -> EndedTurn | None:
    return tx.one(EndedTurn, f"{_ENDED_TURNS} WHERE id = :id AND state <> 'running'", id=turn_id)


def ended_call(tx: Tx, call_id: str) -> EndedCall | None:
    return tx.one(EndedCall, f"{_ENDED_CALLS} WHERE id = :id AND state <> 'running'", id=call_id)


def told_since(tx: Tx, name: str, since: int) -> list[str]:
    """The payloads of the events of a name that were told after a time."""
    return tx.all(str, "SELECT payload FROM outbox WHERE name = :name AND created_at > :since", name=name, since=since)


class Shape(msgspec.Struct, frozen=True):
    """What a conversation's row says of its tree. deletion_id: it is hidden, as one that is still being imported."""

    tip_id: str | None
    branches: int
    deletion_id: str | None


def shape_of(tx: Tx, conversation_id: str) -> Shape | None:
    return tx.one(Shape, "SELECT tip_id, branches, deletion_id FROM conversations WHERE id = :id", id=conversation_id)


def deletions_missing(tx: Tx) -> list[Suspect]:
    """Deleted messages whose deletion is gone: nobody can take it back, and nothing erases them."""
    return tx.all(
        Suspect,
        "SELECT m.id, m.conversation_id FROM messages m WHERE m.deletion_id IS NOT NULL"
        " AND NOT EXISTS (SELECT 1 FROM deletions d WHERE d.id = m.deletion_id)",
    )


def set_at_top(tx: Tx, message_id: str) -> None:
    """What hung on something it cannot hang on begins a branch of its own."""
    tx.run("UPDATE messages SET parent_id = NULL, continues = 0 WHERE id = :id", id=message_id)


def parent_of(tx: Tx, message_id: str) -> str | None:
    return tx.one(str, "SELECT parent_id FROM messages WHERE id = :id AND parent_id IS NOT NULL", id=message_id)


def conversation_of(tx: Tx, message_id: str) -> str | None:
    return tx.one(str, "SELECT conversation_id FROM messages WHERE id = :id", id=message_id)


def set_state_of_turn(tx: Tx, message_id: str) -> None:
    """A sealed reply says the end its turn came to."""
    tx.run(
        "UPDATE messages SET state = (SELECT t.state FROM turns t WHERE t.reply_id = messages.id)"
        " WHERE id = :id AND state <> 'running'"
        " AND EXISTS (SELECT 1 FROM turns t WHERE t.reply_id = messages.id AND t.state <> 'running')",
        id=message_id,
    )


def foreign_in_shares(tx: Tx) -> list[Suspect]:
    """Messages in a snapshot of a conversation they are not of."""
    return tx.all(
        Suspect,
        "SELECT i.message_id AS id, s.conversation_id FROM share_messages i JOIN shares s ON s.id = i.share_id"
        " JOIN messages m ON m.id = i.message_id WHERE m.conversation_id <> s.conversation_id",
    )


def remove_foreign_in_shares(tx: Tx, message_id: str) -> None:
    tx.run(
        "DELETE FROM share_messages WHERE message_id = :id AND share_id IN (SELECT s.id FROM shares s"
        " JOIN messages m ON m.id = :id WHERE m.conversation_id <> s.conversation_id)",
        id=message_id,
    )


def names_astray(tx: Tx) -> list[Suspect]:
    """Names of branches that begin at a message of another conversation."""
    return tx.all(
        Suspect,
        "SELECT b.message_id AS id, b.conversation_id FROM branch_names b JOIN messages m ON m.id = b.message_id"
        " WHERE m.conversation_id <> b.conversation_id",
    )


def set_tip(tx: Tx, conversation_id: str, tip_id: str | None) -> None:
    tx.run("UPDATE conversations SET tip_id = :tip WHERE id = :id", tip=tip_id, id=conversation_id)
