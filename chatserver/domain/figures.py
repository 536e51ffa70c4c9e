"""Figures that are counted as things happen and read all at once: counters, gauges, distributions, by label."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import Lock
from typing import Literal

import msgspec

SERIES_LIMIT = 2_000
"""How many combinations of labels one figure keeps; what comes after is counted under `other`."""
OTHER = "other"
SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_NAME = re.compile(r"[a-z][a-z0-9_]*")

Labels = tuple[tuple[str, str], ...]
Reading = float | Iterable[tuple[Mapping[str, str], float]]


class Sample(msgspec.Struct, frozen=True):
    """One line of a family. suffix: what comes after the family's name, as `_bucket`."""

    suffix: str
    labels: Labels
    value: float


class Family(msgspec.Struct, frozen=True):
    """All samples of one figure at one moment. is_shared: whichever process is asked says the same."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    samples: tuple[Sample, ...]
    is_shared: bool = False


class Counter:
    """Only grows. Its name ends in `_total`. From any thread."""

    def __init__(self, name: str, help: str, labels: Sequence[str] = ()) -> None:
        self.name, self.help, self.labels = name, help, tuple(labels)
        self._lock = Lock()
        self._values: dict[tuple[str, ...], float] = {} if labels else {(): 0.0}

    def add(self, amount: float = 1, /, **labels: str) -> None:
        key = tuple(labels[name] for name in self.labels)
        with self._lock:
            if key not in self._values and len(self._values) >= SERIES_LIMIT:
                key = (OTHER,) * len(key)
            self._values[key] = self._values.get(key, 0.0) + amount

    def family(self) -> Family:
        with self._lock:
            values = sorted(self._values.items())
        samples = tuple(Sample("", tuple(zip(self.labels, key, strict=True)), value) for key, value in values)
        return Family(self.name, "counter", self.help, samples)


class Gauge:
    """What is so at the moment somebody asks. read: a number, or pairs of labels and number; called on the loop's
    thread, at each scrape, so it looks and does not wait. kind: `counter` for what somebody else counts. is_shared:
    it is the database's or the machine's, not this process's."""

    def __init__(
        self,
        name: str,
        help: str,
        read: Callable[[], Reading],
        kind: Literal["counter", "gauge"] = "gauge",
        *,
        is_shared: bool = False,
    ) -> None:
        self.name, self.help, self._read, self._kind, self._is_shared = name, help, read, kind, is_shared

    def family(self) -> Family:
        reading = self._read()
        if isinstance(reading, int | float):
            return Family(self.name, self._kind, self.help, (Sample("", (), float(reading)),), self._is_shared)
        pairs = list(reading)[:SERIES_LIMIT]
        samples = (Sample("", tuple((k, str(v)) for k, v in labels.items()), float(value)) for labels, value in pairs)
        return Family(self.name, self._kind, self.help, tuple(samples), self._is_shared)


class Distribution:
    """How values spread: how many were at most each bound. From any thread. bounds: ascending, the last is +Inf's."""

    def __init__(self, name: str, help: str, labels: Sequence[str] = (), bounds: Sequence[float] = SECONDS) -> None:
        self.name, self.help, self.labels, self.bounds = name, help, tuple(labels), tuple(bounds)
        self._lock = Lock()
        self._counts: dict[tuple[str, ...], list[float]] = {}
        if not labels:
            self._counts[()] = self._nothing()

    def _nothing(self) -> list[float]:
        """By bucket, +Inf's, then the sum of all values."""
        return [0.0] * (len(self.bounds) + 2)

    def observe(self, value: float, /, **labels: str) -> None:
        key = tuple(labels[name] for name in self.labels)
        with self._lock:
            if key not in self._counts and len(self._counts) >= SERIES_LIMIT:
                key = (OTHER,) * len(key)
            counts = self._counts.setdefault(key, self._nothing())
            counts[bisect_left(self.bounds, value)] += 1
            counts[-1] += value

    def family(self) -> Family:
        with self._lock:
            found = sorted((key, list(counts)) for key, counts in self._counts.items())
        samples: list[Sample] = []
        for key, counts in found:
            labels = tuple(zip(self.labels, key, strict=True))
            so_far = 0.0
            for bound, count in zip((*self.bounds, float("inf")), counts, strict=False):
                so_far += count
                samples.append(Sample("_bucket", (*labels, ("le", bound_text(bound))), so_far))
            samples += [Sample("_sum", labels, counts[-1]), Sample("_count", labels, so_far)]
        return Family(self.name, "histogram", self.help, tuple(samples))


Figure = Counter | Gauge | Distribution


class Figures:
    """What one house counts. Names are one's own: a second figure of a name is refused with ValueError."""

    def __init__(self) -> None:
        self._figures: dict[str, tuple[str, Figure]] = {}

    def add(self, figure: Figure, owner: str = "", *, replaces: bool = False) -> None:
        """owner: the plugin it belongs to, '' for the core. replaces: one of this name, if there is one."""
        if not _NAME.fullmatch(figure.name):
            raise ValueError(f"{figure.name!r} is no name of a figure: small letters, digits and underscores.")
        if figure.name in self._figures and not replaces:
            raise ValueError(f"There is a figure named {figure.name} already.")
        self._figures[figure.name] = (owner, figure)

    def owned(self) -> list[tuple[str, Figure]]:
        """(plugin or '', figure), in order of their names."""
        return [self._figures[name] for name in sorted(self._figures)]


def bound_text(bound: float) -> str:
    return "+Inf" if bound == float("inf") else f"{bound:g}"
