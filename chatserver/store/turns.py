"""Turns and their events as rows: inserted with the reply, leased, extended in batches, ended once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from chatserver.domain.access import Actor, Origin
from chatserver.domain.calls import Attempt, Usage
from chatserver.domain.turns import Delta, Turn, TurnError, TurnState, decode_deltas, encode_deltas, piece_end
from chatserver.store.batches import parameters_of, runs_of, values_of
from chatserver.store.database import Tx, Value
from chatserver.store.messages import PATH

_COLUMNS = (
    "t.id, t.conversation_id, t.account_id, t.question_id, t.reply_id, t.state, t.model, t.origin, t.created_at,"
    " t.lease_owner, t.lease_epoch, t.lease_until, t.last_seq, t.ended_at, t.first_token_at, t.error, t.usage,"
    " t.attempts, t.left_out, t.labels, t.parameters"
)
_encode = msgspec.json.Encoder().encode
_usage = msgspec.json.Decoder(Usage).decode
_attempts = msgspec.json.Decoder(tuple[Attempt, ...]).decode
_labels = msgspec.json.Decoder(dict[str, str]).decode
_parameters = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_error = msgspec.json.Decoder(TurnError).decode
PURGED_FACT = "events_purged_before"
ROWS_AT_ONCE = 8
"""A row is a piece; a reader who takes nothing holds on to so many at most."""


class _Row(msgspec.Struct, frozen=True):
    id: str
    conversation_id: str
    account_id: str
    question_id: str | None
    reply_id: str
    state: TurnState
    model: str
    origin: Origin
    created_at: int
    lease_owner: str
    lease_epoch: int
    lease_until: int
    last_seq: int
    ended_at: int | None
    first_token_at: int | None
    error: str | None
    usage: str
    attempts: str
    left_out: int
    labels: str
    parameters: str

    def to_domain(self) -> Turn:
        return Turn(
            self.id,
            self.conversation_id,
            self.account_id,
            self.question_id,
            self.reply_id,
            self.state,
            self.model,
            self.origin,
            self.created_at,
            self.lease_owner,
            self.lease_epoch,
            self.lease_until,
            self.last_seq,
            self.ended_at,
            self.first_token_at,
            _error(self.error) if self.error else None,
            _usage(self.usage),
            _attempts(self.attempts),
            self.left_out,
            _labels(self.labels),
            _parameters(self.parameters),
        )


class StoredEvents(msgspec.Struct, frozen=True):
    """A row of events: its deltas are numbered first_seq, first_seq + 1, … last_seq."""

    first_seq: int
    last_seq: int
    deltas: tuple[Delta, ...]


class NewEvents(msgspec.Struct, frozen=True):
    """The next deltas of a turn, to be stored under its epoch, right behind those that are."""

    turn: Turn
    first_seq: int
    deltas: tuple[Delta, ...]

    @property
    def last_seq(self) -> int:
        return self.first_seq + len(self.deltas) - 1


class HeldTurn(msgspec.Struct, frozen=True):
    """A running turn, and the mark of whoever runs it: it changes with every renewal."""

    id: str
    lease_epoch: int
    lease_until: int


class _EventRow(msgspec.Struct, frozen=True):
    first_seq: int
    last_seq: int
    deltas: str


def insert_turn(tx: Tx, turn: Turn) -> None:
    tx.queue(
        "INSERT INTO turns (id, conversation_id, account_id, question_id, reply_id, state, model, origin, created_at,"
        " lease_owner, lease_epoch, lease_until, last_seq, ended_at, first_token_at, error, usage, attempts,"
        " left_out, labels, parameters, stop_requested) VALUES (:id, :conversation, :account, :question, :reply,"
        " :state, :model, :origin, :created, :owner, :epoch, :until, 0, NULL, NULL, NULL, '{}', '[]', 0, :labels,"
        " :parameters, 0)",
        id=turn.id,
        conversation=turn.conversation_id,
        account=turn.account_id,
        question=turn.question_id,
        reply=turn.reply_id,
        state=turn.state,
        model=turn.model,
        origin=turn.origin,
        created=turn.created_at,
        owner=turn.lease_owner,
        epoch=turn.lease_epoch,
        until=turn.lease_until,
        labels=_encode(turn.labels).decode(),
        parameters=_encode(turn.parameters).decode(),
    )


def turn_of(tx: Tx, actor: Actor, turn_id: str) -> Turn | None:
    """The actor's turn in a visible conversation of theirs, or None."""
    row = tx.one(
        _Row,
        f"SELECT {_COLUMNS} FROM turns t JOIN conversations c ON c.id = t.conversation_id"
        " WHERE t.id = :id AND c.owner_id = :owner AND c.deletion_id IS NULL",
        id=turn_id,
        owner=actor.account_id,
    )
    return row.to_domain() if row else None


def turns_along(tx: Tx, conversation_id: str, tip_id: str, limit: int) -> dict[str, Turn]:
    """The turns of the replies along the end of a path, by the reply's id."""
    rows = tx.all(
        _Row,
        f"{PATH} SELECT {_COLUMNS} FROM path JOIN turns t ON t.reply_id = path.id"
        " WHERE t.conversation_id = :conversation AND depth < :limit",
        tip=tip_id,
        conversation=conversation_id,
        limit=limit,
    )
    return {row.reply_id: row.to_domain() for row in rows}


def turn_by_reply(tx: Tx, conversation_id: str, reply_id: str) -> Turn | None:
    row = tx.one(
        _Row,
        f"SELECT {_COLUMNS} FROM turns t WHERE t.reply_id = :reply AND t.conversation_id = :conversation",
        reply=reply_id,
        conversation=conversation_id,
    )
    return row.to_domain() if row else None


def running_of_account(tx: Tx, account_id: str) -> int:
    """How many turns of an account run now."""
    count = tx.one(
        int, "SELECT COUNT(*) FROM turns WHERE account_id = :account AND state = 'running'", account=account_id
    )
    return count or 0


def running_ids_of(tx: Tx, account_id: str) -> list[str]:
    return tx.all(str, "SELECT id FROM turns WHERE account_id = :account AND state = 'running'", account=account_id)


def running_in(tx: Tx, conversation_id: str) -> list[Turn]:
    rows = tx.all(
        _Row,
        f"SELECT {_COLUMNS} FROM turns t WHERE t.conversation_id = :conversation AND t.state = 'running'",
        conversation=conversation_id,
    )
    return [row.to_domain() for row in rows]


def held_turns(tx: Tx) -> list[HeldTurn]:
    """Every turn that runs, wherever."""
    return tx.all(HeldTurn, "SELECT id, lease_epoch, lease_until FROM turns WHERE state = 'running'")


def running_turns(tx: Tx, turn_ids: Sequence[str]) -> list[Turn]:
    """Those of them that still run."""
    found: list[Turn] = []
    for run in runs_of(turn_ids):
        rows = tx.all(
            _Row,
            f"SELECT {_COLUMNS} FROM turns t WHERE t.state = 'running'"
            f" AND t.id IN (VALUES {values_of(('{}',), len(run))})",
            **parameters_of([(one,) for one in run]),
        )
        found.extend(row.to_domain() for row in rows)
    return found


def renew_leases(tx: Tx, turn_ids: Sequence[str], owner: str, until: int) -> None:
    """Leave a new mark, also where the clock was set back."""
    for run in runs_of(turn_ids):
        tx.queue(
            "UPDATE turns SET lease_until = CASE WHEN lease_until < :until THEN :until ELSE lease_until + 1 END"
            " WHERE state = 'running' AND lease_owner = :owner"
            f" AND id IN (VALUES {values_of(('{}',), len(run))})",
            until=until,
            owner=owner,
            **parameters_of([(one,) for one in run]),
        )


def take_over(tx: Tx, turn: Turn) -> Turn | None:
    """Raise the epoch of a turn whose lease ran out, so that from here on its former holder is refused; the turn as it
    stands then. None: it has ended meanwhile, or its lease was renewed."""
    taken = tx.run(
        "UPDATE turns SET lease_epoch = lease_epoch + 1 WHERE id = :id AND state = 'running'"
        " AND lease_epoch = :epoch AND lease_until = :until",
        id=turn.id,
        epoch=turn.lease_epoch,
        until=turn.lease_until,
    )
    if not taken:
        return None
    last_seq = tx.one(int, "SELECT last_seq FROM turns WHERE id = :id", id=turn.id)
    assert last_seq is not None
    return msgspec.structs.replace(turn, lease_epoch=turn.lease_epoch + 1, last_seq=last_seq)


def last_stored(tx: Tx, turn: Turn) -> int | None:
    """The number of the newest stored event of a turn that still runs under this epoch; None when it does not."""
    return tx.one(
        int,
        "SELECT last_seq FROM turns WHERE id = :id AND state = 'running' AND lease_epoch = :epoch",
        id=turn.id,
        epoch=turn.lease_epoch,
    )


class Standing(msgspec.Struct, frozen=True):
    """Where a turn stands that is about to end. is_visible: neither its reply nor its conversation is hidden."""

    last_seq: int
    is_visible: int


def standing(tx: Tx, turn: Turn) -> Standing | None:
    """See last_stored; with what else its end depends on, for whoever holds the conversation's lock."""
    return tx.one(
        Standing,
        "SELECT t.last_seq, m.deletion_id IS NULL AND c.deletion_id IS NULL AS is_visible FROM turns t"
        " JOIN messages m ON m.id = t.reply_id JOIN conversations c ON c.id = t.conversation_id"
        " WHERE t.id = :id AND t.state = 'running' AND t.lease_epoch = :epoch",
        id=turn.id,
        epoch=turn.lease_epoch,
    )


def request_stop(tx: Tx, turn_id: str) -> None:
    tx.run("UPDATE turns SET stop_requested = 1 WHERE id = :id AND state = 'running'", id=turn_id)


def request_stops_of(tx: Tx, account_id: str) -> None:
    """All of an account that run, on whichever node."""
    tx.run("UPDATE turns SET stop_requested = 1 WHERE account_id = :account AND state = 'running'", account=account_id)


def stops_requested(tx: Tx, owner: str) -> list[str]:
    """Turns of this node that somebody asked to stop, or whose account may not go on: suspended by whatever process."""
    return tx.all(
        str,
        "SELECT t.id FROM turns t JOIN accounts a ON a.id = t.account_id WHERE t.state = 'running'"
        " AND t.lease_owner = :owner AND (t.stop_requested = 1 OR a.state <> 'active')",
        owner=owner,
    )


def append_events(tx: Tx, batches: Sequence[NewEvents], now: int) -> set[str]:
    """Store the next deltas of many turns. The ids of those that took theirs: another has ended, or is held by a later
    epoch, or was not at this number."""
    held: set[str] = set()
    for run in runs_of(batches):
        places = [(one.turn.id, one.turn.lease_epoch, one.first_seq - 1, one.last_seq) for one in run]
        held.update(
            tx.all(
                str,
                "UPDATE turns SET last_seq = v.column4 FROM (VALUES " + values_of(("{}",) * 4, len(run)) + ") AS v"
                " WHERE turns.id = v.column1 AND turns.state = 'running' AND turns.lease_epoch = v.column2"
                " AND turns.last_seq = v.column3 RETURNING id",
                **parameters_of(places),
            )
        )
    kept = [one for one in batches if one.turn.id in held]
    _insert_events(tx, [row for one in kept for row in _event_rows(one.turn.id, one.first_seq, one.deltas, now)])
    return held


def _event_rows(turn_id: str, first_seq: int, deltas: Sequence[Delta], now: int) -> Iterator[tuple[Value, ...]]:
    start = 0
    while start < len(deltas):
        until = piece_end(deltas, start)
        piece = encode_deltas(deltas[start:until]).decode()
        yield (turn_id, first_seq + start, first_seq + until - 1, piece, now)
        start = until


def _insert_events(tx: Tx, rows: Sequence[tuple[Value, ...]]) -> None:
    for run in runs_of(rows):
        tx.queue(
            "INSERT INTO turn_events (turn_id, first_seq, last_seq, deltas, created_at) VALUES "
            + values_of(("{}",) * 5, len(run)),
            **parameters_of(run),
        )


def events_after(tx: Tx, turn_id: str, after: int, limit_rows: int = ROWS_AT_ONCE) -> list[StoredEvents]:
    """The rows that hold events numbered above `after`, in order; the first may begin below it."""
    rows = tx.all(
        _EventRow,
        "SELECT first_seq, last_seq, deltas FROM turn_events WHERE turn_id = :id AND last_seq > :after"
        " ORDER BY first_seq LIMIT :limit",
        id=turn_id,
        after=after,
        limit=limit_rows,
    )
    return [StoredEvents(row.first_seq, row.last_seq, decode_deltas(row.deltas)) for row in rows]


def end_turn(
    tx: Tx,
    turn: Turn,
    *,
    state: TurnState,
    usage: Usage,
    error: TurnError | None,
    attempts: Sequence[Attempt],
    first_token_at: int | None,
    left_out: int,
    first_seq: int,
    deltas: Sequence[Delta],
    now: int,
    held_at: int | None = None,
) -> bool:
    """End a turn, once: guarded by its state, the holder's epoch, and the newest stored number where one is given.
    The last deltas are stored with it."""
    guard = "" if held_at is None else " AND last_seq = :held_at"
    held = {} if held_at is None else {"held_at": held_at}
    ended = tx.run(
        "UPDATE turns SET state = :state, ended_at = :now, usage = :usage, error = :error, attempts = :attempts,"
        " first_token_at = :first, left_out = :left_out, last_seq = :last, lease_until = 0"
        f" WHERE id = :id AND state = 'running' AND lease_epoch = :epoch{guard}",
        **held,
        state=state,
        now=now,
        usage=_encode(usage).decode(),
        error=_encode(error).decode() if error else None,
        attempts=_encode(tuple(attempts)).decode(),
        first=first_token_at,
        left_out=left_out,
        last=first_seq + len(deltas) - 1,
        id=turn.id,
        epoch=turn.lease_epoch,
    )
    if not ended:
        return False
    _insert_events(tx, list(_event_rows(turn.id, first_seq, deltas, now)))
    return True


def purge_events(tx: Tx, before: int) -> int:
    """Drop events of turns that ended before the given time, and keep in mind what that time was: on a clock that
    jumped ahead and came back it lies in the future."""
    purged = tx.run(
        "DELETE FROM turn_events WHERE created_at < :before AND turn_id IN"
        " (SELECT id FROM turns WHERE state <> 'running' AND ended_at < :before)",
        before=before,
    )
    if purged:
        tx.run(
            "INSERT INTO facts (name, value) VALUES (:name, :before) ON CONFLICT (name) DO UPDATE SET value ="
            " CASE WHEN CAST(excluded.value AS BIGINT) > CAST(facts.value AS BIGINT) THEN excluded.value"
            " ELSE facts.value END",
            name=PURGED_FACT,
            before=str(before),
        )
    return purged


def events_purged_before(tx: Tx) -> int:
    """Events of turns that ended before this time may be gone."""
    return int(tx.one(str, "SELECT value FROM facts WHERE name = :name", name=PURGED_FACT) or 0)
