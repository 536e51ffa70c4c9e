"""Open event streams: head, heartbeat, and the end when a reader leaves, lingers too long or is signed out."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import structlog

from chatserver.clock import monotonic_s
from chatserver.domain.access import Actor
from chatserver.errors import LimitReached
from chatserver.web.limits import Most, now_most

log = structlog.get_logger("chatserver.streams")

HEARTBEAT_S = 15.0
LIFE_S = 3600.0
STALL_S = 60.0
CHECK_S = 2.0

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]
StillValid = Callable[[Sequence[Actor]], Awaitable[list[bool]]]
"""Whether each may still look; asked once every CHECK_S for all who do."""


def sse(data: bytes | str, *, event: str = "", event_id: int | None = None) -> bytes:
    """One server-sent event, lines ended by LF. data may hold line breaks."""
    raw = data if isinstance(data, bytes) else data.encode()
    head = b""
    if event_id is not None:
        head += b"id: %d\n" % event_id
    if event:
        head += b"event: %s\n" % event.encode()
    if b"\n" in raw or b"\r" in raw:
        lines = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        return head + b"".join(b"data: %s\n" % line for line in lines) + b"\n"
    return head + b"data: " + raw + b"\n\n"


class EventStream:
    """A reader's connection. `write` may be called by several tasks; chunks are kept whole."""

    __slots__ = ("_opened_s", "_receive", "_send", "_task", "_writing_since_s", "_wrote_s", "actor", "is_open")

    def __init__(self, actor: Actor, receive: Receive, send: Send) -> None:
        self.actor = actor
        self._send = send
        self._receive = receive
        self._opened_s = self._wrote_s = monotonic_s()
        self._writing_since_s: float | None = None
        self._task: asyncio.Task[None] | None = None
        self.is_open = False

    async def write(self, chunk: bytes) -> None:
        self._writing_since_s = self._wrote_s = monotonic_s()
        try:
            await self._send({"type": "http.response.body", "body": chunk, "more_body": True})
        finally:
            self._writing_since_s = None

    async def serve(self, produce: Callable[[EventStream], Awaitable[None]]) -> None:
        """Send the head, run `produce` until it ends or the reader leaves, close the response."""
        await self._send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [
                    (b"content-type", b"text/event-stream; charset=utf-8"),
                    (b"cache-control", b"no-store"),
                    (b"x-accel-buffering", b"no"),
                ],
            }
        )
        self.is_open = True
        self._task = asyncio.ensure_future(produce(self))
        leaving = asyncio.ensure_future(self._reader_leaves())
        try:
            await asyncio.wait({self._task, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.is_open = False
            for task in (self._task, leaving):
                task.cancel()
            results = await asyncio.gather(self._task, leaving, return_exceptions=True)
        failure = results[0]
        if isinstance(failure, Exception) and not isinstance(failure, OSError):
            log.error("stream_failed", error=type(failure).__name__, exc_info=failure)
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _reader_leaves(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def is_stalled(self, now_s: float) -> bool:
        return self._writing_since_s is not None and now_s - self._writing_since_s > STALL_S

    def is_old(self, now_s: float) -> bool:
        return now_s - self._opened_s > LIFE_S

    def is_quiet(self, now_s: float) -> bool:
        return self._writing_since_s is None and now_s - self._wrote_s > HEARTBEAT_S


class Streams:
    """All open streams of this node: beats their hearts, ends the stuck, the old, and those of the signed out."""

    def __init__(self, still_valid: StillValid, *, per_account: Most) -> None:
        self._still_valid = still_valid
        self._per_account = per_account
        self._open: set[EventStream] = set()
        self._by_account: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None
        self._writes: set[asyncio.Task[None]] = set()
        self.is_draining = False

    def __len__(self) -> int:
        return len(self._open)

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep_watch(), name="streams")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def serve(self, stream: EventStream, produce: Callable[[EventStream], Awaitable[None]]) -> None:
        """Raises LimitReached `streams_per_account` before a byte is sent."""
        account = stream.actor.account_id
        count = self._by_account.get(account, 0)
        if 0 < now_most(self._per_account) <= count:
            raise LimitReached(
                "Too many pages of yours are following answers. Close one.", code="streams_per_account", retry_after_s=5
            )
        self._by_account[account] = count + 1
        self._open.add(stream)
        try:
            await stream.serve(produce)
        finally:
            self._open.discard(stream)
            left = self._by_account.get(account, 1) - 1
            if left > 0:
                self._by_account[account] = left
            else:
                self._by_account.pop(account, None)

    async def drain(self) -> None:
        """Tell every reader to come back elsewhere, and close."""
        self.is_draining = True
        await self._dismiss(list(self._open))

    async def _keep_watch(self) -> None:
        while True:
            await asyncio.sleep(CHECK_S)
            now = monotonic_s()
            for stream in list(self._open):
                if stream.is_stalled(now):
                    stream.close()
                elif stream.is_quiet(now):
                    self._later(stream.write(b": beat\n\n"))
            await self._dismiss([stream for stream in self._open if stream.is_old(now)])
            await self._end_signed_out()

    async def _end_signed_out(self) -> None:
        actors = {(s.actor.account_id, s.actor.session_id, s.actor.key_id): s.actor for s in self._open}
        if not actors:
            return
        answers = await self._still_valid(list(actors.values()))
        gone = {identity for identity, is_valid in zip(actors, answers, strict=True) if not is_valid}
        for stream in list(self._open):
            if (stream.actor.account_id, stream.actor.session_id, stream.actor.key_id) in gone:
                stream.close()

    async def _dismiss(self, streams: Iterable[EventStream]) -> None:
        for stream in streams:
            self._later(self._farewell(stream))

    async def _farewell(self, stream: EventStream) -> None:
        if stream.is_open:
            await stream.write(sse(b"%d" % random.randrange(1000), event="reconnect"))
        stream.close()

    def _later(self, work: Awaitable[None]) -> None:
        task: asyncio.Task[None] = asyncio.ensure_future(_quietly(work))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)


async def _quietly(work: Awaitable[None]) -> None:
    """A write to a reader who may be gone."""
    try:
        await work
    except OSError:
        return
