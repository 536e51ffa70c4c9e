"""Smooth weighted round-robin: whose turn it is within a tier, without chance, so that shares come out exact."""

from __future__ import annotations

from collections.abc import Mapping

NAMES_LIMIT = 500


class Wheel:
    """Of one tier of one model. Who is not among those asked for keeps its place until it is again."""

    def __init__(self) -> None:
        self._credit: dict[str, int] = {}

    def turn(self, weights: Mapping[str, int]) -> list[str]:
        """All the names, the one whose turn it is first, then by what is owed to them. weights: greater than 0."""
        if not weights:
            return []
        if len(self._credit) > NAMES_LIMIT:
            self._credit.clear()
        for name, weight in weights.items():
            self._credit[name] = self._credit.get(name, 0) + weight
        order = sorted(weights, key=lambda name: (-self._credit[name], name))
        self._credit[order[0]] -= sum(weights.values())
        return order
