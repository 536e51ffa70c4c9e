"""Count the faults of each plugin and say when it has had enough."""

from __future__ import annotations

from collections import deque

import msgspec

from chatserver import clock

MOST_FAULTS = 5
WITHIN_S = 60.0
MOST_NOTICES = 100


class Notice(msgspec.Struct, frozen=True):
    """Something an admin should know. at: microseconds UTC."""

    plugin: str
    sentence: str
    at: int


class Faults:
    """Faults by plugin within the last minute, and the notices that came of them."""

    def __init__(self) -> None:
        self._times: dict[str, deque[float]] = {}
        self.notices: deque[Notice] = deque(maxlen=MOST_NOTICES)

    def count(self, plugin: str) -> bool:
        """Record one; true when it is the fifth within a minute, which starts the count anew."""
        now_s = clock.monotonic_s()
        times = self._times.setdefault(plugin, deque(maxlen=MOST_FAULTS))
        times.append(now_s)
        if len(times) == MOST_FAULTS and now_s - times[0] <= WITHIN_S:
            times.clear()
            return True
        return False

    def forget(self, plugin: str) -> None:
        self._times.pop(plugin, None)

    def notify(self, plugin: str, sentence: str) -> None:
        self.notices.append(Notice(plugin, sentence, clock.now_us()))
