"""Moments as people read them: clock, day, month, duration, in the reader's zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from chatserver import words
from chatserver.words import gettext as _


def zone_of(name: str) -> tzinfo | None:
    """The time zone an account told us, or None for the server's own."""
    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def hour_of(now_us: int, zone: tzinfo | None) -> int:
    return moment_of(now_us, zone).hour


def clock_text(at_us: int, zone: tzinfo | None = None) -> str:
    return words.date_text(moment_of(at_us, zone), "Hm")


def when_text(at_us: int, today: datetime, zone: tzinfo | None) -> str:
    """`09:18` today, else the day."""
    moment = moment_of(at_us, zone)
    if moment.date() == today.date():
        return words.date_text(moment, "Hm")
    return words.date_text(moment, "MMMd" if moment.year == today.year else "yMMMd")


def date_text(at_us: int, zone: tzinfo | None) -> str:
    """The whole date, whenever one reads it."""
    return words.date_text(moment_of(at_us, zone), "yMMMd")


def day_title(at_us: int, today: datetime, zone: tzinfo | None) -> str:
    day = moment_of(at_us, zone).date()
    age = (today.date() - day).days
    if age <= 0:
        return _("Today")
    if age == 1:
        return _("Yesterday")
    if age < 8:
        return _("Previous 7 days")
    moment = moment_of(at_us, zone)
    return words.month_text(moment) if day.year == today.year else words.date_text(moment, "yMMMM")


def iso(at_us: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us)).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds_text(duration_ms: int) -> str:
    """`40 ms`, `0.8 s`, `6 s`, `2 min 5 s`."""
    if duration_ms < 100:
        return _("{count} ms").format(count=duration_ms)
    if duration_ms < 9_950:
        return _("{seconds} s").format(seconds=words.number_text(duration_ms / 1000, 1))
    seconds = round(duration_ms / 1000)
    if seconds < 60:
        return _("{seconds} s").format(seconds=seconds)
    return _("{minutes} min {seconds} s").format(minutes=words.number_text(seconds // 60), seconds=seconds % 60)


def moment_of(at_us: int, zone: tzinfo | None) -> datetime:
    utc = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us)
    return utc.astimezone(zone)
