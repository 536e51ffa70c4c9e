"""A small website and a resolver that say what they are told, for whoever fetches what a stranger named."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Sequence

Page = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]
"""An answer's bytes, verbatim, or something that writes them in its own time; the connection is closed after it."""


class Website:
    """Answers each path with what `pages` holds; keeps what was asked. `hung_up` is set when a visitor leaves early."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.port = 0
        self.pages: dict[str, Page] = {}
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        self.connections = 0
        self.hung_up = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._visits: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    async def start(self, port: int = 0) -> None:
        """Raises OSError when the port is taken."""
        self._server = await asyncio.start_server(self._accept, self.host, port or self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Also of one that never started."""
        if self._server is None:
            return
        self._server.close()
        for visit in self._visits:
            visit.cancel()
        await asyncio.gather(*self._visits, return_exceptions=True)
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        visit = asyncio.create_task(self._serve(reader, writer))
        self._visits.add(visit)

        def leave(visit: asyncio.Task[None]) -> None:
            self._visits.discard(visit)
            writer.close()  # also when the visit was called off before it began

        visit.add_done_callback(leave)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await self._answer(reader, writer):
                pass

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; True when the connection may be used for another."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        method, path, _ = head[0].split(" ")
        self.asked.append((f"{method} {path}", headers, body))
        shown = self.pages.get(path.partition("?")[0], page(404))
        if isinstance(shown, bytes):
            writer.write(shown)
            await writer.drain()
            return True
        watching = asyncio.create_task(self._watch(reader))
        try:
            await shown(writer)
            await writer.drain()
        except ConnectionError:
            self.hung_up.set()
            raise
        finally:
            watching.cancel()
        return False

    async def _watch(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read(1)
        self.hung_up.set()


def page(status: int = 200, body: bytes = b"", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Page", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Names:
    """A resolver: answers from `known`, each list in turn until the last; numbers as the system would read them."""

    def __init__(self) -> None:
        self.known: dict[str, list[list[str]]] = {}
        self.calls: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.calls.append(host)
        answers = self.known.get(host)
        if answers is not None:
            return answers.pop(0) if len(answers) > 1 else answers[0]
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        return [str(entry[4][0]) for entry in found]
