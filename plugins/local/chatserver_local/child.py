"""The model's own process: `python -m chatserver_local.child`. It ends when its standard input does."""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO

from chatserver_local.lines import Ask, Ended, Failed, Piece, Ready, Stop, decode_order, encode

NICENESS = 5
"""The server, which streams to people, goes first."""


class Mouth:
    """Writes lines to the server, one whole line at a time."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._lock = threading.Lock()

    def say(self, news: Ready | Piece | Ended | Failed) -> None:
        with self._lock:
            try:
                self._out.write(encode(news) + b"\n")
            except OSError:
                os._exit(0)


class Answerer:
    """Runs asks on the engine, as many at once as it has slots; the pool's queue holds the rest."""

    def __init__(self, engine: Any, mouth: Mouth, slots: int) -> None:
        self._engine = engine
        self._mouth = mouth
        self._stopped: set[int] = set()
        self._pool = ThreadPoolExecutor(slots, thread_name_prefix="answer")

    def ask(self, ask: Ask) -> None:
        self._pool.submit(self._answer, ask)

    def stop(self, ask_id: int) -> None:
        self._stopped.add(ask_id)

    def _answer(self, ask: Ask) -> None:
        ended = Ended(ask.id)

        def hear(chunk: dict[str, Any]) -> bool:
            """True stops the engine."""
            if ask.id in self._stopped:
                return True
            error = chunk.get("error")
            if error:
                ended.error = str(error.get("message", error)) if isinstance(error, dict) else str(error)
                ended.status = int(error.get("code") or 500) if isinstance(error, dict) else 500
                return True
            for choice in chunk.get("choices") or ():
                text = (choice.get("delta") or {}).get("content")
                if text:
                    self._mouth.say(Piece(ask.id, text))
                ended.finish = choice.get("finish_reason") or ended.finish
            usage = chunk.get("usage")
            if usage:
                ended.cached = int((usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0)
                ended.input = int(usage.get("prompt_tokens") or 0) - ended.cached
                ended.output = int(usage.get("completion_tokens") or 0)
            return False

        try:
            if ask.id not in self._stopped:
                body = {**ask.body, "stream": True, "stream_options": {"include_usage": True}}
                self._engine.handle_chat_completions(body, hear)
        except Exception as error:  # the engine's faults are told, not died of
            ended.error, ended.status = str(error) or type(error).__name__, 500
        self._stopped.discard(ask.id)
        self._mouth.say(ended)


def load(path: str, context_tokens: int, slots: int, threads: int) -> Any:
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = path
    parameters.n_parallel = slots
    parameters.n_ctx = context_tokens * slots
    parameters.verbosity = 0
    parameters.ui = False
    parameters.endpoint_slots = False
    parameters.cache_ram_mib = 0
    # The engine opens a port of its own; nobody is meant to use it.
    parameters.api_keys = [secrets.token_hex(32)]
    for processor in (parameters.cpuparams, parameters.cpuparams_batch):
        processor.n_threads = threads
        processor.poll = 0
    return xllamacpp.Server(parameters)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path")
    parser.add_argument("--context", type=int, required=True)
    parser.add_argument("--slots", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    # What native code prints must not come between our lines.
    mouth = Mouth(os.fdopen(os.dup(1), "wb", buffering=0))
    os.dup2(2, 1)
    with contextlib.suppress(OSError, AttributeError):
        os.nice(NICENESS)
    try:
        engine = load(options.path, options.context, options.slots, options.threads)
    except Exception as error:  # whatever it was, the server is told
        mouth.say(Failed(str(error) or type(error).__name__))
        os._exit(1)
    mouth.say(Ready())
    answerer = Answerer(engine, mouth, options.slots)
    for line in sys.stdin.buffer:
        order = decode_order(line)
        if isinstance(order, Stop):
            answerer.stop(order.id)
        else:
            answerer.ask(order)
    # The server is gone, or wants this process gone: native threads are not waited for.
    os._exit(0)


if __name__ == "__main__":
    main()
