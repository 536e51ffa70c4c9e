"""An HTTP connection of the load generator: keeps alive, hands on bodies as they come, costs next to nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple, cast

import httptools
import msgspec

OnBody = Callable[[bytes], None]
_encode = msgspec.json.encode


class Answer(NamedTuple):
    """status 0: the connection broke."""

    status: int
    body: bytes


class Wire(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Answer] | None = None
        self._parts: list[bytes] = []
        self._on_body: OnBody | None = None

    async def ask(
        self, method: str, path: str, *, key: str = "", cookie: str = "", body: object = None,
        on_body: OnBody | None = None, accept: str = "*/*",
    ) -> Answer:  # fmt: skip
        """One request and its whole answer; on_body sees the pieces as they arrive."""
        if self._transport is None or self._transport.is_closing():
            loop = asyncio.get_running_loop()
            await asyncio.wait_for(loop.create_connection(lambda: self, self.host, self.port), 10)
        raw = b"" if body is None else _encode(body)
        head = [f"{method} {path} HTTP/1.1", f"Host: {self.host}:{self.port}", f"Accept: {accept}"]
        if body is not None:
            head += ["Content-Type: application/json", f"Content-Length: {len(raw)}"]
        if key:
            head.append(f"Authorization: Bearer {key}")
        if cookie:
            head.append(f"Cookie: {cookie}")
        self._parser = httptools.HttpResponseParser(self)
        self._parts, self._on_body = [], on_body
        self._waiting = asyncio.get_running_loop().create_future()
        assert self._transport is not None
        self._transport.write(("\r\n".join(head) + "\r\n\r\n").encode() + raw)
        return await self._waiting

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._finish(0)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)
        if self._on_body is not None:
            self._on_body(body)

    def on_message_complete(self) -> None:
        if not self._parser.should_keep_alive() and self._transport is not None:
            self._transport.close()
        self._finish(self._parser.get_status_code())

    def _finish(self, status: int) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(Answer(status, b"".join(self._parts)))
