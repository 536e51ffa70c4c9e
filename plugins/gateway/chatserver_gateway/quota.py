"""What a channel may be asked in a minute and at once, counted on this node."""

from __future__ import annotations

from collections import deque

from chatserver import Channel

WINDOW_S = 60.0
PROMISE_S = 10.0
"""How long a place is kept for a call that was sent this way and has not begun yet."""


class Quota:
    """Of one channel. Times are monotonic seconds, given in."""

    def __init__(self) -> None:
        self._asked: deque[float] = deque()
        self._tokens: deque[tuple[float, int]] = deque()
        self._token_sum = 0
        self._under_way: dict[tuple[str, int], float] = {}
        self._promised: dict[str, float] = {}

    def promise(self, call_id: str, now: float) -> None:
        """This call is about to be made: of many that come at once, no more are sent here than there is room for."""
        self._promised.pop(call_id, None)
        self._promised[call_id] = now

    def withdraw(self, call_id: str) -> None:
        self._promised.pop(call_id, None)

    def start(self, call_id: str, number: int, now: float) -> None:
        self._forget(now)
        self.withdraw(call_id)
        self._asked.append(now)
        self._under_way[call_id, number] = now

    def end(self, call_id: str, number: int, tokens: int, now: float) -> None:
        self._under_way.pop((call_id, number), None)
        self._tokens.append((now, tokens))
        self._token_sum += tokens
        self._forget(now)

    def is_full(self, channel: Channel, now: float) -> bool:
        """Whether one more request would be over a limit of this channel."""
        if not is_limited(channel):
            return False
        self._forget(now)
        lost = [key for key, began in self._under_way.items() if now - began > channel.total_s + WINDOW_S]
        for key in lost:
            del self._under_way[key]
        promised = len(self._promised)
        return (
            0 < channel.requests_per_minute <= len(self._asked) + promised
            or 0 < channel.tokens_per_minute <= self._token_sum
            or 0 < channel.concurrency <= len(self._under_way) + promised
        )

    def _forget(self, now: float) -> None:
        while self._promised and now - next(iter(self._promised.values())) >= PROMISE_S:
            del self._promised[next(iter(self._promised))]
        while self._asked and now - self._asked[0] >= WINDOW_S:
            self._asked.popleft()
        while self._tokens and now - self._tokens[0][0] >= WINDOW_S:
            self._token_sum -= self._tokens.popleft()[1]


def is_limited(channel: Channel) -> bool:
    return bool(channel.requests_per_minute or channel.tokens_per_minute or channel.concurrency)
