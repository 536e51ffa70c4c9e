"""Jobs are done by one worker at a time, at least once, and a worker that lost its lease changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from chatserver.store import jobs
from chatserver.store.database import Database, Tx
from chatserver.store.jobs import HeldJob, Job

SECOND = 1_000_000
NOW = 1_000 * SECOND


async def enqueue(db: Database, kind: str = "mail", job_id: str | None = None, run_at: int = NOW) -> str:
    return await db.write(lambda tx: jobs.enqueue(tx, kind, {"to": ["ada"]}, run_at, job_id))


async def claim(
    db: Database,
    now: int = NOW,
    owner: str = "one",
    kinds: tuple[str, ...] = ("mail",),
    left: Sequence[HeldJob] = (),
) -> Job | None:
    return await db.write(lambda tx: jobs.claim(tx, dict.fromkeys(kinds, 60 * SECOND), owner, now, left))


async def must_claim(db: Database, now: int = NOW, owner: str = "one", left: Sequence[HeldJob] = ()) -> Job:
    job = await claim(db, now, owner, left=left)
    assert job is not None
    return job


async def test_a_job_is_claimed_when_due_by_one_worker_of_its_kind(db: Database) -> None:
    job_id = await enqueue(db, run_at=NOW + 1)
    assert await db.read(partial(jobs.next_due, kinds=("mail",))) == NOW + 1
    assert await claim(db, NOW) is None
    assert await claim(db, NOW + 1, kinds=("other",)) is None
    assert await db.read(partial(jobs.next_due, kinds=("other",))) is None, "of a plugin that is away: nothing to do"
    assert await claim(db, NOW + 1, kinds=()) is None
    claims = await asyncio.gather(*(claim(db, NOW + 1, owner=str(number)) for number in range(10)))
    (job,) = [found for found in claims if found is not None]
    assert (job.id, job.payload, job.attempts, job.state) == (job_id, {"to": ["ada"]}, 1, "running")
    assert await db.read(partial(jobs.next_due, kinds=("mail",))) is None


async def test_those_due_longest_come_first(db: Database) -> None:
    for number in (3, 1, 2):
        await enqueue(db, job_id=f"j{number}", run_at=NOW - number)
    assert [(await must_claim(db)).id for _ in range(3)] == ["j3", "j2", "j1"]


async def test_an_id_of_ones_own_is_queued_once_even_when_done(db: Database) -> None:
    assert await enqueue(db, job_id="digest-7") == await enqueue(db, job_id="digest-7") == "digest-7"
    job = await must_claim(db)
    assert await claim(db) is None
    assert await db.write(lambda tx: jobs.finish(tx, job, NOW))
    await enqueue(db, job_id="digest-7")
    assert await claim(db) is None


async def test_a_dead_workers_job_goes_to_the_next_and_the_dead_one_is_fenced(db: Database) -> None:
    await enqueue(db)
    dead = await must_claim(db)
    assert await claim(db, NOW + 1_000 * SECOND) is None, "by the clock alone nobody is dead"
    left = await db.read(jobs.held_jobs)
    assert await db.write(lambda tx: jobs.renew(tx, dead, NOW - 1_000 * SECOND)), "its clock was set back"
    assert await claim(db, NOW + 1_000 * SECOND, left=left) is None, "it was renewed meanwhile"
    left = await db.read(jobs.held_jobs)
    alive = await must_claim(db, NOW + 60 * SECOND, owner="one", left=left)  # the same name: a restart
    assert alive.attempts == 2
    assert await claim(db, NOW + 1_000 * SECOND, left=left) is None
    assert not await db.write(lambda tx: jobs.finish(tx, dead, NOW))
    assert not await db.write(lambda tx: jobs.fail(tx, dead, "late", NOW))
    assert not await db.write(lambda tx: jobs.renew(tx, dead, NOW))
    assert await db.write(lambda tx: jobs.renew(tx, alive, NOW + 90 * SECOND))
    assert await db.write(lambda tx: jobs.finish(tx, alive, NOW))


async def test_each_kind_is_leased_for_its_own_time(db: Database) -> None:
    await enqueue(db)
    leases = {"mail": 60 * SECOND, "night": 3_600 * SECOND}
    job = await db.write(lambda tx: jobs.claim(tx, leases, "one", NOW))
    assert job is not None and job.lease_until == NOW + 60 * SECOND


async def test_what_a_worker_lets_go_the_next_one_has_at_once(db: Database) -> None:
    await enqueue(db, job_id="j1")
    await enqueue(db, job_id="j2")
    mine, theirs = await must_claim(db, owner="one"), await must_claim(db, owner="two")
    assert await db.write(lambda tx: jobs.release(tx, "one")) == 1
    again = await must_claim(db, owner="three")
    assert (again.id, again.attempts) == (mine.id, 2)
    assert await claim(db, owner="three") is None
    assert not await db.write(lambda tx: jobs.finish(tx, mine, NOW))
    assert await db.write(lambda tx: jobs.release(tx)) == 2, "the lock proves all of them dead"
    assert {(await must_claim(db)).id, (await must_claim(db)).id} == {mine.id, theirs.id}


async def test_a_failing_job_is_tried_later_and_later_then_given_up(db: Database) -> None:
    job_id = await enqueue(db)
    now, pauses = NOW, []
    for _ in range(jobs.MAX_ATTEMPTS):
        job = await must_claim(db, now)
        await db.write(lambda tx, job=job, now=now: jobs.fail(tx, job, "no answer " * 100, now))
        stored = await db.read(lambda tx: jobs.job_by_id(tx, job_id))
        assert stored is not None and len(stored.error) == jobs.MAX_ERROR
        pauses.append((stored.run_at - now) // SECOND)
        now = max(stored.run_at, now)
    assert pauses == [2, 4, 8, 16, 32, 64, 128, 256, 512, 0]
    assert await claim(db, now * 2) is None
    assert await db.read(jobs.count_failed) == 1


async def test_a_job_that_kills_its_workers_is_given_up(db: Database) -> None:
    await enqueue(db)
    now = NOW
    for _ in range(jobs.MAX_ATTEMPTS):
        await must_claim(db, now, left=await db.read(jobs.held_jobs))
        now += 60 * SECOND
    assert await claim(db, now, left=await db.read(jobs.held_jobs)) is None
    assert await db.read(jobs.count_failed) == 1


async def test_a_periodic_job_comes_back_and_is_never_given_up(db: Database) -> None:
    sweep = jobs.periodic_id("mail")
    for _ in range(3):
        await enqueue(db, job_id=sweep)
    job = await must_claim(db)
    assert await db.write(lambda tx: jobs.finish(tx, job, NOW, again_at=NOW + 300 * SECOND))
    assert await claim(db, NOW + 299 * SECOND) is None
    now = NOW + 300 * SECOND
    for _ in range(2 * jobs.MAX_ATTEMPTS):
        job = await must_claim(db, now)
        again_at = now + 20 * SECOND
        await db.write(lambda tx, job=job, now=now, again_at=again_at: jobs.fail(tx, job, "x", now, again_at=again_at))
        stored = await db.read(lambda tx: jobs.job_by_id(tx, sweep))
        assert stored is not None and now < stored.run_at <= again_at
        now = stored.run_at
    for _ in range(2 * jobs.MAX_ATTEMPTS):
        await must_claim(db, now, left=await db.read(jobs.held_jobs))
        now += 60 * SECOND


async def test_done_jobs_are_purged_and_failed_ones_stay(db: Database) -> None:
    for name in ("a", "b", "c"):
        await enqueue(db, job_id=name)
    done, failed = await must_claim(db), await must_claim(db)

    def settle(tx: Tx) -> int:
        jobs.finish(tx, done, NOW)
        tx.run("UPDATE jobs SET state = 'failed' WHERE id = :id", id=failed.id)
        return jobs.purge(tx, NOW) + jobs.purge(tx, NOW + 1)

    assert await db.write(settle) == 1
    assert await db.read(lambda tx: tx.all(str, "SELECT id FROM jobs ORDER BY id")) == ["b", "c"]
