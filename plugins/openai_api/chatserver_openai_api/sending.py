"""Answers over plain ASGI: a whole one, or a stream of events to a client that may leave at any moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from chatserver import ChatserverError

JSON = [(b"content-type", b"application/json")]
EVENTS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]


async def read_body(receive: Any) -> bytes:
    """What the door read already: one message."""
    message = await receive()
    body: bytes = message.get("body", b"")
    return body


async def send_json(send: Any, body: bytes) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [*JSON, (b"content-length", b"%d" % len(body))],
        }
    )
    await send({"type": "http.response.body", "body": body})


class Watch:
    """Notices when a client hangs up. Only a task that reads the connection hears of it.

    leave: called then, once. is_gone: whether it did.
    """

    def __init__(self, receive: Any, leave: Callable[[], None] | None = None) -> None:
        self._receive = receive
        self._leave = leave
        self._task: asyncio.Task[None] | None = None
        self.is_gone = False

    async def __aenter__(self) -> Watch:
        self._task = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *told: object) -> None:
        assert self._task is not None
        self._task.cancel()

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.is_gone = True
        if self._leave is not None:
            self._leave()


async def send_events(send: Any, events: AsyncIterator[bytes], write_error: Any) -> None:
    """Begin with the first event, so that what fails before it gets a status of its own. What fails after is told as
    an event."""
    try:
        first = await anext(events)
    except StopAsyncIteration:
        first = b""
    await send({"type": "http.response.start", "status": 200, "headers": EVENTS})
    await send({"type": "http.response.body", "body": first, "more_body": True})
    try:
        async for event in events:
            await send({"type": "http.response.body", "body": event, "more_body": True})
    except ChatserverError as error:
        await send({"type": "http.response.body", "body": write_error(error), "more_body": True})
    await send({"type": "http.response.body", "body": b""})
