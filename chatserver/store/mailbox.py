"""The way back from a database thread to an event loop: many results with one wake-up."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable
from typing import Any

Outcome = tuple["asyncio.Future[Any]", Any, BaseException | None]


class Mailbox:
    """Results for the waiters of one loop. post: from any thread. A waiter who was cancelled is passed over."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._outcomes: deque[Outcome] = deque()
        self._is_woken = False

    def post(self, outcomes: Iterable[Outcome]) -> None:
        self._outcomes.extend(outcomes)
        if not self._is_woken:
            self._is_woken = True
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self.loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._is_woken = False  # before the first popleft, so that what is posted from now on wakes us again
        outcomes = self._outcomes
        while outcomes:
            future, value, error = outcomes.popleft()
            if future.done():
                continue
            if error is None:
                future.set_result(value)
            elif isinstance(error, StopIteration):  # a future refuses this one
                future.set_exception(RuntimeError("A unit raised StopIteration."))
            else:
                future.set_exception(error)
