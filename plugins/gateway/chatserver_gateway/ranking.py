"""Which channel is asked first: tiers, shares, and who had better rest. Hears of every attempt on this node."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from chatserver import AttemptEnd, AttemptStart, Candidate, Candidates, Channel, ModelUse
from chatserver_gateway.breaker import Breaker
from chatserver_gateway.quota import Quota, is_limited
from chatserver_gateway.wheel import Wheel

CHANNEL_AT_FAULT = frozenset(
    {"connect", "timeout", "rate_limit", "overloaded", "server", "cut", "not_found", "provider"}
)
"""Outcomes that speak against a channel. What the caller got wrong, and a reader who left, do not."""
REFUSED_S = 300.0
"""How often a channel whose key was refused is tried again."""
REST_MAX_S = 300.0
PROMISES_LIMIT = 10_000

Pair = tuple[str, str]
"""A channel's name and a model's."""
How = Literal["well", "open", "half-open", "resting", "key_refused", "pair_refused"]
News = Literal["opened", "closed", "key_refused", "pair_refused", "key_accepted", "pair_accepted"]


class Refusal(msgspec.Struct):
    """When a refused key may be tried again, and by which call."""

    again_at: float
    call_id: str = ""


class Standing(msgspec.Struct, frozen=True):
    """How a pair stands on this node, and for how many seconds more."""

    state: How
    failures: int = 0
    for_s: int = 0


class Ranker:
    """clock: monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._wheels: defaultdict[tuple[str, int], Wheel] = defaultdict(Wheel)
        self._breakers: defaultdict[Pair, Breaker] = defaultdict(Breaker)
        self._quotas: defaultdict[str, Quota] = defaultdict(Quota)
        self._promises: dict[str, str] = {}
        self._rests: dict[Pair, float] = {}
        self._keys: dict[str, Refusal] = {}
        self._pairs: dict[Pair, Refusal] = {}
        self._marks: dict[str, str] = {}

    def rank(self, candidates: Candidates, use: ModelUse) -> Candidates:
        """Best first: the tiers, each with whose turn it is first and a probe before it; then who is over a limit, then
        whose breaker is open. Whose key is refused is left out unless nobody else is left."""
        now = self._clock()
        well: defaultdict[int, list[Candidate]] = defaultdict(list)
        probes: defaultdict[int, list[Candidate]] = defaultdict(list)
        busy, shut, refused = [], [], []
        for one in candidates:
            channel, pair = one.channel, (one.channel.name, use.model)
            self._note_key(channel)
            breaker = self._breakers.get(pair)
            if self._is_refused(pair, use.call_id, now):
                refused.append(one)
            elif breaker is not None and breaker.is_open:
                if breaker.take_probe(use.call_id, now):
                    probes[channel.priority].append(one)
                else:
                    shut.append((breaker.until, one))
            elif self._rests.get(pair, 0.0) > now or self._quotas[channel.name].is_full(channel, now):
                busy.append((-channel.priority, self._rests.get(pair, 0.0), one))
            else:
                well[channel.priority].append(one)
        ranked: list[Candidate] = []
        for priority in sorted({*well, *probes}, reverse=True):
            ranked += probes[priority] + self._in_turn(use.model, priority, well[priority])
        ranked += [one for _, _, one in sorted(busy, key=lambda it: it[:2])]
        ranked += [one for _, one in sorted(shut, key=lambda it: it[0])]
        ranked = ranked or refused
        if ranked and is_limited(ranked[0].channel):
            self._promise(ranked[0].channel.name, use.call_id, now)
        return tuple(ranked)

    def _promise(self, channel: str, call_id: str, now: float) -> None:
        """Keep a place for this call until it begins, here or elsewhere."""
        if len(self._promises) >= PROMISES_LIMIT:
            self._promises.clear()
        self._promises[call_id] = channel
        self._quotas[channel].promise(call_id, now)

    def _in_turn(self, model: str, priority: int, peers: Sequence[Candidate]) -> list[Candidate]:
        by_name = {one.channel.name: one for one in peers}
        weights = {name: one.channel.weight for name, one in by_name.items()}
        return [by_name[name] for name in self._wheels[model, priority].turn(weights)]

    def _note_key(self, channel: Channel) -> None:
        """A changed key is a new beginning for its channel."""
        mark = hashlib.blake2b(f"{channel.base_url}\0{channel.api_key}".encode(), digest_size=8).hexdigest()
        if self._marks.get(channel.name, mark) != mark:
            self._keys.pop(channel.name, None)
            for pair in [pair for pair in (*self._pairs, *self._breakers, *self._rests) if pair[0] == channel.name]:
                self._pairs.pop(pair, None)
                self._breakers.pop(pair, None)
                self._rests.pop(pair, None)
        self._marks[channel.name] = mark

    def _is_refused(self, pair: Pair, call_id: str, now: float) -> bool:
        """One call in five minutes is let through, to find out."""
        for refusal in (self._keys.get(pair[0]), self._pairs.get(pair)):
            if refusal is not None and refusal.call_id != call_id:
                if now < refusal.again_at:
                    return True
                refusal.again_at, refusal.call_id = now + REFUSED_S, call_id
        return False

    # --- what happened ----------------------------------------------------------------------------------------------

    def started(self, start: AttemptStart) -> None:
        if (promised := self._promises.pop(start.call_id, "")) and promised != start.channel:
            self._quotas[promised].withdraw(start.call_id)
        self._quotas[start.channel].start(start.call_id, start.number, self._clock())

    def ended(self, end: AttemptEnd) -> list[News]:
        """What has changed by it, for those who tell the admins."""
        now, pair = self._clock(), (end.channel, end.model)
        tokens = end.usage.tokens if end.usage is not None else 0
        self._quotas[end.channel].end(end.call_id, end.number, tokens, now)
        news: list[News] = []
        if end.outcome == "done":
            self._rests.pop(pair, None)
            if pair in self._breakers and self._breakers[pair].succeed():
                news.append("closed")
            if self._keys.pop(end.channel, None):
                news.append("key_accepted")
            if self._pairs.pop(pair, None):
                news.append("pair_accepted")
        elif end.outcome == "key_refused":
            news.append("key_refused")
            self._keys[end.channel] = Refusal(now + REFUSED_S)
        elif end.outcome == "pair_refused":
            news.append("pair_refused")
            self._pairs[pair] = Refusal(now + REFUSED_S)
        elif end.outcome in CHANNEL_AT_FAULT:
            if end.retry_after_s is not None:
                self._rests[pair] = now + min(end.retry_after_s, REST_MAX_S)
            is_told_to_wait = end.outcome == "rate_limit" and end.retry_after_s is not None
            if not is_told_to_wait and self._breakers[pair].fail(now):
                news.append("opened")
        if pair in self._breakers:
            self._breakers[pair].release(end.call_id)
        return news

    def standing(self, channel: str, model: str) -> Standing:
        now, pair = self._clock(), (channel, model)
        if channel in self._keys:
            return Standing("key_refused", for_s=max(0, int(self._keys[channel].again_at - now)))
        if pair in self._pairs:
            return Standing("pair_refused", for_s=max(0, int(self._pairs[pair].again_at - now)))
        breaker = self._breakers.get(pair)
        if breaker is not None and breaker.is_open:
            return Standing(breaker.standing(now), breaker.failures, max(0, int(breaker.until - now)))
        if (rest := self._rests.get(pair, 0.0)) > now:
            return Standing("resting", for_s=int(rest - now))
        return Standing("well", breaker.failures if breaker else 0)
