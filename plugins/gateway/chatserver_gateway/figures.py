"""How attempts and answers went, counted by the minute before it is written down in one go."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from chatserver import AttemptEnd, AttemptStart
from chatserver_gateway.ranking import CHANNEL_AT_FAULT

MINUTE_US = 60_000_000
SETTLED_US = 35 * 1_000_000
"""After this long without another attempt, a call that failed has failed: no Retry-After is waited for longer."""
PENDING_LIMIT = 10_000
BOUNDS_MS = (100, 200, 350, 500, 750, 1_000, 1_500, 2_500, 4_000, 7_000, 15_000)
BINS = len(BOUNDS_MS) + 1
REFUSED = frozenset({"key_refused", "pair_refused"})

Place = tuple[int, str, str]
"""A minute, a model, and a channel; '' for the model as people met it, whichever channel answered."""


class Cell(msgspec.Struct):
    """Counts of one place. times: first tokens by bin of BOUNDS_MS. tokens: what heartbeats used."""

    asked: int = 0
    failed: int = 0
    fallbacks: int = 0
    probes: int = 0
    tokens: int = 0
    times: list[int] = msgspec.field(default_factory=lambda: [0] * BINS)

    def add(self, other: Cell) -> None:
        self.asked += other.asked
        self.failed += other.failed
        self.fallbacks += other.fallbacks
        self.probes += other.probes
        self.tokens += other.tokens
        self.times = [one + two for one, two in zip(self.times, other.times, strict=True)]


class LastError(msgspec.Struct, frozen=True):
    model: str
    channel: str
    at: int
    outcome: str
    message: str


class Figures:
    """This node's, since they were last taken."""

    def __init__(self) -> None:
        self._cells: dict[Place, Cell] = {}
        self._errors: dict[tuple[str, str], LastError] = {}
        self._pending: dict[str, tuple[int, str]] = {}

    def started(self, start: AttemptStart) -> None:
        self._pending.pop(start.call_id, None)

    def ended(self, end: AttemptEnd) -> None:
        is_failure = end.outcome in CHANNEL_AT_FAULT or end.outcome in REFUSED
        if end.outcome != "done" and not is_failure:
            return  # whoever asked left, or asked for what nobody would answer: that says nothing of a channel
        cell = self._cell(end.ended_at, end.model, end.channel)
        cell.asked += 1
        cell.failed += is_failure
        cell.fallbacks += end.number > 1 and not is_failure
        if end.kind == "probe":
            cell.probes += 1
            cell.tokens += end.usage.tokens if end.usage is not None else 1
        if is_failure:
            self._errors[end.model, end.channel] = LastError(
                end.model, end.channel, end.ended_at, end.outcome, end.message[:300]
            )
            if len(self._pending) < PENDING_LIMIT and end.kind != "probe":
                self._pending[end.call_id] = (end.ended_at, end.model)
            return
        waited_ms = (end.first_token_at - end.started_at) // 1000 if end.first_token_at else None
        whole = self._cell(end.ended_at, end.model, "")
        whole.asked += 1
        if waited_ms is not None:
            for one in (cell, whole):
                one.times[bin_of(waited_ms)] += 1

    def went_down(self, at_us: int, model: str) -> None:
        """None of its channels answered a heartbeat."""
        cell = self._cell(at_us, model, "")
        cell.asked += 1
        cell.failed += 1

    def take(self, now_us: int) -> tuple[dict[Place, Cell], list[LastError]]:
        """Everything counted since, and the calls that no channel answered."""
        for call_id, (at, model) in list(self._pending.items()):
            if now_us - at >= SETTLED_US:
                del self._pending[call_id]
                cell = self._cell(at, model, "")
                cell.asked += 1
                cell.failed += 1
        cells, errors = self._cells, list(self._errors.values())
        self._cells, self._errors = {}, {}
        return cells, errors

    def give_back(self, cells: dict[Place, Cell], errors: Sequence[LastError]) -> None:
        """They could not be written: keep them for the next time."""
        for place, cell in cells.items():
            self._cells.setdefault(place, Cell()).add(cell)
        for error in errors:
            self._errors.setdefault((error.model, error.channel), error)

    def _cell(self, at_us: int, model: str, channel: str) -> Cell:
        return self._cells.setdefault((at_us - at_us % MINUTE_US, model, channel), Cell())


def bin_of(waited_ms: int) -> int:
    return next((at for at, bound in enumerate(BOUNDS_MS) if waited_ms <= bound), BINS - 1)


def percentile_ms(times: Sequence[int], share: float) -> int | None:
    """About how long that share of first tokens took at most; None when there was none."""
    total = sum(times)
    if not total:
        return None
    wanted, below = share * total, 0
    for at, count in enumerate(times):
        if count and below + count >= wanted:
            if at == BINS - 1:
                return BOUNDS_MS[-1]
            low = BOUNDS_MS[at - 1] if at else 0
            return int(low + (BOUNDS_MS[at] - low) * (wanted - below) / count)
        below += count
    return BOUNDS_MS[-1]
