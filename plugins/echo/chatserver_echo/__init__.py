"""A model that answers by rule, for tests and demonstrations: what it does is written in its name."""

from __future__ import annotations

from chatserver import Context, Provider, Setting, hookimpl
from chatserver_echo.provider import Echo

_echo = Echo()


@hookimpl
def register_settings() -> list[Setting]:
    return [Setting("offer", "Offer the demonstration models without a channel for them", "boolean")]


@hookimpl
def register_providers() -> list[Provider]:
    return [_echo]


@hookimpl
def startup(ctx: Context) -> None:
    _echo.is_offered = bool(ctx.settings["offer"])
