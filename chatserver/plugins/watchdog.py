"""Name whoever blocks the event loop for over a second, by looking at the loop's own stack from another thread."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from types import FrameType

from chatserver import clock

BLOCKED_AFTER_S = 1.0
LOOK_EVERY_S = 0.25


class Watchdog:
    """Started and stopped on the loop it watches.

    on_block: called on the watchdog's thread, once per block, with (seconds so far, plugin or "", place in the code).
    packages: top-level package or module name → plugin.
    """

    def __init__(
        self,
        on_block: Callable[[float, str, str], None],
        packages: Callable[[], dict[str, str]],
        blocked_after_s: float = BLOCKED_AFTER_S,
    ) -> None:
        self._on_block = on_block
        self._packages = packages
        self._blocked_after_s = blocked_after_s
        self._look_every_s = min(LOOK_EVERY_S, blocked_after_s / 4)
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        assert self._thread is None
        loop, loop_thread = asyncio.get_running_loop(), threading.get_ident()
        self._thread = threading.Thread(
            target=self._watch, args=(loop, loop_thread), name="plugin-watchdog", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()

    def _watch(self, loop: asyncio.AbstractEventLoop, loop_thread: int) -> None:
        answered = threading.Event()
        answered.set()
        asked_at = 0.0
        is_reported = False
        while not self._stopped.wait(self._look_every_s):
            if answered.is_set():
                answered.clear()
                asked_at, is_reported = clock.monotonic_s(), False
                try:
                    loop.call_soon_threadsafe(answered.set)
                except RuntimeError:
                    return  # the loop was closed
                continue
            blocked_s = clock.monotonic_s() - asked_at
            if blocked_s >= self._blocked_after_s and not is_reported:
                is_reported = True
                plugin, place = blame(sys._current_frames().get(loop_thread), self._packages())
                self._on_block(blocked_s, plugin, place)


def blame(frame: FrameType | None, packages: dict[str, str]) -> tuple[str, str]:
    """(plugin, place) of the innermost frame that belongs to a plugin; ("", the innermost frame) when none does."""
    place = ""
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        here = f"{module}:{frame.f_lineno} in {frame.f_code.co_name}"
        plugin = packages.get(module) or packages.get(module.partition(".")[0])
        if plugin:
            return plugin, here
        place = place or here
        frame = frame.f_back
    return "", place
