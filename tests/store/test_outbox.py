"""Events in the outbox are handed out at least once, later and later, and never lost."""

from __future__ import annotations

import pytest

from chatserver.clock import now_us
from chatserver.domain.calls import Usage
from chatserver.domain.events import AccountCreated, CallEnded
from chatserver.store import outbox
from chatserver.store.database import Database, Tx
from chatserver.store.outbox import Claimed

SECOND = 1_000_000


def append(tx: Tx, event: AccountCreated) -> int:
    outbox.append(tx, event)
    return tx.one(int, "SELECT MAX(seq) FROM outbox") or 0


async def claim(db: Database, now: int) -> list[Claimed]:
    return await db.write(lambda tx: outbox.claim(tx, now=now, lease_us=60 * SECOND))


async def test_events_are_claimed_in_order_by_one_caller_at_a_time(db: Database) -> None:
    seqs = await db.write(lambda tx: [append(tx, AccountCreated(name)) for name in ("a", "b")])
    assert seqs == sorted(seqs)
    now = now_us()
    first = await claim(db, now)
    assert [claimed.delivery.event for claimed in first] == [AccountCreated("a"), AccountCreated("b")]
    assert [claimed.delivery.seq for claimed in first] == seqs
    assert await claim(db, now + 59 * SECOND) == []
    again = await claim(db, now + 61 * SECOND)
    assert [claimed.attempts for claimed in again] == [2, 2]


async def test_an_event_of_a_unit_that_failed_never_was(db: Database) -> None:
    def fail(tx: Tx) -> None:
        outbox.append(tx, AccountCreated("a"))
        raise LookupError

    with pytest.raises(LookupError):
        await db.write(fail)
    assert await claim(db, now_us()) == []
    assert await db.read(outbox.next_due) is None


async def test_a_later_attempt_leaves_out_who_had_it(db: Database) -> None:
    await db.write(lambda tx: outbox.append(tx, AccountCreated("a")))
    now = now_us()
    (claimed,) = await claim(db, now)
    seq = claimed.delivery.seq

    def settle(tx: Tx) -> bool:
        outbox.mark_delivered(tx, seq, ["ledger", "mail"], now=now)
        outbox.mark_delivered(tx, seq, ["mail"], now=now)
        return outbox.retry(tx, claimed, now=now)

    assert await db.write(settle)
    assert await db.read(outbox.next_due) == now + SECOND
    assert await claim(db, now + SECOND - 1) == []
    (second,) = await claim(db, now + SECOND)
    assert second.delivered == ("ledger", "mail")
    await db.write(lambda tx: outbox.finish(tx, seq, now=now))
    assert await claim(db, now + 3600 * SECOND) == []


async def test_pauses_double_and_have_an_end() -> None:
    assert [outbox.pause_us(attempts) // SECOND for attempts in (1, 2, 3, 4, 10, 19)] == [1, 2, 4, 8, 512, 600]


async def test_after_the_last_attempt_it_is_parked_until_somebody_releases_it(db: Database) -> None:
    await db.write(lambda tx: outbox.append(tx, AccountCreated("a")))
    now = now_us()
    for attempt in range(1, outbox.MAX_ATTEMPTS + 1):
        (claimed,) = await claim(db, now)
        is_kept = await db.write(lambda tx, claimed=claimed, now=now: outbox.retry(tx, claimed, now=now))
        assert is_kept == (attempt < outbox.MAX_ATTEMPTS)
        now += outbox.MAX_PAUSE_US
    assert await claim(db, now * 2) == []
    assert await db.read(outbox.next_due) is None
    assert await db.read(outbox.count_parked) == 1
    assert await db.write(lambda tx: outbox.release_parked(tx, now=now)) == 1
    assert len(await claim(db, now)) == 1


async def test_an_event_that_kills_every_pump_is_parked(db: Database) -> None:
    await db.write(lambda tx: outbox.append(tx, AccountCreated("a")))
    now = now_us()
    for _ in range(outbox.MAX_ATTEMPTS):
        now += 61 * SECOND
        assert len(await claim(db, now)) == 1
    assert await claim(db, now + 61 * SECOND) == []
    assert await db.read(outbox.count_parked) == 1


async def test_an_event_nobody_here_knows_is_parked_and_stops_no_other(db: Database) -> None:
    def add(tx: Tx) -> None:
        seq = append(tx, AccountCreated("a"))
        tx.run("UPDATE outbox SET payload = :payload WHERE seq = :seq", payload='{"name":"from.tomorrow"}', seq=seq)
        outbox.append(tx, AccountCreated("b"))

    await db.write(add)
    assert [claimed.delivery.event for claimed in await claim(db, now_us())] == [AccountCreated("b")]
    assert await db.read(outbox.count_parked) == 1


async def test_what_nobody_wants_is_passed_over_and_what_waits_is_not(db: Database) -> None:
    ended = CallEnded("c", "a", "chat", "web", "small", "", "done", Usage())
    await db.write(lambda tx: [outbox.append(tx, event) for event in (AccountCreated("a"), ended)] and None)
    now = now_us()
    held, _ = await claim(db, now)
    assert held.delivery.event == AccountCreated("a")
    await db.write(lambda tx: outbox.append(tx, AccountCreated("b")))
    later = now_us() + SECOND
    await db.write(lambda tx: outbox.pass_over(tx, ["account.created", "turn.ended"], now=later))
    assert await claim(db, later) == [], "one is done, two are somebody's"
    assert [one.delivery.event for one in await claim(db, later + 3600 * SECOND)] == [AccountCreated("a"), ended]


async def test_finished_events_are_purged_and_no_others(db: Database) -> None:
    first, second = await db.write(lambda tx: [append(tx, AccountCreated(name)) for name in ("a", "b")])

    def settle(tx: Tx) -> int:
        outbox.mark_delivered(tx, first, ["mail"], now=5)
        outbox.finish(tx, first, now=5)
        return outbox.purge(tx, before=5) + outbox.purge(tx, before=6)

    assert await db.write(settle) == 1
    assert await db.read(lambda tx: tx.all(int, "SELECT seq FROM outbox")) == [second]
    assert await db.read(lambda tx: tx.one(int, "SELECT COUNT(*) FROM outbox_deliveries")) == 0
