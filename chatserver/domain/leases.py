"""Whether a holder still renews what it holds: judged by how long its mark stands still, not by what any clock says."""

from __future__ import annotations

from collections.abc import Collection, Hashable


class Marks:
    """What holders wrote with their last renewal, as it was seen from here, and since when it stands so.

    Nodes may disagree on the time, and a clock may jump: only the watcher's own monotonic one counts.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[Hashable, float]] = {}

    def still_s(self, key: str, mark: Hashable, now_s: float) -> float:
        """How long this mark has stood; 0 when it is new here. now_s: monotonic, after the mark was read."""
        known = self._seen.get(key)
        if known is None or known[0] != mark:
            self._seen[key] = mark, now_s
            return 0.0
        return now_s - known[1]

    def keep_only(self, keys: Collection[str]) -> None:
        """Forget what is held no more."""
        self._seen = {key: seen for key, seen in self._seen.items() if key in keys}

    def clear(self) -> None:
        """Nobody could renew, as while the database was away: all begin anew."""
        self._seen.clear()
