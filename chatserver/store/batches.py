"""Many rows in one statement: what a single row costs most is the way to the database and back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TypeVar

from chatserver.store.database import Value

T = TypeVar("T")
SIZES = (64, 8, 1)
"""Few, so that the statements are few and stay prepared."""


def runs_of(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """The rows in order, in runs of these sizes."""
    at = 0
    for size in SIZES:
        while len(rows) - at >= size:
            yield rows[at : at + size]
            at += size


@lru_cache
def values_of(columns: tuple[str, ...], count: int) -> str:
    """What stands after VALUES for `count` rows: `(:a0, :b0), (:a1, :b1)`. A column may be an expression in which its
    parameter stands as `{}`."""
    rows = []
    for number in range(count):
        cells = [cell.format(f":p{place}_{number}") for place, cell in enumerate(columns)]
        rows.append(f"({', '.join(cells)})")
    return ", ".join(rows)


def parameters_of(rows: Sequence[Sequence[Value]]) -> dict[str, Value]:
    """The parameters of values_of, row by row, cell by cell."""
    return {f"p{place}_{number}": cell for number, row in enumerate(rows) for place, cell in enumerate(row)}
