"""Spans wait here a moment and go out together; a collector that is away costs spans and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable
from urllib.parse import unquote

from chatserver import ChatserverError, Context, Span, UpstreamError
from chatserver_otel.otlp import encode_spans

WAIT_S = 5.0
MOST_AT_ONCE = 500
MOST_WAITING = 5_000
SEND_S = 10.0
LAST_SEND_S = 3.0
VERSION = "0.1.0"
COLLECTOR = "collector"
"""What its notice is about."""


class Sender:
    """Started once; `add` may be called at any time and never waits."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._url = str(ctx.settings["endpoint"]).rstrip("/") + "/v1/traces"
        self._headers = {"content-type": "application/json", **read_headers(ctx.secret("headers") or "")}
        self._service = str(ctx.settings["service"])
        self._waiting: deque[Span] = deque()
        self._enough = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._count = ctx.metrics.counter("spans_total", "Spans that were sent to the collector, or lost", ["outcome"])

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep_sending(), name="otel")

    def add(self, spans: Iterable[Span]) -> None:
        self._waiting.extend(spans)
        surplus = len(self._waiting) - MOST_WAITING
        for _ in range(surplus):
            self._waiting.popleft()
        if surplus > 0:
            self._count.add(surplus, outcome="lost")
        if len(self._waiting) >= MOST_AT_ONCE:
            self._enough.set()

    async def stop(self) -> None:
        """What waits is sent, if the collector is quick."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_SEND_S):
                while self._waiting and await self.send_some():
                    pass

    async def _keep_sending(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WAIT_S):
                    await self._enough.wait()
            self._enough.clear()
            while self._waiting and await self.send_some():
                pass

    async def send_some(self) -> bool:
        """Whether the collector took them. Those of a refusal are lost, those of a silence wait for the next time."""
        batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_AT_ONCE))]
        body = encode_spans(batch, self._service, VERSION)
        try:
            sending = self._ctx.http.request(
                "POST", self._url, headers=self._headers, body=body, profile="channel", total_s=SEND_S
            )
            async with sending as answer:
                await answer.read(100_000)
                status = answer.status
        except UpstreamError as error:
            self._waiting.extendleft(reversed(batch))
            self._ctx.log.warning("collector_away", reason=error)
            await self._tell(error.kind)
            return False
        except asyncio.CancelledError:
            self._waiting.extendleft(reversed(batch))
            raise
        is_taken = 200 <= status < 300
        self._count.add(len(batch), outcome="sent" if is_taken else "lost")
        await self._tell("" if is_taken else f"status {status}")
        return is_taken

    async def _tell(self, problem: str) -> None:
        """The admins, once; and that it is over."""
        with contextlib.suppress(ChatserverError):
            if problem:
                await self._ctx.notices.tell(
                    COLLECTOR,
                    "Traces are not taken by the collector (%(problem)s). Check OTEL_EXPORTER_OTLP_ENDPOINT and what"
                    " listens there.",
                    problem=problem,
                )
            else:
                await self._ctx.notices.clear(COLLECTOR)


def read_headers(text: str) -> dict[str, str]:
    """`name=value,name=value`, the values percent-encoded where need be; what is neither is passed over."""
    pairs = (pair.partition("=") for pair in text.split(","))
    return {name.strip().lower(): unquote(value.strip()) for name, sign, value in pairs if sign and name.strip()}
