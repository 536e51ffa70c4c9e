"""Carries the wake-ups between the nodes of one house over Redis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chatserver import Bus, BusKind, Setting, hookimpl

SCHEMES = ("redis", "rediss", "unix")
CHANNEL = "chatserver"


@hookimpl
def register_settings() -> list[Setting]:
    return [Setting("channel", "The channel the nodes of this house share.", default=CHANNEL)]


@hookimpl
def register_buses() -> list[BusKind]:
    return [BusKind("redis", SCHEMES, open_bus)]


async def open_bus(url: str, settings: Mapping[str, Any]) -> Bus:
    from chatserver_redis.bus import RedisBus

    return RedisBus(url, channel=str(settings.get("channel", CHANNEL)))
