"""What a channel may be asked in a minute and at once, counted on this node."""

from __future__ import annotations

from collections import deque

from chatserver import Channel

WINDOW_S = 60.0


class Quota:
    """Of one channel. Times are monotonic seconds, given in."""

    def __init__(self) -> None:
        self._asked: deque[float] = deque()
        self._tokens: deque[tuple[float, int]] = deque()
        self._token_sum = 0
        self._under_way: dict[tuple[str, int], float] = {}

    def start(self, call_id: str, number: int, now: float) -> None:
        self._forget(now)
        self._asked.append(now)
        self._under_way[call_id, number] = now

    def end(self, call_id: str, number: int, tokens: int, now: float) -> None:
        self._under_way.pop((call_id, number), None)
        self._tokens.append((now, tokens))
        self._token_sum += tokens
        self._forget(now)

    def is_full(self, channel: Channel, now: float) -> bool:
        """Whether one more request would be over a limit of this channel."""
        if not (channel.requests_per_minute or channel.tokens_per_minute or channel.concurrency):
            return False
        self._forget(now)
        lost = [key for key, began in self._under_way.items() if now - began > channel.total_s + WINDOW_S]
        for key in lost:
            del self._under_way[key]
        return (
            0 < channel.requests_per_minute <= len(self._asked)
            or 0 < channel.tokens_per_minute <= self._token_sum
            or 0 < channel.concurrency <= len(self._under_way)
        )

    def _forget(self, now: float) -> None:
        while self._asked and now - self._asked[0] >= WINDOW_S:
            self._asked.popleft()
        while self._tokens and now - self._tokens[0][0] >= WINDOW_S:
            self._token_sum -= self._tokens.popleft()[1]
