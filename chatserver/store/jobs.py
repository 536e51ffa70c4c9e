"""Leased work: queued once, done by one worker at a time, tried again when it fails or its worker dies."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

import msgspec

from chatserver.clock import new_id, now_us
from chatserver.store.database import Tx

JobState = Literal["queued", "running", "done", "failed"]
LEASE_US = 60_000_000
MAX_ATTEMPTS = 10
FIRST_PAUSE_US = 2_000_000
MAX_PAUSE_US = 3_600_000_000
MAX_ERROR = 500

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_COLUMNS = "id, kind, payload, state, run_at, lease_owner, lease_until, attempts, error"
_OURS = " WHERE id = :id AND state = 'running' AND lease_owner = :owner AND attempts = :attempts"


class Job(msgspec.Struct, frozen=True):
    """attempts: how often it was begun. run_at: when it falls due, once it is over when it ended."""

    id: str
    kind: str
    payload: dict[str, Any]
    state: JobState
    run_at: int
    lease_owner: str
    lease_until: int
    attempts: int
    error: str


class HeldJob(msgspec.Struct, frozen=True):
    """A running job, and the mark of whoever runs it: it changes with every renewal."""

    id: str
    kind: str
    attempts: int
    lease_until: int


class Backlog(msgspec.Struct, frozen=True):
    """due: jobs that could run now and do not. failed: those that were given up."""

    due: int
    failed: int


class JobRow(msgspec.Struct, frozen=True):
    id: str
    kind: str
    payload: str
    state: JobState
    run_at: int
    lease_owner: str
    lease_until: int
    attempts: int
    error: str


def periodic_id(kind: str) -> str:
    """The one id of a kind that runs again and again, on however many nodes."""
    return f"every:{kind}"


def enqueue(tx: Tx, kind: str, payload: dict[str, Any], run_at: int, job_id: str | None = None) -> str:
    """Queue a job and return its id. With an id of one's own, asking again changes nothing, also once it is done."""
    job_id = job_id or new_id()
    tx.run(
        "INSERT INTO jobs (id, kind, payload, state, run_at, lease_owner, lease_until, attempts, error, created_at)"
        " VALUES (:id, :kind, :payload, 'queued', :run_at, '', 0, 0, '', :now) ON CONFLICT (id) DO NOTHING",
        id=job_id,
        kind=kind,
        payload=_encode(payload).decode(),
        run_at=run_at,
        now=now_us(),
    )
    return job_id


def claim(tx: Tx, leases_us: Mapping[str, int], owner: str, now: int, left: Collection[HeldJob] = ()) -> Job | None:
    """Take the job that is due longest, one that was let go or left behind included; None when there is none.

    leases_us: the kinds wanted, and how long each is leased. left: jobs whose worker renews them no more.
    """
    if not leases_us:
        return None
    names = {f"kind_{number}": kind for number, kind in enumerate(leases_us)}
    wanted = ", ".join(f":{name}" for name in names)
    ids = {f"left_{number}": one.id for number, one in enumerate(left)}
    among = ", ".join(f":{name}" for name in ids) or "''"
    sql = (
        f"SELECT {_COLUMNS} FROM jobs WHERE kind IN ({wanted}) AND ((state = 'queued' AND run_at <= :now)"
        f" OR (state = 'running' AND (lease_until = 0 OR id IN ({among})))) ORDER BY run_at, id LIMIT 20"
    )
    marks = {(one.id, one.attempts, one.lease_until) for one in left}
    for row in tx.all(JobRow, sql, now=now, **names, **ids):
        if row.state == "running" and row.lease_until and (row.id, row.attempts, row.lease_until) not in marks:
            continue
        if row.state == "running" and row.attempts >= MAX_ATTEMPTS and row.id != periodic_id(row.kind):
            _give_up(tx, row, now)
            continue
        until = now + leases_us[row.kind]
        taken = tx.run(
            "UPDATE jobs SET state = 'running', lease_owner = :owner, lease_until = :until, attempts = attempts + 1"
            " WHERE id = :id AND state = :state AND lease_until = :seen",
            owner=owner,
            until=until,
            id=row.id,
            state=row.state,
            seen=row.lease_until,
        )
        if taken:
            return msgspec.structs.replace(
                _job(row), state="running", lease_owner=owner, lease_until=until, attempts=row.attempts + 1
            )
    return None


def release(tx: Tx, owner: str = "") -> int:
    """Whoever comes next may go on with what this worker had begun; '' for all workers. How many jobs that were."""
    return tx.run(
        "UPDATE jobs SET lease_until = 0 WHERE state = 'running' AND (:owner = '' OR lease_owner = :owner)", owner=owner
    )


def renew(tx: Tx, job: Job, now: int, lease_us: int = LEASE_US) -> bool:
    """Keep a job longer; False when it is somebody else's by now and must be dropped."""
    sql = "UPDATE jobs SET lease_until = CASE WHEN lease_until < :until THEN :until ELSE lease_until + 1 END" + _OURS
    return tx.run(sql, until=now + lease_us, id=job.id, owner=job.lease_owner, attempts=job.attempts) == 1


def finish(tx: Tx, job: Job, now: int, *, again_at: int | None = None) -> bool:
    """The job is done; again_at: and falls due again then. False when it is somebody else's by now."""
    sql = (
        "UPDATE jobs SET state = :state, run_at = :run_at, lease_owner = '', lease_until = 0,"
        " attempts = CASE WHEN :state = 'queued' THEN 0 ELSE attempts END, error = ''"
    )
    state, run_at = ("done", now) if again_at is None else ("queued", again_at)
    return tx.run(sql + _OURS, state=state, run_at=run_at, id=job.id, owner=job.lease_owner, attempts=job.attempts) == 1


def fail(tx: Tx, job: Job, error: str, now: int, *, again_at: int | None = None) -> bool:
    """Try again later, twice as late each time, at most until again_at; after the last attempt the job is `failed`,
    or waits for again_at. error: for the operator; no secrets. False when it is somebody else's by now."""
    is_last = job.attempts >= MAX_ATTEMPTS
    run_at = now + pause_us(job.attempts)
    if again_at is not None:
        run_at = again_at if is_last else min(run_at, again_at)
    state = "failed" if is_last and again_at is None else "queued"
    sql = (
        "UPDATE jobs SET state = :state, run_at = :run_at, lease_owner = '', lease_until = 0, error = :error,"
        " attempts = :left"
    )
    return (
        tx.run(
            sql + _OURS,
            state=state,
            run_at=now if state == "failed" else run_at,
            error=error[:MAX_ERROR],
            left=0 if is_last and again_at is not None else job.attempts,
            id=job.id,
            owner=job.lease_owner,
            attempts=job.attempts,
        )
        == 1
    )


def pause_us(attempts: int) -> int:
    """How long to wait after this many failed attempts."""
    return int(min(FIRST_PAUSE_US * 2 ** min(attempts - 1, 30), MAX_PAUSE_US))


def next_due(tx: Tx, kinds: Collection[str]) -> int | None:
    """When the next job of these kinds falls due, in microseconds UTC, 0 when one was let go; None when nothing waits.
    What another kind waits for, such as a plugin that is away, is nothing to whoever runs these."""
    names = {f"kind_{number}": kind for number, kind in enumerate(kinds)}
    wanted = ", ".join(f":{name}" for name in names) or "''"
    let_go = f"SELECT 1 FROM jobs WHERE state = 'running' AND lease_until = 0 AND kind IN ({wanted}) LIMIT 1"
    if tx.one(int, let_go, **names):
        return 0
    return tx.one(int, f"SELECT MIN(run_at) FROM jobs WHERE state = 'queued' AND kind IN ({wanted})", **names)


def held_jobs(tx: Tx) -> list[HeldJob]:
    """Every job that runs, wherever."""
    return tx.all(HeldJob, "SELECT id, kind, attempts, lease_until FROM jobs WHERE state = 'running'")


def job_by_id(tx: Tx, job_id: str) -> Job | None:
    row = tx.one(JobRow, f"SELECT {_COLUMNS} FROM jobs WHERE id = :id", id=job_id)
    return None if row is None else _job(row)


def backlog(tx: Tx, now: int) -> Backlog:
    sql = "SELECT COUNT(*) FROM jobs WHERE state = 'queued' AND run_at <= :now"
    return Backlog(tx.one(int, sql, now=now) or 0, count_failed(tx))


def count_failed(tx: Tx) -> int:
    return tx.one(int, "SELECT COUNT(*) FROM jobs WHERE state = 'failed'") or 0


def purge(tx: Tx, before: int) -> int:
    """Forget jobs that were done before a time; failed ones stay until somebody looks. Returns how many."""
    return tx.run("DELETE FROM jobs WHERE state = 'done' AND run_at < :before", before=before)


def _give_up(tx: Tx, row: JobRow, now: int) -> None:
    """A job that outlived none of its workers would take the next one down as well."""
    tx.run(
        "UPDATE jobs SET state = 'failed', run_at = :now, lease_owner = '', lease_until = 0, error = :error"
        " WHERE id = :id AND state = 'running' AND lease_until = :seen",
        now=now,
        error="Every worker that took this job ended before it was done.",
        id=row.id,
        seen=row.lease_until,
    )


def _job(row: JobRow) -> Job:
    return Job(
        row.id,
        row.kind,
        _decode(row.payload),
        row.state,
        row.run_at,
        row.lease_owner,
        row.lease_until,
        row.attempts,
        row.error,
    )
