"""An S3 service for tests: moto's server in a process of its own, on loopback, and it forgets."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys

from chatserver.clock import monotonic_s

START_S = 30.0


class S3Server:
    """start(), then create() buckets; kill() and start() again give the same `endpoint`, empty."""

    def __init__(self) -> None:
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> S3Server:
        if not self.port:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self.port = free.getsockname()[1]
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until_s = monotonic_s() + START_S
        while not self._answers():
            assert monotonic_s() < until_s and self._process.poll() is None, "moto's server did not start"
        return self

    def create(self, bucket: str) -> str:
        """An empty bucket; its name."""
        assert self._ask("PUT", f"/{bucket}") == 200
        return bucket

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def _answers(self) -> bool:
        try:
            return self._ask("GET", "/") == 200
        except OSError:
            return False

    def _ask(self, method: str, path: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request(method, path)
            return connection.getresponse().status
        finally:
            connection.close()
