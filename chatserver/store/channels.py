"""Channels an admin connected, their keys sealed; those of the file and the environment are not here."""

from __future__ import annotations

import msgspec

from chatserver.store.database import Tx

VERSION_FACT = "channels_version"
_COLUMNS = (
    "id, name, provider, base_url, sealed_key, models, priority, weight, groups, is_on, note, created_at, changed_at"
)


class ChannelRow(msgspec.Struct, frozen=True):
    """sealed_key: '' for a service that wants none. models, groups: JSON lists; no models: ask the upstream."""

    id: str
    name: str
    provider: str
    base_url: str
    sealed_key: str
    models: str
    priority: int
    weight: int
    groups: str
    is_on: bool
    note: str
    created_at: int
    changed_at: int


def channels(tx: Tx) -> list[ChannelRow]:
    return tx.all(ChannelRow, f"SELECT {_COLUMNS} FROM channels ORDER BY created_at, id")


def channels_version(tx: Tx) -> str:
    """Another text than before whenever a channel was added, changed or removed, by whichever node."""
    return tx.one(str, "SELECT value FROM facts WHERE name = :name", name=VERSION_FACT) or ""


def insert_channel(tx: Tx, row: ChannelRow) -> bool:
    """False, and nothing kept, when the name is taken."""
    added = tx.run(
        "INSERT INTO channels (id, name, provider, base_url, sealed_key, models, priority, weight, groups, is_on,"
        " note, created_at, changed_at) VALUES (:id, :name, :provider, :base_url, :sealed_key, :models, :priority,"
        " :weight, :groups, :is_on, :note, :created_at, :changed_at) ON CONFLICT (name) DO NOTHING",
        **{**msgspec.structs.asdict(row), "is_on": int(row.is_on)},
    )
    if added:
        _note_change(tx, row.id, row.changed_at)
    return bool(added)


def remove_channel(tx: Tx, channel_id: str, now: int) -> bool:
    """False when there is none of this id."""
    removed = tx.run("DELETE FROM channels WHERE id = :id", id=channel_id)
    if removed:
        _note_change(tx, channel_id, now)
    return bool(removed)


def _note_change(tx: Tx, channel_id: str, now: int) -> None:
    tx.run(
        "INSERT INTO facts (name, value) VALUES (:name, :value)"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        name=VERSION_FACT,
        value=f"{now} {channel_id}",
    )
