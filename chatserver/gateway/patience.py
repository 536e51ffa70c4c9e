"""How often channels that all fail may be asked a second time: a storm of retries must not follow an outage."""

from __future__ import annotations

import msgspec

SPARE = 10.0
SHARE = 0.2
MODELS_LIMIT = 2_000


class _Purse(msgspec.Struct):
    left: float = SPARE


class Patience:
    """Per model: ten second tries, and one more for every five requests, until something goes well again.

    With it, the tries are at most 1.2 for a request, and 10, while every channel of a model fails.
    """

    def __init__(self) -> None:
        self._purses: dict[str, _Purse] = {}

    def asked(self, model: str) -> None:
        if len(self._purses) >= MODELS_LIMIT:
            self._purses.clear()
        purse = self._purses.setdefault(model, _Purse())
        purse.left = min(SPARE, purse.left + SHARE)

    def went_well(self, model: str) -> None:
        self._purses.pop(model, None)

    def may_repeat(self, model: str) -> bool:
        """Take a second try; False when there is none left."""
        purse = self._purses.setdefault(model, _Purse())
        if purse.left < 1.0:
            return False
        purse.left -= 1.0
        return True
