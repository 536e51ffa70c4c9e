"""Threads for plain functions of plugins: a bounded number, reused, and none of them keeps the process from ending."""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections.abc import Callable
from typing import Any

MOST_THREADS = 64
"""A function that hangs keeps its thread; its plugin is set aside long before this many are lost."""


class Threads:
    """The standard pool joins its threads at exit, so one hanging plugin would keep the server alive. These do not."""

    def __init__(self, most: int = MOST_THREADS) -> None:
        self._most = most
        self._waiting: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0
        self._count = 0

    def run(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> asyncio.Future[Any]:
        """Start it now; the future belongs to the running loop. Cancelling it abandons the thread, not the work."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        context = contextvars.copy_context()

        def work() -> None:
            try:
                result, error = context.run(function, *arguments), None
            except BaseException as raised:  # handed to the waiting side, whatever it is
                result, error = None, raised
            try:
                loop.call_soon_threadsafe(settle, future, result, error)
            except RuntimeError:
                return  # the loop was closed meanwhile: nobody waits any more

        with self._lock:
            self._idle -= 1  # below zero: work that waits for a thread
            is_short = self._idle < 0 and self._count < self._most
            if is_short:
                self._count += 1
                self._idle += 1
        self._waiting.put(work)
        if is_short:
            threading.Thread(target=self._serve, name=f"plugin-{self._count}", daemon=True).start()
        return future

    def _serve(self) -> None:
        while True:
            self._waiting.get()()
            with self._lock:
                self._idle += 1


def settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.cancelled():
        return
    if error is None:
        future.set_result(result)
    elif isinstance(error, (StopIteration, KeyboardInterrupt, SystemExit)):
        future.set_exception(RuntimeError(f"{type(error).__name__} raised in a plugin's thread"))
    else:
        future.set_exception(error)
