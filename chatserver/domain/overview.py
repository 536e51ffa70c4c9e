"""How the house did in the last hours or days, worked out from its calls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from chatserver.domain.calls import Usage


class PastCall(msgspec.Struct, frozen=True):
    """A call of somebody's, ended or not. first_token_at: None when nothing came."""

    model: str
    state: str
    account_id: str
    started_at: int
    first_token_at: int | None
    usage: Usage

    @property
    def tokens(self) -> int:
        used = self.usage
        return used.input + used.cached + used.cache_write + used.output + used.reasoning


class Sum(msgspec.Struct, frozen=True):
    """Of a span or of a model. name: of the model; at: when the span began."""

    at: int
    calls: int
    tokens: int
    errors: int
    name: str = ""


class Overview(msgspec.Struct, frozen=True):
    """p50_ms, p95_ms: to the first token; None when nothing was answered. is_cut: there were more calls than were
    looked at, the newest."""

    total: Sum
    accounts: int
    p50_ms: int | None
    p95_ms: int | None
    spans: tuple[Sum, ...]
    models: tuple[Sum, ...]
    is_cut: bool = False


def overview_of(calls: Sequence[PastCall], *, first_at: int, span_us: int, count: int, is_cut: bool) -> Overview:
    """count: how many spans there are from `first_at` on, each so long."""
    spans: list[list[PastCall]] = [[] for _ in range(count)]
    models: dict[str, list[PastCall]] = {}
    for call in calls:
        spans[min(count - 1, max(0, (call.started_at - first_at) // span_us))].append(call)
        models.setdefault(call.model, []).append(call)
    times = sorted(max(0, one.first_token_at - one.started_at) // 1000 for one in calls if one.first_token_at)
    ranked = [_sum(0, found, name) for name, found in models.items()]
    return Overview(
        _sum(first_at, calls),
        len({call.account_id for call in calls}),
        percentile(times, 0.5),
        percentile(times, 0.95),
        tuple(_sum(first_at + number * span_us, found) for number, found in enumerate(spans)),
        tuple(sorted(ranked, key=lambda one: (-one.calls, one.name))),
        is_cut,
    )


def percentile(ordered: Sequence[int], share: float) -> int | None:
    """The smallest that is at least as great as this share of them."""
    if not ordered:
        return None
    return ordered[max(0, -int(-len(ordered) * share // 1) - 1)]


def _sum(at: int, calls: Iterable[PastCall], name: str = "") -> Sum:
    found = list(calls)
    errors = sum(call.state == "failed" for call in found)
    return Sum(at, len(found), sum(call.tokens for call in found), errors, name)
