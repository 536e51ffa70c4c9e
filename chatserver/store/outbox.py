"""The outbox: facts committed with what they tell of, handed to plugins afterwards, at least once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from chatserver.clock import now_us
from chatserver.domain.events import Delivery, Event, decode_event, encode_event, name_of_event
from chatserver.store.batches import parameters_of, runs_of, values_of
from chatserver.store.database import Tx

LEASE_US = 60_000_000
MAX_ATTEMPTS = 20
FIRST_PAUSE_US = 1_000_000
MAX_PAUSE_US = 600_000_000
PARKED_AT = 4_000_000_000_000_000_000
"""The `available_at` of an event that nobody tries any more, until `release_parked`. Some 120,000 years from now."""


class Claimed(msgspec.Struct, frozen=True):
    """An event that is ours to deliver until its lease ends. delivered: plugins that had it. attempts: this one too."""

    delivery: Delivery
    delivered: tuple[str, ...]
    attempts: int


class Due(msgspec.Struct, frozen=True):
    seq: int
    payload: str
    created_at: int
    available_at: int
    attempts: int


class _Had(msgspec.Struct, frozen=True):
    seq: int
    plugin: str


class Waiting(msgspec.Struct, frozen=True):
    many: int
    oldest_at: int | None


def append(tx: Tx, event: Event) -> None:
    """Add a fact to the transaction that makes it true."""
    tx.queue(
        "INSERT INTO outbox (name, payload, created_at, available_at, attempts)"
        " VALUES (:name, :payload, :now, :now, 0)",
        name=name_of_event(event),
        payload=encode_event(event).decode(),
        now=now_us(),
    )


def claim(tx: Tx, *, now: int, lease_us: int = LEASE_US, limit: int = 100) -> list[Claimed]:
    """The events due now, oldest first, each given to one caller only until its lease ends."""
    sql = (
        "SELECT seq, payload, created_at, available_at, attempts FROM outbox"
        " WHERE done_at IS NULL AND available_at <= :now ORDER BY seq LIMIT :limit"
    )
    claimed = []
    due = tx.all(Due, sql, now=now, limit=limit)
    taken = _take(tx, [one for one in due if one.attempts < MAX_ATTEMPTS], now + lease_us)
    delivered = _delivered(tx, sorted(taken))
    for one in due:
        if one.attempts >= MAX_ATTEMPTS:  # nobody lived to say what became of the last one
            park(tx, one.seq)
        if one.seq not in taken:
            continue
        try:
            event = decode_event(one.payload)
        except msgspec.DecodeError:  # written by a version that knows more: kept for it
            park(tx, one.seq)
            continue
        plugins = tuple(delivered.get(one.seq, ()))
        claimed.append(Claimed(Delivery(one.seq, event, one.created_at), plugins, one.attempts + 1))
    return claimed


def pass_over(tx: Tx, names: Sequence[str], *, now: int) -> None:
    """Take what is due of these kinds as delivered: nobody listens to them."""
    tx.queue(
        "UPDATE outbox SET done_at = :now WHERE done_at IS NULL AND available_at <= :now"
        f" AND name IN (VALUES {values_of(('{}',), len(names))})",
        now=now,
        **parameters_of([(name,) for name in names]),
    )


def _take(tx: Tx, due: Sequence[Due], until: int) -> set[int]:
    """The seqs of those that nobody else took meanwhile."""
    taken: set[int] = set()
    for run in runs_of(due):
        taken.update(
            tx.all(
                int,
                "UPDATE outbox SET available_at = :until, attempts = attempts + 1"
                f" FROM (VALUES {values_of(('{}',) * 2, len(run))}) AS v"
                " WHERE outbox.seq = v.column1 AND done_at IS NULL AND available_at = v.column2 RETURNING seq",
                until=until,
                **parameters_of([(one.seq, one.available_at) for one in run]),
            )
        )
    return taken


def _delivered(tx: Tx, seqs: Sequence[int]) -> dict[int, list[str]]:
    """The plugins that had an event, by its seq."""
    found: dict[int, list[str]] = {}
    for run in runs_of(seqs):
        rows = tx.all(
            _Had,
            f"SELECT seq, plugin FROM outbox_deliveries WHERE seq IN (VALUES {values_of(('{}',), len(run))})"
            " ORDER BY seq, plugin",
            **parameters_of([(seq,) for seq in run]),
        )
        for row in rows:
            found.setdefault(row.seq, []).append(row.plugin)
    return found


def next_due(tx: Tx) -> int | None:
    """When the next event falls due, in microseconds UTC; None when none will by itself."""
    sql = "SELECT MIN(available_at) FROM outbox WHERE done_at IS NULL AND available_at < :parked"
    return tx.one(int, sql, parked=PARKED_AT)


def mark_delivered(tx: Tx, seq: int, plugins: Iterable[str], *, now: int) -> None:
    """These plugins have the event; a later attempt leaves them out."""
    for plugin in plugins:
        tx.queue(
            "INSERT INTO outbox_deliveries (seq, plugin, done_at) VALUES (:seq, :plugin, :now)"
            " ON CONFLICT (seq, plugin) DO NOTHING",
            seq=seq,
            plugin=plugin,
            now=now,
        )


def finish(tx: Tx, seq: int, *, now: int) -> None:
    """Every plugin has the event."""
    tx.queue("UPDATE outbox SET done_at = :now WHERE seq = :seq AND done_at IS NULL", seq=seq, now=now)


def retry(tx: Tx, claimed: Claimed, *, now: int) -> bool:
    """Try the rest again later, twice as late each time; False when that was the last attempt and it is parked."""
    seq = claimed.delivery.seq
    if claimed.attempts >= MAX_ATTEMPTS:
        park(tx, seq)
        return False
    tx.queue(
        "UPDATE outbox SET available_at = :at WHERE seq = :seq AND done_at IS NULL",
        seq=seq,
        at=now + pause_us(claimed.attempts),
    )
    return True


def pause_us(attempts: int) -> int:
    """How long to wait after this many failed attempts."""
    return int(min(FIRST_PAUSE_US * 2 ** min(attempts - 1, 30), MAX_PAUSE_US))


def park(tx: Tx, seq: int) -> None:
    tx.queue("UPDATE outbox SET available_at = :at WHERE seq = :seq AND done_at IS NULL", seq=seq, at=PARKED_AT)


def waiting(tx: Tx) -> Waiting:
    """What is still to be delivered, parked events left out."""
    sql = (
        "SELECT COUNT(*) AS many, MIN(created_at) AS oldest_at FROM outbox"
        " WHERE done_at IS NULL AND available_at < :parked"
    )
    return tx.one(Waiting, sql, parked=PARKED_AT) or Waiting(0, None)


def count_parked(tx: Tx) -> int:
    sql = "SELECT COUNT(*) FROM outbox WHERE done_at IS NULL AND available_at >= :parked"
    return tx.one(int, sql, parked=PARKED_AT) or 0


def release_parked(tx: Tx, *, now: int) -> int:
    """Try all parked events again, from the first attempt on. Returns how many."""
    return tx.run(
        "UPDATE outbox SET available_at = :now, attempts = 0 WHERE done_at IS NULL AND available_at >= :parked",
        now=now,
        parked=PARKED_AT,
    )


def finish_older(tx: Tx, *, before: int, now: int) -> int:
    """Take events from before a time as delivered: nobody listens. Returns how many."""
    sql = "UPDATE outbox SET done_at = :now WHERE done_at IS NULL AND created_at < :before"
    return tx.run(sql, now=now, before=before)


def purge(tx: Tx, *, before: int, limit: int = 1_000) -> int:
    """Remove events finished before a time. Returns how many; call again while it is `limit`."""
    sql = "SELECT seq FROM outbox WHERE done_at < :before ORDER BY done_at LIMIT :limit"
    seqs = tx.all(int, sql, before=before, limit=limit)
    for run in runs_of(seqs):
        these = values_of(("{}",), len(run))
        for table in ("outbox_deliveries", "outbox"):
            tx.queue(f"DELETE FROM {table} WHERE seq IN (VALUES {these})", **parameters_of([(seq,) for seq in run]))
    return len(seqs)
