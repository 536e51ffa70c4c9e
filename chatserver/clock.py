"""The time, and the ids made from it; the only room that asks the operating system for either."""

from __future__ import annotations

import os
import threading
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_lock = threading.Lock()
_last: int = 0

ID_LENGTH = 26


def now_us() -> int:
    """Microseconds since 1970, UTC: the unit of every stored time."""
    return time.time_ns() // 1000


def monotonic_s() -> float:
    """Seconds on a clock that never jumps: for durations only, never stored."""
    return time.monotonic()


def new_id() -> str:
    """A fresh id of 26 ASCII characters that sorts by creation, also within a millisecond and after a clock step back.

    48 bits of milliseconds, then 80 random bits; within a process the next id is always the greater.
    """
    global _last
    value = ((time.time_ns() // 1_000_000) << 80) | int.from_bytes(os.urandom(10), "big")
    with _lock:
        if value <= _last:
            value = _last + 1 + int.from_bytes(os.urandom(4), "big")
        _last = value
    return write_id(value)


def keep_after(newest: str) -> None:
    """Let every id from here on be greater than this one: the clock may have been set back while we were away."""
    global _last
    value = read_id(newest)
    if value is not None:
        with _lock:
            _last = max(_last, value)


def write_id(value: int) -> str:
    """The id of a number below 2**128: milliseconds since 1970, then 80 bits of the caller's."""
    characters = []
    for _ in range(ID_LENGTH):
        characters.append(_ALPHABET[value & 31])
        value >>= 5
    return "".join(reversed(characters))


def read_id(text: str) -> int | None:
    """The number of an id; None for what is no id of ours."""
    if len(text) != ID_LENGTH or text[0] > "7":
        return None
    value = 0
    for character in text:
        place = _ALPHABET.find(character)
        if place < 0:
            return None
        value = value << 5 | place
    return value
