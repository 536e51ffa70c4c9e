"""Days as people type them, and the moments they begin and end at."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo

from chatserver.errors import BadInput


def day_start_us(text: str, zone: tzinfo | None = UTC) -> int:
    """The first moment of a day such as 2026-11-26; 0 for no day. Raises BadInput."""
    return _moment_us(text, zone, 0)


def day_end_us(text: str, zone: tzinfo | None = UTC) -> int:
    """The first moment after a day; 0 for no day. Raises BadInput."""
    return _moment_us(text, zone, 1)


def _moment_us(text: str, zone: tzinfo | None, days: int) -> int:
    if not text:
        return 0
    try:
        day = date.fromisoformat(text) + timedelta(days=days)
        return int(datetime(day.year, day.month, day.day, tzinfo=zone or UTC).timestamp()) * 1_000_000
    except (ValueError, OverflowError):
        raise BadInput("A day is written as 2026-11-26.", code="bad_day", status=422) from None
