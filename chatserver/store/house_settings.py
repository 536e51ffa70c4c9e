"""What admins set in the console for the whole house: settings by name, and which plugins are switched."""

from __future__ import annotations

import msgspec

from chatserver.store.database import Tx


class KeptSetting(msgspec.Struct, frozen=True):
    name: str
    value: str


class PluginSwitch(msgspec.Struct, frozen=True):
    """changed_at: when somebody pressed it last; a node follows each press once."""

    name: str
    is_on: bool
    changed_at: int


def kept_settings(tx: Tx) -> list[KeptSetting]:
    return tx.all(KeptSetting, "SELECT name, value FROM house_settings ORDER BY name")


def put_setting(tx: Tx, name: str, value: str, now: int) -> None:
    tx.run(
        "INSERT INTO house_settings (name, value, changed_at) VALUES (:name, :value, :now)"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value, changed_at = excluded.changed_at",
        name=name,
        value=value,
        now=now,
    )


def remove_setting(tx: Tx, name: str) -> bool:
    """False when it was not kept."""
    return tx.run("DELETE FROM house_settings WHERE name = :name", name=name) == 1


def plugin_switches(tx: Tx) -> list[PluginSwitch]:
    return tx.all(PluginSwitch, "SELECT name, is_on, changed_at FROM plugin_switches ORDER BY name")


def put_switch(tx: Tx, switch: PluginSwitch) -> None:
    tx.run(
        "INSERT INTO plugin_switches (name, is_on, changed_at) VALUES (:name, :is_on, :changed_at)"
        " ON CONFLICT (name) DO UPDATE SET is_on = excluded.is_on, changed_at = excluded.changed_at",
        name=switch.name,
        is_on=int(switch.is_on),
        changed_at=switch.changed_at,
    )
