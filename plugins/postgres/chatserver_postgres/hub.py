"""One thread in which many wait for the server at once: while one waits, the thread goes on with another."""

from __future__ import annotations

import heapq
import itertools
import select
import socket
import threading
from collections import deque
from collections.abc import Callable

from greenlet import getcurrent, greenlet

from chatserver import clock

LONGEST_S = 3_600.0


class Hub:
    """What is started runs in the hub's thread, and gives it up only in `wait`, `pause`, `aside` and `rest`."""

    def __init__(self, name: str) -> None:
        self._root: greenlet | None = None
        self._ready: deque[greenlet | Callable[[], None]] = deque()
        self._waiting: dict[int, greenlet] = {}
        self._timers: list[tuple[float, int, greenlet]] = []
        self._numbers = itertools.count()
        self._poller = select.poll()
        self._is_awake = True
        self._is_closed = False
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._poller.register(self._woken.fileno(), select.POLLIN)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def call(self, function: Callable[[], None]) -> None:
        """Run it soon in the hub's thread; from any thread. It must not wait, nor raise."""
        self._ready.append(function)
        self._wake()

    def start(self, function: Callable[[], None]) -> None:
        """In the hub's thread. What is started may wait, and must not raise."""
        self._ready.append(greenlet(function, self._root))

    def resume(self, resting: greenlet) -> None:
        """From any thread, once for each `rest`."""
        self._ready.append(resting)
        self._wake()

    def close(self) -> None:
        """Once nothing that was started is left; blocking."""
        self._is_closed = True
        self._wake()
        self._thread.join()

    def wait(self, descriptor: int, or_takes_more: bool) -> None:
        """Until there is something to read, or the other side is gone."""
        self._waiting[descriptor] = getcurrent()
        self._poller.register(descriptor, select.POLLIN | select.POLLOUT if or_takes_more else select.POLLIN)
        self._switch()

    def pause(self, seconds: float) -> None:
        timer = (clock.monotonic_s() + seconds, next(self._numbers), getcurrent())
        heapq.heappush(self._timers, timer)
        self._switch()

    def rest(self) -> None:
        """Until somebody calls `resume`."""
        self._switch()

    def aside(self, function: Callable[[], None]) -> None:
        """Run what may block in a thread of its own, and wait for it. Raises what it raises."""
        me = getcurrent()
        raised: list[BaseException] = []

        def work() -> None:
            try:
                function()
            except BaseException as error:  # it goes to whoever waits
                raised.append(error)
            self.resume(me)

        threading.Thread(target=work, name="postgres-aside", daemon=True).start()
        self._switch()
        if raised:
            raise raised[0]

    def _switch(self) -> None:
        assert self._root is not None
        self._root.switch()

    def _wake(self) -> None:
        if not self._is_awake:
            self._is_awake = True
            self._waker.send(b"\0")

    def _run(self) -> None:
        self._root = getcurrent()
        while not self._is_closed:
            while self._ready:
                one = self._ready.popleft()
                if isinstance(one, greenlet):
                    one.switch()
                else:
                    one()
            self._is_awake = False  # before the last look, so that whoever comes after it wakes us
            self._sleep(0.0 if self._ready or self._is_closed else self._until_timer_s())
            self._is_awake = True
            while self._timers and self._timers[0][0] <= clock.monotonic_s():
                self._ready.append(heapq.heappop(self._timers)[2])
        self._woken.close()
        self._waker.close()

    def _sleep(self, longest_s: float) -> None:
        """Until one of those that wait may go on, or somebody wakes us."""
        for descriptor, _ in self._poller.poll(longest_s * 1000):
            if descriptor == self._woken.fileno():
                self._woken.recv(4096)
            else:
                self._poller.unregister(descriptor)
                self._ready.append(self._waiting.pop(descriptor))

    def _until_timer_s(self) -> float:
        return max(0.0, self._timers[0][0] - clock.monotonic_s()) if self._timers else LONGEST_S
