"""A breaker keeps one (channel, model) out of the way after several failures in a row, and lets one probe find out."""

from __future__ import annotations

from typing import Literal

TRIP_FAILURES = 5
OPEN_S = 30.0
OPEN_MAX_S = 300.0
PROBE_S = 10.0
"""How long a probe is waited for before another may be sent."""

Standing = Literal["closed", "open", "half-open"]


class Breaker:
    """Times are monotonic seconds, given in. What a caller got wrong himself is never told here."""

    def __init__(self) -> None:
        self.failures = 0
        self.until = 0.0
        self.is_open = False
        self._pause_s = OPEN_S
        self._probe_id = ""
        self._probe_until = 0.0

    def succeed(self) -> bool:
        """Closed again, all forgotten. Whether it was open."""
        was_open = self.is_open
        self.failures, self.is_open, self._pause_s, self._probe_id = 0, False, OPEN_S, ""
        return was_open

    def fail(self, now: float) -> bool:
        """One more failure. Whether it opened now; a failed probe opens it again, for twice as long."""
        self.failures += 1
        if self.is_open:
            if now >= self.until:
                self._pause_s = min(self._pause_s * 2, OPEN_MAX_S)
                self.until = now + self._pause_s
                self._probe_id = ""
            return False
        if self.failures < TRIP_FAILURES:
            return False
        self.is_open, self.until, self._probe_id = True, now + self._pause_s, ""
        return True

    def release(self, call_id: str) -> None:
        """This call's probe told nothing: it was cancelled, or its question was at fault. Another may follow."""
        if self._probe_id == call_id:
            self._probe_id = ""

    def standing(self, now: float) -> Standing:
        if not self.is_open:
            return "closed"
        return "half-open" if now >= self.until else "open"

    def take_probe(self, call_id: str, now: float) -> bool:
        """Whether this call may be the one probe of a half-open breaker."""
        if self.standing(now) != "half-open" or (self._probe_id and now < self._probe_until):
            return False
        self._probe_id, self._probe_until = call_id, now + PROBE_S
        return True
