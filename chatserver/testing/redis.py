"""A Redis server for tests, from the system's package redis-server: on a socket of its own, and it forgets."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

from chatserver.clock import monotonic_s


class RedisServer:
    """start(), kill() and start() again give the same `url`; pause() and go_on() are SIGSTOP and SIGCONT."""

    def __init__(self) -> None:
        program = shutil.which("redis-server")
        assert program is not None, "install the system's package redis-server for the tests of the bus on Redis"
        self._program = program
        self.folder = Path(tempfile.mkdtemp(prefix="chatserver-redis-"))
        self._socket = self.folder / "redis.sock"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    def start(self) -> RedisServer:
        words = ["--port", "0", "--unixsocket", str(self._socket), "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(
            [self._program, *words, "--dir", str(self.folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until_s = monotonic_s() + 10
        while self.ask("PING") != "+PONG":
            assert monotonic_s() < until_s and self._process.poll() is None, "redis-server did not start"
        return self

    def ask(self, command: str) -> str:
        """One command, and the first line of its answer; '' when there is none."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(2)
            try:
                client.connect(str(self._socket))
                client.sendall(command.encode() + b"\r\n")
                return client.recv(4_096).decode().partition("\r\n")[0]
            except OSError:
                return ""

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _signal(self, sign: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(sign)
