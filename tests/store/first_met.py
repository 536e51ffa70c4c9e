"""Threads that meet a class of rows for the first time at once: in a process of its own, because it may crash."""

from __future__ import annotations

import sys
import threading

import msgspec

from chatserver.store.rows import make_decoder

ROUNDS = 100
THREADS = 8
FIELDS = [f"field{number}" for number in range(30)]


def meet(number: int) -> None:
    inner = msgspec.defstruct(f"Inner{number}", [("value", int)])
    fields = [(name, (inner if place % 5 == 0 else int) | None) for place, name in enumerate(FIELDS)]
    row_type = msgspec.defstruct(f"Row{number}", fields)
    row = tuple(None if place % 5 == 0 else place for place in range(len(FIELDS)))
    together = threading.Barrier(THREADS)

    def work() -> None:
        together.wait()
        assert make_decoder(row_type, FIELDS)([row, row])[1].field1 == 1

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    sys.setswitchinterval(1e-6)
    for number in range(ROUNDS):
        meet(number)
