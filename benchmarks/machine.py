"""The machine under the measurement: its processors, a process's share of them, its memory, its disk."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
SERVER_CPU, LOAD_CPU, ANY_CPU = 0, 1, -1


def is_pinned() -> bool:
    """Two processors or more: the server gets one alone, everything else another."""
    return (os.cpu_count() or 1) > 1


def pin(pid: int, cpu: int) -> None:
    """cpu: ANY_CPU lets it run everywhere."""
    if is_pinned():
        os.sched_setaffinity(pid, range(os.cpu_count() or 1) if cpu == ANY_CPU else {cpu})


@contextlib.contextmanager
def pinned(cpu: int) -> Iterator[None]:
    """This process, for a while."""
    pin(0, cpu)
    try:
        yield
    finally:
        pin(0, ANY_CPU)


def go_first() -> bool:
    """Before all other work on the machine, in the real-time class; children inherit it. False where we may not."""
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10))
        return True
    return False


def family_of(pid: int) -> list[int]:
    """A process and its children, as a server's workers are."""
    with contextlib.suppress(OSError):
        return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    return [pid]


def cpu_s(pid: int) -> float:
    """Processor seconds that a process, its threads and its children have used."""
    return sum(_cpu_s(one) for one in family_of(pid))


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def memory_mb(pid: int) -> float:
    """Of a process and its children."""
    return sum(_memory_mb(one) for one in family_of(pid))


def _memory_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def has_ended(pid: int) -> bool:
    """Gone, or waiting to be buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def load_average() -> float:
    return os.getloadavg()[0]


def syncs_per_s(folder: Path, seconds: float = 2.0) -> float:
    """How often a second the disk makes 4 kB durable, one after another: what a durable commit costs by itself."""
    path = folder / "sync.probe"
    count = 0
    with path.open("wb", buffering=0) as file:
        start = time.monotonic()
        while time.monotonic() - start < seconds:
            os.pwrite(file.fileno(), b"x" * 4096, (count % 64) * 4096)
            os.fdatasync(file.fileno())
            count += 1
        took = time.monotonic() - start
    path.unlink()
    return count / took


def name() -> str:
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return f"{os.cpu_count()} × {model}, Python {platform.python_version()}"
