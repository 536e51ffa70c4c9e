"""Jobs as plugins see them: queued, run, tried again when they fail, and a plugin that keeps failing set aside."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest

from chatserver import JobSpec, hookimpl
from chatserver.clock import now_us
from chatserver.errors import Unavailable
from chatserver.store import jobs as job_rows
from chatserver.testing.server import open_site
from chatserver.work.jobs import Jobs

DAY_US = 86_400_000_000


class Sweeper:
    def __init__(self) -> None:
        self.ran: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    @hookimpl
    def register_jobs(self) -> list[JobSpec]:
        return [JobSpec("sweeper.sweep", self.sweep, lease_s=0.3), JobSpec("sweeper.fail", self.fail)]

    async def sweep(self, payload: dict[str, Any]) -> None:
        await self.ran.put(payload)

    async def fail(self, payload: dict[str, Any]) -> None:
        await self.ran.put(payload)
        raise OSError("the broom broke")


async def test_a_queued_job_runs_with_its_payload(tmp_path: Path) -> None:
    sweeper = Sweeper()
    async with open_site(tmp_path, plugins=[("sweeper", sweeper)]) as site:
        await site.house.jobs.enqueue("sweeper.sweep", {"room": 7})
        assert await asyncio.wait_for(sweeper.ran.get(), 10) == {"room": 7}


async def test_a_job_that_is_somebody_elses_by_now_is_dropped_and_a_database_away_is_outlived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    class Slow:
        @hookimpl
        def register_jobs(self) -> list[JobSpec]:
            return [JobSpec("slow.work", self.work, lease_s=0.3)]

        async def work(self, payload: dict[str, Any]) -> None:
            began.set()
            try:
                await asyncio.sleep(60)
            finally:
                ended.set()

    answers = iter((Unavailable("away for a moment"), True, False))

    def renew(*words: Any) -> bool:
        answer = next(answers)
        if isinstance(answer, Unavailable):
            raise answer
        return answer

    monkeypatch.setattr(job_rows, "renew", renew)
    async with open_site(tmp_path, plugins=[("slow", Slow())]) as site:
        await site.house.jobs.enqueue("slow.work", {})
        await asyncio.wait_for(began.wait(), 10)
        await asyncio.wait_for(ended.wait(), 10)
    assert next(answers, None) is None, "it was asked three times"


class Long:
    """A job that never ends by itself."""

    def __init__(self) -> None:
        self.began: asyncio.Queue[int] = asyncio.Queue()

    @hookimpl
    def register_jobs(self) -> list[JobSpec]:
        return [JobSpec("long.work", self.work, lease_s=3_600)]

    async def work(self, payload: dict[str, Any]) -> None:
        await self.began.put(1)
        await asyncio.Event().wait()


@pytest.mark.parametrize("is_killed", [False, True])
async def test_a_job_goes_on_with_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_killed: bool
) -> None:
    long = Long()
    with monkeypatch.context() as patched:
        if is_killed:
            patched.setattr(Jobs, "_let_go", AsyncMock())
        async with open_site(tmp_path, plugins=[("long", long)]) as site:
            await site.house.jobs.enqueue("long.work", {})
            await asyncio.wait_for(long.began.get(), 10)
    async with open_site(tmp_path, plugins=[("long", long)]):
        await asyncio.wait_for(long.began.get(), 10)


async def test_a_job_left_by_a_worker_whose_clock_was_wrong_is_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its clock it has the job for a day yet; by ours it renews it no more."""
    monkeypatch.setattr("chatserver.work.jobs.IDLE_S", 0.05)
    sweeper = Sweeper()
    async with open_site(tmp_path, plugins=[("sweeper", sweeper)]) as site:
        house = site.house
        await house.jobs.enqueue("sweeper.sweep", {"room": 7}, job_id="left", run_at=now_us() + DAY_US)
        sql = "UPDATE jobs SET state = 'running', lease_owner = 'gone', lease_until = :until, attempts = 1"
        await house.db.write(lambda tx: tx.run(f"{sql} WHERE id = 'left'", until=now_us() + DAY_US))
        assert await asyncio.wait_for(sweeper.ran.get(), 10) == {"room": 7}


async def test_a_plugin_whose_jobs_keep_failing_is_set_aside(tmp_path: Path) -> None:
    sweeper = Sweeper()
    async with open_site(tmp_path, plugins=[("sweeper", sweeper)]) as site:
        for number in range(5):
            await site.house.jobs.enqueue("sweeper.fail", {"number": number})
        for _ in range(5):
            await asyncio.wait_for(sweeper.ran.get(), 10)
        async with asyncio.timeout(10):
            while site.house.plugins.is_on("sweeper"):
                await asyncio.sleep(0.01)
        assert "the job sweeper.fail" in site.house.plugins.notices[0].sentence
