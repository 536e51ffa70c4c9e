"""The server around the app: a polite end, and no patience with half-open, endless or too many connections."""

from __future__ import annotations

import asyncio
import contextlib
import http
import socket
from asyncio import TimerHandle
from collections import Counter
from types import FrameType
from typing import Any

import structlog
import uvicorn
from litestar import Litestar
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from chatserver.clock import monotonic_s, new_id
from chatserver.errors import SetupError
from chatserver.house import House
from chatserver.web.app import create_app
from chatserver.web.headers import default_headers
from chatserver.web.security import Origin, TrustedProxies
from chatserver.web.siblings import Siblings

log = structlog.get_logger("chatserver.server")

HEAD_S = 10.0
"""A request line and its headers must be here within this, from the first byte or the opened connection."""
HEAD_MAX_BYTES = 16_384
BODY_FREE_S = 10.0
BODY_MIN_BYTES_PER_S = 1024
"""After the free seconds a body must have come at this rate on average."""
KEEP_ALIVE_S = 5
WRITE_STALL_S = 60.0
"""A reader who takes nothing for so long is dropped."""
SEND_BUFFER_BYTES = 65_536
BACKLOG = 2048
DRAIN_POLL_S = 0.05
LAST_ANSWERS_S = 1.0
"""After the drain: how long requests under way may still take. Grace and this make up the longest exit."""


class _Doorkeeper:
    """What all connections of a server share."""

    def __init__(self, house: House) -> None:
        self._limits = house.limits
        self.proxies = TrustedProxies(house.trusted_proxies)
        self.open: Counter[str] = Counter()
        headers = default_headers(Origin(house.public_url))
        self.head = b"".join(name + b": " + value + b"\r\n" for name, value in headers)

    @property
    def per_address(self) -> int:
        return self._limits["connections_per_address"]


class Protocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1, with limits: it would wait for ever for the rest of a request."""

    doorkeeper: _Doorkeeper

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._peer = ""
        self._head_bytes = 0
        self._head_timer: TimerHandle | None = None
        self._body_timer: TimerHandle | None = None
        self._stall_timer: TimerHandle | None = None
        self._body_began_s = 0.0
        self._body_bytes = 0
        self._is_in_head = False
        self._refusal: tuple[int, str, str] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._peer = self.client[0] if self.client else ""
        transport.set_write_buffer_limits(high=SEND_BUFFER_BYTES)
        keeper = self.doorkeeper
        keeper.open[self._peer] += 1
        if 0 < keeper.per_address < keeper.open[self._peer] and self._peer not in keeper.proxies:
            name = "connections_per_address"
            self._refuse(429, name, f"That is more than the limit {name} allows. Try again in 5 s.")
            return
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timers()
        open_ = self.doorkeeper.open
        open_[self._peer] -= 1
        if open_[self._peer] <= 0:
            del open_[self._peer]
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        is_idle = self.cycle is None or self.cycle.response_complete
        if (
            is_idle
            and not self._is_in_head
            and self.timeout_keep_alive_task is None
            and not self.transport.is_closing()
        ):
            self._expect_head()  # a stray line break, or the end of a body nobody waited for

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_in_head = True
        self._head_bytes = 0
        self._expect_head()

    def on_url(self, url: bytes) -> None:
        self._count_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        self._head_timer = _cancel(self._head_timer)
        self._body_bytes = 0
        self._body_began_s = monotonic_s()
        if self._expects_body():
            self._body_timer = _cancel(self._body_timer)
            self._body_timer = self.loop.call_later(BODY_FREE_S, self._check_body)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._body_timer = _cancel(self._body_timer)
        super().on_message_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall_timer = _cancel(self._stall_timer)
        self._stall_timer = self.loop.call_later(WRITE_STALL_S, self._drop)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stall_timer = _cancel(self._stall_timer)

    def send_400_response(self, msg: str) -> None:
        """What the parser cannot read; also where a head that grew too large ends up."""
        status, code, message = self._refusal or (400, "bad_request", "This is not HTTP/1.1 as we know it.")
        self._refuse(status, code, message)

    def _unsupported_upgrade_warning(self) -> None:
        """Nobody is told of an upgrade that is not offered; the request is answered as a plain one."""

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEAD_MAX_BYTES:
            self._refusal = (431, "head_too_large", "The address and headers of this request are larger than 16 kB.")
            raise ValueError("head too large")  # the parser turns it into its own error

    def _expects_body(self) -> bool:
        for name, value in self.headers:
            if name == b"transfer-encoding" or (name == b"content-length" and value != b"0"):
                return True
        return False

    def _expect_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_S, self._time_out)

    def _check_body(self) -> None:
        due_bytes = (monotonic_s() - self._body_began_s - BODY_FREE_S + 1) * BODY_MIN_BYTES_PER_S
        if self.flow.read_paused or self._body_bytes >= due_bytes:
            self._body_timer = self.loop.call_later(1, self._check_body)
        elif self.cycle is not None and self.cycle.response_started:
            self._drop()  # answered already: nobody waits for another word
        else:
            self._time_out()

    def _time_out(self) -> None:
        self._refuse(408, "too_slow", "The request did not arrive in time.")

    def _refuse(self, status: int, code: str, message: str) -> None:
        """An answer from below the app, then the end of the connection."""
        if self.transport.is_closing():
            return
        self._cancel_timers()
        request_id = new_id().encode()
        body = b'{"error":{"code":"%s","message":"%s","request_id":"%s"}}' % (
            code.encode(),
            message.encode(),
            request_id,
        )
        retry = b"retry-after: 5\r\n" if status in (408, 429) else b""
        self.transport.write(
            b"HTTP/1.1 %d %s\r\n" % (status, http.HTTPStatus(status).phrase.encode())
            + self.doorkeeper.head
            + retry
            + b"x-request-id: "
            + request_id
            + b"\r\n"
            + b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
            + body
        )
        self.transport.close()

    def _drop(self) -> None:
        self.transport.abort()

    def _cancel_timers(self) -> None:
        self._head_timer = _cancel(self._head_timer)
        self._body_timer = _cancel(self._body_timer)
        self._stall_timer = _cancel(self._stall_timer)


class Server(uvicorn.Server):
    """Ends politely: at the signal the drain flag goes up and readers are told to come back; while running turns use
    their grace the server still answers (readyz 503); then it closes, with exit code 0. A second signal ends the grace.
    """

    def __init__(self, config: uvicorn.Config, house: House, app: Litestar) -> None:
        super().__init__(config)
        self._house = house
        self._app = app
        self._signals = 0
        self._drain: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def _serve(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super()._serve(sockets)

    async def serve_quietly(self, sockets: list[socket.socket]) -> None:
        """`serve` without taking the process's signals: for tests, which call `handle_exit` themselves."""
        await self._serve(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Runs between two bytecodes of the loop's thread; nothing is re-raised after a clean end."""
        self._signals += 1
        if self._signals == 1 and self.started and self._loop is not None:
            self._house.drain()
            self._loop.call_soon_threadsafe(self._begin_drain)
        else:
            self.should_exit = True
            self.force_exit = self._signals > 2

    def _begin_drain(self) -> None:
        self._drain = asyncio.get_running_loop().create_task(self._drain_and_exit(), name="drain")

    async def _drain_and_exit(self) -> None:
        log.info("draining", turns=len(self._house.live), grace_s=self._house.grace_s)
        try:
            await self._app.state.streams.drain()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._house.grace_s):
                    await self._turns_end()
        finally:
            self.should_exit = True

    async def _turns_end(self) -> None:
        while self._house.unfinished and not self.should_exit:  # a turn has many ways to end
            await asyncio.sleep(DRAIN_POLL_S)


def bind(host: str, port: int) -> socket.socket:
    """A listening socket whose connections keep little in the kernel for a reader that is stuck. port 0: any."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise SetupError(
            f"Cannot listen on {host} port {port}: {error.strerror}. Choose another with --port, or stop what uses it."
        ) from None
    listener.setblocking(False)
    return listener


async def serve(house: House, listener: socket.socket, siblings: Siblings | None = None) -> None:
    """Serve a started house on a socket from `bind` until a signal ends it. Stopping the house is the caller's.
    siblings: the other processes that serve this socket."""
    await run(create_app(house, siblings), listener, house)


async def run(app: Litestar, listener: socket.socket, house: House) -> None:
    """Serve the app. Returns after a polite end; the exit code is then 0."""
    await make_server(app, house).serve(sockets=[listener])


def make_server(app: Litestar, house: House) -> Server:
    """uvicorn as we want it; `serve` takes the process's signals, which a test does not want."""
    protocol = type("HouseProtocol", (Protocol,), {"doorkeeper": _Doorkeeper(house)})
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=LAST_ANSWERS_S,  # type: ignore[arg-type]
    )
    return Server(config, house, app)


def _cancel(timer: TimerHandle | None) -> TimerHandle | None:
    """Stop a timer, if there is one; what it is replaced by."""
    if timer is not None:
        timer.cancel()
    return None
