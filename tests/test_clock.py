"""Ids sort by creation, whatever the clock does."""

from __future__ import annotations

import pytest

from chatserver import clock

FUTURE = clock.write_id((2_000_000_000_000 << 80) | 7)


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """The floor is this process's: other tests get theirs back."""
    monkeypatch.setattr(clock, "_last", clock._last)


def test_a_later_id_is_greater_and_as_long() -> None:
    made = [clock.new_id() for _ in range(10_000)]
    assert made == sorted(set(made))
    assert {len(one) for one in made} == {clock.ID_LENGTH}


def test_ids_go_on_after_the_greatest_that_is_stored() -> None:
    """The clock was set back while the server was down."""
    before = clock.new_id()
    clock.keep_after(FUTURE)
    first, second = clock.new_id(), clock.new_id()
    assert before < FUTURE < first < second
    clock.keep_after("")
    clock.keep_after("of no id's length")
    clock.keep_after(before)
    assert clock.new_id() > second
