"""Look into a JSON document whose shape may change any day: what is not as expected is as if it were not there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

Table = dict[str, Any]
LATEST_S = 253_402_300_800  # the year 10000: a greater number counts in smaller units than seconds
_EMPTY: Table = {}


def rows(document: memoryview, key: str = "") -> Iterator[Table]:
    """The objects of a list, one decoded at a time; a lone object counts as a list of one. key: where in a lone object
    the list may be."""
    raw = msgspec.json.decode(document, type=msgspec.Raw)
    if bytes(memoryview(raw)[:1]) != b"[":
        lone = msgspec.json.decode(raw)
        found = lone.get(key) if isinstance(lone, dict) else None
        yield from (row for row in (found if isinstance(found, list) else [lone]) if isinstance(row, dict))
        return
    for one in msgspec.json.decode(raw, type=list[msgspec.Raw]):
        row = msgspec.json.decode(one)
        if isinstance(row, dict):
            yield row


def first_row(document: memoryview, key: str = "") -> Table:
    """To recognise a format by; empty when there is none."""
    try:
        return next(rows(document, key), _EMPTY)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return _EMPTY


def table(value: Any, *keys: str) -> Table:
    """The object at a path of keys, empty when there is none."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else _EMPTY


def items(value: Any, *keys: str) -> list[Any]:
    """The list at a path of keys, empty when there is none."""
    found = table(value, *keys[:-1]).get(keys[-1])
    return found if isinstance(found, list) else []


def tables(value: Any, *keys: str) -> list[Table]:
    """The objects of a list at a path of keys."""
    return [one for one in items(value, *keys) if isinstance(one, dict)]


def text(value: Any, *keys: str) -> str:
    """The text at a path of keys, '' when there is none."""
    found = table(value, *keys[:-1]).get(keys[-1])
    return found if isinstance(found, str) else ""


def time_us(value: Any) -> int:
    """A time in microseconds from seconds, milliseconds, microseconds or ISO 8601; 0 when it is none."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value.strip())
        except ValueError:
            return 0
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max(int(moment.timestamp() * 1_000_000), 0)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < LATEST_S * 1_000_000:
        return 0
    if value < LATEST_S / 10:  # until the year 2770
        return round(value * 1_000_000)
    return round(value * 1_000) if value < LATEST_S * 100 else round(value)


def as_json(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
