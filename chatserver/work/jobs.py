"""Run leased jobs: claimed by one node, renewed while they run, tried again with patience, taken over from the dead."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import structlog

from chatserver.clock import monotonic_s, now_us
from chatserver.domain.extend import JobSpec
from chatserver.domain.leases import Marks
from chatserver.errors import ChatserverError
from chatserver.plugins import Plugins
from chatserver.store import jobs as job_rows
from chatserver.store.database import Database, Tx
from chatserver.store.jobs import HeldJob, Job

log = structlog.get_logger("chatserver.jobs")

IDLE_S = 5.0
AT_ONCE = 4


class Jobs:
    """The job runner of a node, and the door through which plugins queue their own kinds (`ctx.jobs`)."""

    def __init__(self, db: Database, node_id: str, plugins: Plugins) -> None:
        self._db = db
        self._node_id = node_id
        self._plugins = plugins
        self._specs: dict[str, tuple[str, JobSpec]] = {}
        self._marks = Marks()
        self._news = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None

    def add(self, specs: Iterable[tuple[str, JobSpec]]) -> None:
        """Job kinds with the plugin that brings each; '' is the core."""
        for plugin, spec in specs:
            self._specs[spec.kind] = (plugin, spec)

    async def start(self) -> None:
        """What another node had begun goes on at once where the database's lock proves that node dead."""
        periodic = [spec for _, spec in self._specs.values() if spec.every_s]

        def queue(tx: Tx) -> None:
            if not self._db.is_shared:
                job_rows.release(tx)
            for spec in periodic:
                job_rows.enqueue(tx, spec.kind, {}, now_us(), job_id=job_rows.periodic_id(spec.kind))

        await self._db.write(queue)
        self._task = asyncio.create_task(self._keep_working(), name="jobs")

    def wake(self) -> None:
        self._news.set()

    async def stop(self) -> None:
        tasks = [task for task in (self._task, *self._running) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._let_go()

    async def _let_go(self) -> None:
        """Without it, what was begun waits for the end of its lease."""
        with contextlib.suppress(ChatserverError):
            await self._db.write(lambda tx: job_rows.release(tx, self._node_id), essential=True)

    async def enqueue(
        self, kind: str, payload: Mapping[str, Any], *, job_id: str | None = None, run_at: int = 0
    ) -> str:
        """Queue work, durably. The same job_id is queued once. run_at: microseconds UTC, 0 for now."""
        queued: str = await self._db.write(
            lambda tx: job_rows.enqueue(tx, kind, dict(payload), run_at or now_us(), job_id=job_id)
        )
        self.wake()
        return queued

    async def _keep_working(self) -> None:
        while True:
            self._news.clear()
            claimed: list[Job] = []
            kinds = [kind for kind, (plugin, _) in self._specs.items() if not plugin or self._plugins.is_on(plugin)]
            try:
                if kinds and len(self._running) < AT_ONCE:
                    due, held = await self._db.read(partial(_look, kinds=kinds))
                    left = self._left(held, kinds)
                    if left or (due is not None and due <= now_us()):
                        claimed = await self._claim(kinds, left)
            except Exception as error:  # a loop of the house outlives its surprises
                self._marks.clear()
                log.error("jobs_not_claimed", reason=error)
            for job in claimed:
                task = asyncio.create_task(self._run(job), name=f"job {job.kind}")
                self._running.add(task)
                task.add_done_callback(self._done)
            if not claimed:
                try:
                    async with asyncio.timeout(IDLE_S):
                        await self._news.wait()
                except TimeoutError:
                    continue

    def _left(self, held: list[HeldJob], kinds: list[str]) -> list[HeldJob]:
        """Those whose worker has not renewed them for as long as they are leased."""
        self._marks.keep_only({job.id for job in held})
        now_s = monotonic_s()
        return [
            job
            for job in held
            if job.kind in kinds
            and self._marks.still_s(job.id, (job.attempts, job.lease_until), now_s) >= self._specs[job.kind][1].lease_s
        ]

    async def _claim(self, kinds: list[str], left: list[HeldJob]) -> list[Job]:
        leases_us = {kind: _lease_us(self._specs[kind][1]) for kind in kinds}
        room = AT_ONCE - len(self._running)

        def take(tx: Tx) -> list[Job]:
            taken: list[Job] = []
            while len(taken) < room:
                job = job_rows.claim(tx, leases_us, self._node_id, now_us(), left)
                if job is None:
                    break
                taken.append(job)
            return taken

        return await self._db.write(take, essential=True)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._news.set()

    async def _run(self, job: Job) -> None:
        plugin, spec = self._specs[job.kind]
        lease_us = _lease_us(spec)
        this = asyncio.current_task()
        assert this is not None
        renewing = asyncio.create_task(self._keep_renewing(job, lease_us, this), name=f"renew {job.kind}")
        try:
            await spec.run(job.payload)
        except Exception as error:  # a job is a boundary: its fault is kept with it, and it is tried again
            log.exception("job_failed", kind=job.kind, job=job.id)
            self._plugins.report_fault(plugin, f"the job {job.kind}", error)
            sentence = f"{type(error).__name__}: {error}"[:500]
            await self._db.write(
                lambda tx: job_rows.fail(tx, job, sentence, now_us(), again_at=self._again_at(spec)), essential=True
            )
        else:
            await self._db.write(
                lambda tx: job_rows.finish(tx, job, now_us(), again_at=self._again_at(spec)), essential=True
            )
        finally:
            renewing.cancel()

    async def _keep_renewing(self, job: Job, lease_us: int, running: asyncio.Task[None]) -> None:
        """Drops the work once it is somebody else's: this node was frozen, or its database away, for too long."""
        while True:
            await asyncio.sleep(lease_us / 3_000_000)
            try:
                is_ours = await self._db.write(lambda tx: job_rows.renew(tx, job, now_us(), lease_us))
            except ChatserverError as error:  # there is time for two more tries before the lease ends
                log.warning("job_not_renewed", kind=job.kind, job=job.id, reason=error.message)
                continue
            if not is_ours:
                log.warning("job_lost", kind=job.kind, job=job.id)
                running.cancel()
                return

    @staticmethod
    def _again_at(spec: JobSpec) -> int | None:
        return now_us() + int(spec.every_s * 1_000_000) if spec.every_s else None


def _look(tx: Tx, kinds: list[str]) -> tuple[int | None, list[HeldJob]]:
    return job_rows.next_due(tx, kinds), job_rows.held_jobs(tx)


def _lease_us(spec: JobSpec) -> int:
    return int(spec.lease_s * 1_000_000)
