"""A real server in a process of its own, made for a test: fresh data, a fake vendor behind it, killed when asked."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

NO_LIMITS = {
    "turns_per_account": 0,
    "turns_per_node": 0,
    "streams_per_account": 0,
    "connections_per_address": 0,
    "sends_per_minute": 0,
    "api_requests_per_minute": 0,
}
"""For tests that are about something else."""


class RunningServer:
    """`chatserver serve` over a folder. start() returns when it answers; kill() is kill -9; the data stays.

    options: further ones of `serve`.
    """

    def __init__(
        self,
        folder: Path,
        upstream_url: str,
        *,
        models: Sequence[str] = ("fake-n5",),
        limits: Mapping[str, int] = NO_LIMITS,
        toml: str = "",
        environment: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.options = options
        self.log = folder / "server.log"
        self.config = folder / "chatserver.toml"
        self.data = folder / "data"
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        names = ", ".join(f'"{model}"' for model in models)
        limited = "\n".join(f"{name} = {value}" for name, value in limits.items())
        channel = (
            f'[[channels]]\nname = "fake"\nprovider = "openai"\nbase_url = "{upstream_url}"\napi_key = "sk-fake"\n'
            f"models = [{names}]\n"
            if upstream_url
            else ""
        )
        self.config.write_text(f'[limits]\n{limited}\n[plugins]\ndisabled = ["local"]\n{channel}\n{toml}')
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "CHATSERVER_"))}
        self.environment = {
            **kept,
            "CHATSERVER_DATA": str(self.data),
            "CHATSERVER_CONFIG": str(self.config),
            **(environment or {}),
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "chatserver", *words]

    def run(self, *words: str, given: str = "") -> str:
        """Another command on the same data; its standard output."""
        done = subprocess.run(
            self.command(*words), input=given, env=self.environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr or done.stdout
        return done.stdout

    def start(self, timeout_s: float = 30.0) -> RunningServer:
        """Serve on a free port; the same one after a restart."""
        with self.log.open("ab") as log:
            written = log.tell()
            command = self.command("serve", "--port", str(self.port), *self.options)
            self.process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            said = self.log.read_bytes()[written:].decode(errors="replace")
            if self.port == 0 and (found := re.search(r"on http://127\.0\.0\.1:(\d+)", said)):
                self.port = int(found[1])
            if self.port and self._answers():
                return self
            if self.process.poll() is not None:
                break
            select_nothing(0.02)
        raise AssertionError(f"the server did not start:\n{said}")

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def setup_link(self) -> str:
        found = re.findall(r"http://\S+/setup/\S+", self.log.read_text())
        assert found, "no one-time link was printed"
        return str(found[-1])

    def account(self, email: str, password: str = "correct horse battery", role: str = "member") -> str:
        """Make an account that can sign in; returns an API key of it."""
        self.run("account", "create", "--email", email, "--role", role, "--password-stdin", given=password + "\n")
        return self.run("key", "create", "--account", email).strip()

    def kill(self) -> None:
        """kill -9, at once."""
        self._end(signal.SIGKILL)

    def stop(self, timeout_s: float = 45.0, sign: int = signal.SIGTERM) -> int:
        """Politely; the exit code."""
        return self._end(sign, timeout_s)

    def _end(self, sign: int, timeout_s: float = 10.0) -> int:
        if self.process is None:
            return 0
        process, self.process = self.process, None
        if process.poll() is None:
            process.send_signal(sign)
        try:
            return process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)
            raise AssertionError(f"the server did not end within {timeout_s} s") from None


def select_nothing(seconds: float) -> None:
    """Give the other process a moment: there is nothing to be told by while it starts."""
    import select

    select.select([], [], [], seconds)
