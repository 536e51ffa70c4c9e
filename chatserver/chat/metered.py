"""A call that no channel serves, from its row to its end: begun when there is something to give, ended once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from chatserver.chat.meters import CallReport
from chatserver.clock import now_us
from chatserver.domain.calls import Attempt, Call, CallState, Usage
from chatserver.errors import ChatserverError, UpstreamError

Tell = Callable[[CallReport, asyncio.Future[None]], None]


class MeteredCall:
    """The row of a call that no channel serves: begun, and ended once."""

    def __init__(self, call: Call, kept: asyncio.Future[None], channel: str, tell: Tell) -> None:
        """kept: done when the row is there. tell: given how the call went, once."""
        self._tell = tell
        self._call = call
        self._kept = kept
        self._channel = channel
        self._first_at: int | None = None
        self._error: ChatserverError | None = None
        self._is_ended = False

    async def begun(self) -> None:
        """There is something to give: it is given when the call is kept."""
        if not self._kept.done():
            await asyncio.shield(self._kept)
        self._kept.result()
        self._first_at = now_us()

    def fail(self, error: ChatserverError) -> None:
        self._error = error

    def end(self, state: CallState, usage: Usage) -> None:
        if self._is_ended:
            return
        self._is_ended = True
        now = now_us()
        outcome = "done" if state == "done" else "cancelled"
        if self._error is not None:
            outcome = self._error.kind if isinstance(self._error, UpstreamError) else self._error.code
        attempt = Attempt(self._channel, outcome, self._call.started_at, now)
        code = self._error.code if self._error else ""
        self._tell(
            CallReport(self._call, state, self._channel, usage, (attempt,), self._first_at, now, code), self._kept
        )
