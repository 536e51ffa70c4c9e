"""What an operator wants to know of this node at any moment: its work, its queues, its database and its process."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import msgspec

from chatserver.chat.meters import Meters
from chatserver.clock import now_us
from chatserver.domain.figures import Reading
from chatserver.errors import ChatserverError
from chatserver.store import jobs as job_rows
from chatserver.store import notices as notice_rows
from chatserver.store import outbox
from chatserver.store.database import Database, Tx
from chatserver.store.sqlite import SqliteDatabase

PROC = Path("/proc/self")
_PAGE_BYTES = resource.getpagesize()


class Backlog(msgspec.Struct, frozen=True):
    """What waits in the database, whichever node is to do it. oldest_at: microseconds UTC, None when nothing waits."""

    events: int = 0
    events_parked: int = 0
    oldest_at: int | None = None
    jobs_due: int = 0
    jobs_failed: int = 0
    notices: int = 0


class Gauges:
    """Tells the meters what to read. What is in the database is asked by `look`, before a scrape."""

    def __init__(
        self,
        meters: Meters,
        db: Database,
        *,
        turns_running: Callable[[], int],
        is_draining: Callable[[], bool],
        egress: Callable[[], Iterable[tuple[Mapping[str, str], float]]],
        folder: Path,
    ) -> None:
        self._db = db
        self._backlog: Backlog | None = None
        self._began_s = now_us() / 1e6
        meters.gauge("chatserver_turns_running", "Turns that are being answered on this node", turns_running)
        meters.gauge("chatserver_draining", "1 while this node is being stopped", lambda: int(is_draining()))
        meters.gauge("chatserver_egress_requests_total", "Requests to the outside, by how they went", egress)
        answers = "1 when the database answered this scrape"
        meters.gauge("chatserver_database_up", answers, lambda: int(self._backlog is not None), is_shared=True)
        for name, text, field in (
            ("chatserver_outbox_waiting", "Events that plugins have not had yet", "events"),
            ("chatserver_outbox_parked", "Events nobody tries any more; see chatserver events", "events_parked"),
            ("chatserver_jobs_due", "Jobs that could run now and do not", "jobs_due"),
            ("chatserver_jobs_failed", "Jobs that were given up", "jobs_failed"),
            ("chatserver_notices_unread", "Notices no admin has put away", "notices"),
        ):
            meters.gauge(name, text, self._of_backlog(field), is_shared=True)
        oldest = "How long the oldest waiting event waits"
        meters.gauge("chatserver_outbox_oldest_seconds", oldest, self._oldest_s, is_shared=True)
        free = "Free on the disk of the data folder"
        meters.gauge("chatserver_disk_free_bytes", free, lambda: free_bytes(folder), is_shared=True)
        if isinstance(db, SqliteDatabase):
            for figure in db.figures:
                meters.figures.add(figure)
        meters.gauge("process_start_time_seconds", "When this process began, since 1970", lambda: self._began_s)
        meters.gauge("process_cpu_seconds_total", "CPU time used, user and system", _cpu_s)
        meters.gauge("process_resident_memory_bytes", "Memory in use", resident_bytes)
        meters.gauge("process_open_fds", "Open files and connections", _open_files)
        meters.gauge("process_max_fds", "How many may be open", _max_files)

    async def look(self) -> None:
        """Ask the database; when it does not answer, its gauges are absent and `chatserver_database_up` is 0."""
        try:
            self._backlog = await self._db.read(_backlog)
        except ChatserverError:
            self._backlog = None

    def _of_backlog(self, field: str) -> Callable[[], Reading]:
        return lambda: [] if self._backlog is None else getattr(self._backlog, field)

    def _oldest_s(self) -> Reading:
        if self._backlog is None:
            return []
        at = self._backlog.oldest_at
        return max(0.0, (now_us() - at) / 1e6) if at is not None else 0


def _backlog(tx: Tx) -> Backlog:
    waiting = outbox.waiting(tx)
    jobs = job_rows.backlog(tx, now_us())
    return Backlog(
        waiting.many, outbox.count_parked(tx), waiting.oldest_at, jobs.due, jobs.failed, notice_rows.count_unread(tx)
    )


def free_bytes(folder: Path) -> Reading:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return []


def resident_bytes() -> Reading:
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int((PROC / "statm").read_text().split()[1]) * _PAGE_BYTES
    return []


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _open_files() -> Reading:
    try:
        return len(os.listdir(PROC / "fd"))
    except OSError:
        return []


def _max_files() -> Reading:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return [] if limit == resource.RLIM_INFINITY else limit
