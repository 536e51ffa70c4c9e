"""How far our token estimates are off, learned per model from what upstreams measured."""

from __future__ import annotations

from chatserver.store.calls import ModelFactor

_SMOOTHING = 0.2
_LOWEST, _HIGHEST = 0.25, 4.0
_SAVE_EVERY = 10


class Estimates:
    """Correction factors by model: measured tokens over estimated ones, smoothed, kept within a quarter and four."""

    def __init__(self) -> None:
        self._factors: dict[str, ModelFactor] = {}

    def load(self, factors: list[ModelFactor]) -> None:
        self._factors = {factor.model: factor for factor in factors}

    def factor(self, model: str) -> float:
        known = self._factors.get(model)
        return known.factor_ppm / 1_000_000 if known else 1.0

    def learn(self, model: str, estimated: int, measured: int) -> ModelFactor | None:
        """Take one measured prompt in; returns the factor when it is worth storing. estimated: with factor 1."""
        if estimated < 20 or measured <= 0:
            return None
        ratio = min(max(measured / estimated, _LOWEST), _HIGHEST)
        known = self._factors.get(model)
        if known is None:
            learned = ModelFactor(model, int(ratio * 1_000_000), 1)
        else:
            mixed = known.factor_ppm + (ratio * 1_000_000 - known.factor_ppm) * _SMOOTHING
            learned = ModelFactor(model, int(mixed), known.samples + 1)
        self._factors[model] = learned
        return learned if learned.samples <= 3 or learned.samples % _SAVE_EVERY == 0 else None
