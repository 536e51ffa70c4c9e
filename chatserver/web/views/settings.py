"""What the settings show: devices and keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import tzinfo

import msgspec

from chatserver.domain.access import ApiKey, Session
from chatserver.web.views.times import date_text, moment_of, when_text
from chatserver.words import gettext as _
from chatserver.words import ngettext, row_text


class OwnSettings(msgspec.Struct, frozen=True):
    """What somebody chose, '' where they chose nothing."""

    language: str = ""
    default_model: str = ""


def own_settings(kept: Mapping[str, object]) -> OwnSettings:
    return OwnSettings(str(kept.get("language", "")), str(kept.get("default_model", "")))


class SessionView(msgspec.Struct, frozen=True):
    id: str
    device: str
    seen: str
    is_current: bool


class KeyView(msgspec.Struct, frozen=True):
    id: str
    name: str
    last_four: str
    created: str
    used: str
    bounds: tuple[str, ...] = ()


def session_views(
    sessions: Iterable[Session], *, current: str, now_us: int, zone: tzinfo | None = None
) -> tuple[SessionView, ...]:
    today = moment_of(now_us, zone)
    return tuple(
        SessionView(
            id=session.id,
            device=device_name(session.user_agent),
            seen=when_text(session.seen_at, today, zone),
            is_current=session.id == current,
        )
        for session in sessions
    )


def key_views(keys: Iterable[ApiKey], *, now_us: int, zone: tzinfo | None = None) -> tuple[KeyView, ...]:
    today = moment_of(now_us, zone)
    return tuple(
        KeyView(
            id=key.id,
            name=key.name or _("API key"),
            last_four=key.last_four,
            created=when_text(key.created_at, today, zone),
            used=when_text(key.used_at, today, zone) if key.used_at else _("never used"),
            bounds=key_bounds(key, now_us, zone),
        )
        for key in keys
        if key.revoked_at is None
    )


def key_bounds(key: ApiKey, now_us: int, zone: tzinfo | None) -> tuple[str, ...]:
    """What a key may not do that its owner may, a few words each."""
    bounds = []
    if key.is_expired(now_us):
        bounds.append(_("expired"))
    elif key.expires_at is not None:
        bounds.append(_("ends {day}").format(day=date_text(key.expires_at, zone)))
    if key.models:
        bounds.append(row_text(key.models))
    if key.scopes:
        bounds.append(row_text(key.scopes))
    if key.requests_per_minute:
        bounds.append(
            ngettext("%(num)s request per minute", "%(num)s requests per minute", key.requests_per_minute)
            % {"num": key.requests_per_minute}
        )
    return tuple(bounds)


def device_name(user_agent: str) -> str:
    """Browser and system in words, from a User-Agent; only for people to recognise their own devices by."""
    browsers = (
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    )
    systems = (
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Android", "Android"),
        ("Mac OS", "macOS"),
        ("Windows", "Windows"),
    )
    browser = next((name for mark, name in browsers if mark in user_agent), "")
    system = next((name for mark, name in systems if mark in user_agent), "Linux" if "Linux" in user_agent else "")
    if browser and system:
        return _("{browser} on {system}").format(browser=browser, system=system)
    return browser or system or (user_agent[:40] if user_agent else _("Unknown device"))
