"""What the engine asks of the disk, watched by strace, and what may befall it: kills, failing calls, power loss."""

from __future__ import annotations

import random
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.store.platter import Platter

FILES = ("chat.db", "chat.db-wal", "chat.db-journal", "chat.db-shm", "chat.db.reserve")
VICTIM = Path(__file__).with_name("victim.py")
pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")


@pytest.fixture
def engine() -> str:
    return "sqlite"


def run_under_strace(path: Path, *options: str, task: str = "few") -> tuple[set[int], str]:
    """Forty writes with strace's eyes or thumbs on the system calls: what was acknowledged, and the trace."""
    trace = path.with_suffix(".trace")
    command = ["strace", "-f", "-o", str(trace), *options, sys.executable, str(VICTIM), task, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if not trace.exists() or "Operation not permitted" in done.stderr:
        pytest.skip("tracing is not allowed here")
    return {int(line) for line in done.stdout.splitlines()}, trace.read_text()


def stored_in(path: Path) -> set[int]:
    """Its numbers; the database must be whole."""
    checked = sqlite3.connect(path)
    try:
        assert checked.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        tables = checked.execute("SELECT name FROM sqlite_master WHERE name = 'numbers'").fetchall()
        return {row[0] for row in checked.execute("SELECT n FROM numbers")} if tables else set()
    finally:
        checked.close()


def test_nothing_is_acknowledged_before_it_is_on_the_disk(tmp_path: Path) -> None:
    acknowledged, trace = run_under_strace(
        tmp_path / "chat.db", "-e", "trace=fdatasync,fsync,write", "-e", "signal=none"
    )
    assert acknowledged == set(range(1, 41))
    is_synced, seen = False, 0
    for line in trace.splitlines():
        if "sync(" in line or "sync resumed" in line:
            is_synced = True
        elif found := re.search(r'write\(1, "(\d+)\\n"', line):
            assert is_synced, f"{found[1]} was acknowledged before a sync"
            is_synced, seen = False, seen + 1
    assert seen == 40


def moments(trace: str, folder: Path) -> Iterator[tuple[set[int], Platter]]:
    """After each line of the trace: what had been acknowledged, and what the disk had been told."""
    platter, acknowledged = Platter(folder), set()
    for line in trace.splitlines():
        if found := re.search(r'write\(1<.*?>, "((?:\\x\d\d)+)\\x0a"', line):
            acknowledged.add(int(bytes.fromhex(found[1].replace("\\x", ""))))
        elif not platter.hear(line):
            continue
        yield set(acknowledged), platter


@pytest.mark.timeout(240)
def test_after_a_power_loss_everything_acknowledged_is_there(tmp_path: Path) -> None:
    """One life, and the power lost after each of its calls: of what was not synced the disk kept what it liked."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    home, after = tmp_path / "home", tmp_path / "after"
    home.mkdir()
    calls = "trace=openat,pwrite64,write,ftruncate,fdatasync,fsync,unlink"
    acknowledged, trace = run_under_strace(
        home / "chat.db", "-y", "-xx", "-s", "200000", "-e", calls, "-e", "signal=none"
    )
    assert len(acknowledged) == 40
    losses, before = 0, set()
    for known, platter in moments(trace, home):
        for keep in (0.0, chance.random(), 1.0):
            platter.write_out(after, keep, chance)
            stored = stored_in(after / "chat.db")
            assert known <= stored, f"lost {known - stored} where {keep:.0%} of the rest was kept"
            losses += 1
        before = known
    assert before == acknowledged
    print(f"{losses} losses of power, nothing acknowledged was lost")
    assert losses > 200


def kill_at(folder: Path, number: int) -> bool:
    """kill -9 at a sync; whether there were so many."""
    path = folder / f"{number}.db"
    options = ("-e", "trace=fdatasync,fsync", "-e", f"inject=fdatasync:signal=KILL:when={number}")
    acknowledged, trace = run_under_strace(path, *options)
    assert acknowledged <= stored_in(path), number
    return "killed by SIGKILL" in trace


def fail_at(folder: Path, call: str, error: str, number: int) -> bool:
    """One call fails of those that touch the database's folder; whether there were so many."""
    path = folder / f"{call}-{error}-{number}" / "chat.db"
    path.parent.mkdir()
    inject = f"inject={call}:error={error}:when={number}"
    files = [word for name in FILES for word in ("-P", str(path.with_name(name)))]
    acknowledged, trace = run_under_strace(path, *files, "-e", f"trace={call}", "-e", inject)
    assert acknowledged <= stored_in(path), (call, error, number)
    shutil.rmtree(path.parent)
    return "(INJECTED)" in trace


@pytest.mark.timeout(120)
def test_a_kill_and_a_few_failing_calls_lose_nothing_acknowledged(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    assert kill_at(tmp_path, chance.randint(5, 40))
    for call, error in (("fdatasync", "EIO"), ("pwrite64", "EIO"), ("pwrite64", "ENOSPC")):
        assert fail_at(tmp_path, call, error, chance.randint(5, 40))


@pytest.mark.torture
@pytest.mark.timeout(1800)
def test_killed_at_any_sync_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as hands:
        killed = list(hands.map(partial(kill_at, tmp_path), range(1, 201)))
    print(f"killed at {sum(killed)} syncs")
    assert sum(killed) >= 40 and not killed[-1], "there are more syncs than were tried"


@pytest.mark.torture
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
@pytest.mark.parametrize("call", ["pwrite64", "fdatasync", "pread64", "ftruncate", "fallocate", "openat"])
def test_one_failing_call_loses_nothing_acknowledged(tmp_path: Path, call: str, error: str) -> None:
    """Each call that touches the database's folder, one after another, up to the first 500."""
    with ThreadPoolExecutor(3) as hands:
        failed = 0
        for start in range(1, 500, 12):
            hit = sum(hands.map(partial(fail_at, tmp_path, call, error), range(start, start + 12)))
            failed += hit
            if hit < 12:
                break
    print(f"{failed} calls of {call} failed with {error}")
    assert failed
