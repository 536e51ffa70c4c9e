"""The fake upstream itself: it listens, remembers, and is asked by tests."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from chatserver.testing.upstream.dialect import Dialect
from chatserver.testing.upstream.orders import Rule, ToolAsk, parse_options
from chatserver.testing.upstream.seen import Connection, Counters, Seen
from chatserver.testing.upstream.wire import Wire

KEPT_REQUESTS = 10_000
_encode = msgspec.json.Encoder().encode


class FakeUpstream:
    """`async with FakeUpstream() as upstream:` serves on a free port of 127.0.0.1; `upstream.base_url` ends in /v1.

    `requests`, `connections` and `counters` say what happened; `rules` and `models` may be set at any time; `until`
    waits for something to have happened.
    """

    def __init__(self, dialect: Dialect | None = None) -> None:
        self.dialect = dialect or Dialect()
        self.rules: list[Rule] = []
        self.tool_rounds: dict[str, list[list[ToolAsk]]] = {}
        self.models: list[dict[str, Any]] = [{"id": "fake", "object": "model"}, {"id": "fake-echo", "object": "model"}]
        self.requests: deque[Seen] = deque(maxlen=KEPT_REQUESTS)
        self.connections: deque[Connection] = deque(maxlen=KEPT_REQUESTS)
        self.counters = Counters()
        self.host = "127.0.0.1"
        self.port = 0
        self._server: asyncio.Server | None = None
        self.wires: set[Wire] = set()
        self._changed = threading.Condition()
        self._waiters: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._fault_number = 0

    @property
    def base_url(self) -> str:
        return f"http://{self.host}:{self.port}/v1"

    async def __aenter__(self) -> FakeUpstream:
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Wire(self, loop), host, port, backlog=4096)
        self.host, self.port = self._server.sockets[0].getsockname()[:2]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            for wire in list(self.wires):
                wire.abort()
            await self._server.wait_closed()
            self._server = None

    def reset(self) -> None:
        self.rules = []
        self.requests.clear()
        self.connections.clear()
        self.counters = Counters()

    async def until(self, is_true: Callable[[FakeUpstream], bool], timeout_s: float = 5.0) -> None:
        """Wait until it is true of this upstream, on whatever loop it runs; TimeoutError when it does not become so."""
        waiter = (asyncio.get_running_loop(), asyncio.Event())
        self._waiters.add(waiter)
        try:
            async with asyncio.timeout(timeout_s):
                while not is_true(self):
                    waiter[1].clear()
                    if not is_true(self):
                        await waiter[1].wait()
        finally:
            self._waiters.discard(waiter)

    def wait(self, is_true: Callable[[FakeUpstream], bool], timeout_s: float = 5.0) -> None:
        """`until` for tests that are not async, with the upstream in a thread."""
        with self._changed:
            if not self._changed.wait_for(lambda: is_true(self), timeout_s):
                raise TimeoutError("it did not become true of the fake upstream")

    def chats(self) -> list[Seen]:
        """The chat requests received, in order."""
        return [seen for seen in list(self.requests) if self.dialect.is_chat(seen.method, seen.path)]

    @classmethod
    @contextlib.contextmanager
    def in_thread(cls, port: int = 0, dialect: Dialect | None = None) -> Iterator[FakeUpstream]:
        """Serve from a thread with a loop of its own, for tests that are not async."""
        ready = threading.Event()
        finish: list[Callable[[], None]] = []
        made: list[FakeUpstream] = []

        async def serve() -> None:
            loop, done = asyncio.get_running_loop(), asyncio.Event()
            finish.append(lambda: _wake(loop, done))
            upstream = cls(dialect)
            try:
                await upstream.start(port=port)
                made.append(upstream)
            finally:
                ready.set()
            await done.wait()
            await upstream.stop()

        thread = threading.Thread(target=asyncio.run, args=(serve(),), name="fake-upstream", daemon=True)
        thread.start()
        ready.wait(10)
        assert made, "the fake upstream did not start"
        try:
            yield made[0]
        finally:
            finish[0]()
            thread.join(10)

    def notice(self) -> None:
        """Something happened: whoever waits looks again."""
        for loop, event in list(self._waiters):
            loop.call_soon_threadsafe(event.set)
        with self._changed:
            self._changed.notify_all()

    def options_for(self, model: str, key: str) -> tuple[dict[str, int], str]:
        options, answer = parse_options(model), ""
        for rule in self.rules:
            if rule.key in ("*", key) and rule.model in ("*", model):
                options.update(parse_options(rule.options))
                answer = rule.answer or answer
        return options, answer

    def asks_of(self, model: str, messages: Sequence[Any]) -> list[ToolAsk]:
        """The calls of the round a request is in."""
        number = self.dialect.round_of(messages)
        rounds = self.tool_rounds.get(model, [])
        return rounds[number] if number < len(rounds) else []

    def is_faulty(self, options: dict[str, int]) -> bool:
        """Faults are spread evenly, without chance: p25 hits every fourth request."""
        percent = options.get("p", 100)
        self._fault_number += 1
        return self._fault_number * percent // 100 != (self._fault_number - 1) * percent // 100

    def report(self) -> bytes:
        return _encode(
            {
                "counters": self.counters,
                "connections": list(self.connections),
                "requests": [
                    {
                        "method": seen.method,
                        "path": seen.path,
                        "headers": seen.headers,
                        "body": seen.body.decode("utf-8", "replace"),
                        "at_ns": seen.at_ns,
                    }
                    for seen in self.requests
                ],
            }
        )


def _wake(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    loop.call_soon_threadsafe(event.set)
