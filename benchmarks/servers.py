"""The processes of a run: the fake upstream, the floor, and the server in a folder of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import IO

from benchmarks import machine
from benchmarks.wire import Wire
from chatserver.store.database import Database
from chatserver.store.sqlite import SqliteDatabase

SECRET = "of thirty-two characters, and more"
EMAIL, PASSWORD = "bench@example.org", "a bench of oak and iron"
MODELS = (
    "bench-stamp-wait200-gap50-n60",
    "bench-stamp-wait20-gap5-n10",
    "bench-stamp-n1",
    "bench-stamp-n20",
    "bench-stamp-wait200-gap50-n200",
)
WINDOW_TOKENS = 32_000
"""What the upstream says its models can read: a chat of 10,000 messages does not fit, as in life."""
STARTS_WITHIN_S = 60.0

# Every limit that would cut the load is raised here, and nowhere else. All else is as it comes.
CONFIGURATION = """
[limits]
turns_per_account = 0
turns_per_node = 0
streams_per_account = 0
connections_per_address = 0
sends_per_minute = 0
api_requests_per_minute = 0

[[channels]]
name = "bench"
provider = "openai"
base_url = "http://127.0.0.1:{port}/v1"
api_key = "bench"
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    return {**kept, **more}


@contextlib.contextmanager
def process(command: list[str], cpu: int, log: IO[bytes], **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=_environment(**environment))
    machine.pin(process.pid, cpu)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.01)
        else:
            writer.close()
            return
    raise SystemExit(f"{process.args!r} does not listen; its words are in the log (--keep DIR keeps it).")


class Bench:
    """A folder with an upstream in front of it; floors and servers are started as needed.

    database_url: '' for SQLite in the folder.
    """

    def __init__(self, folder: Path, database_url: str = "") -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.database_url = database_url
        self.data = folder / "data"
        self.config = folder / "chatserver.toml"
        self.upstream_port = free_port()
        self.key = ""
        self.config.write_text(CONFIGURATION.format(port=self.upstream_port))

    def log(self, name: str) -> IO[bytes]:
        return (self.folder / f"{name}.log").open("ab")

    @contextlib.asynccontextmanager
    async def upstream(self) -> AsyncIterator[subprocess.Popen[bytes]]:
        command = [sys.executable, "-m", "chatserver.testing.upstream", "--port", str(self.upstream_port)]
        with self.log("upstream") as log, process(command, machine.LOAD_CPU, log) as started:
            await wait_for(self.upstream_port, started)
            wire = Wire("127.0.0.1", self.upstream_port)
            models = [{"id": name, "object": "model", "context_length": WINDOW_TOKENS} for name in MODELS]
            assert (await wire.ask("POST", "/control", body={"models": models})).status == 200
            wire.close()
            yield started

    @contextlib.asynccontextmanager
    async def floor(self) -> AsyncIterator[Running]:
        port = free_port()
        command = [sys.executable, "-m", "benchmarks.floor", str(port)]
        address = f"http://127.0.0.1:{self.upstream_port}"
        with self.log("floor") as log, process(command, machine.SERVER_CPU, log, FLOOR_UPSTREAM=address) as started:
            await wait_for(port, started)
            yield Running(started.pid, port)

    @contextlib.asynccontextmanager
    async def server(self, workers: int = 1) -> AsyncIterator[Running]:
        """Several workers run on every processor, and so share one with the load."""
        port = free_port()
        command = [sys.executable, "-m", "chatserver", "serve", "--port", str(port), *self._places()]
        if workers > 1:
            command += ["--workers", str(workers)]
        cpu = machine.SERVER_CPU if workers == 1 else machine.ANY_CPU
        with self.log("server") as log, process(command, cpu, log, **self._database()) as started:
            await wait_for(port, started)
            running = Running(started.pid, port)
            await running.until_ready()
            yield running

    def prepare(self) -> None:
        """An account and its key, as a person would make them."""
        self.command("account", "create", "--email", EMAIL, "--role", "admin", "--password-stdin", text=PASSWORD)
        self.key = self.key_of(EMAIL)

    def key_of(self, email: str) -> str:
        return self.command("key", "create", "--account", email).strip().splitlines()[-1]

    async def open_database(self) -> Database:
        """To write into before a server starts."""
        if not self.database_url:
            return SqliteDatabase.open(self.data / "chatserver.sqlite", alone=True)
        from chatserver_postgres.database import PostgresDatabase

        opened: Database = await PostgresDatabase.open(self.database_url)
        return opened

    def _database(self) -> dict[str, str]:
        if not self.database_url:
            return {}
        return {"CHATSERVER_DATABASE_URL": self.database_url, "CHATSERVER_SECRET_KEY": SECRET}

    def _places(self) -> list[str]:
        return ["--data", str(self.data), "--config", str(self.config)]

    def command(self, *words: str, text: str = "") -> str:
        command = [sys.executable, "-m", "chatserver", *words, *self._places()]
        environment = _environment(**self._database())
        done = subprocess.run(command, input=text + "\n", capture_output=True, text=True, env=environment)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
        return done.stdout


class Running:
    """A server that listens."""

    def __init__(self, pid: int, port: int) -> None:
        self.pid, self.port = pid, port

    def wire(self) -> Wire:
        return Wire("127.0.0.1", self.port)

    async def until_ready(self) -> None:
        deadline = time.monotonic() + STARTS_WITHIN_S
        wire = self.wire()
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if (await wire.ask("GET", "/readyz")).status == 200:
                    wire.close()
                    return
            if machine.has_ended(self.pid):
                break
            await asyncio.sleep(0.02)
        raise SystemExit("The server listens, but is never ready; its words are in the log (--keep DIR keeps it).")
