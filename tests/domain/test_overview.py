"""Figures of the house, worked out from its calls."""

from __future__ import annotations

from chatserver.domain.calls import Usage
from chatserver.domain.overview import PastCall, overview_of, percentile


def call(at: int, state: str = "done", who: str = "a", model: str = "m", first: int | None = 5_000) -> PastCall:
    return PastCall(model, state, who, at, at + first if first else None, Usage(input=3, output=4, cached=1))


def test_calls_fall_into_their_spans_and_models() -> None:
    calls = [call(100), call(199, "failed", "b", first=None), call(250, model="n")]
    seen = overview_of(calls, first_at=100, span_us=100, count=3, is_cut=False)
    assert [(span.at, span.calls, span.errors, span.tokens) for span in seen.spans] == [
        (100, 2, 1, 16),
        (200, 1, 0, 8),
        (300, 0, 0, 0),
    ]
    assert (seen.total.calls, seen.total.tokens, seen.total.errors, seen.accounts) == (3, 24, 1, 2)
    assert [(one.name, one.calls) for one in seen.models] == [("m", 2), ("n", 1)]
    assert (seen.p50_ms, seen.p95_ms) == (5, 5)


def test_nothing_is_nothing() -> None:
    seen = overview_of([], first_at=0, span_us=1, count=2, is_cut=False)
    assert (seen.total.calls, seen.p50_ms, seen.models) == (0, None, ())


def test_percentiles_are_times_that_were_measured() -> None:
    assert percentile(range(1, 101), 0.5) == 50
    assert percentile(range(1, 101), 0.95) == 95
    assert percentile([7], 0.95) == 7
