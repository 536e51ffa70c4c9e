"""Channels an admin connected, their keys sealed; those of the file and the environment are not here."""

from __future__ import annotations

import msgspec

from chatserver.store.database import Tx, Value

VERSION_FACT = "channels_version"
_COLUMNS = (
    "id, name, provider, base_url, sealed_key, models, priority, weight, groups, is_on, note, created_at, changed_at,"
    " requests_per_minute, tokens_per_minute, concurrency"
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
    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    concurrency: int = 0


def channels(tx: Tx) -> list[ChannelRow]:
    return tx.all(ChannelRow, f"SELECT {_COLUMNS} FROM channels ORDER BY created_at, id")


def channels_version(tx: Tx) -> str:
    """Another text than before whenever a channel was added, changed or removed, by whichever node."""
    return tx.one(str, "SELECT value FROM facts WHERE name = :name", name=VERSION_FACT) or ""


def insert_channel(tx: Tx, row: ChannelRow) -> bool:
    """False, and nothing kept, when the name is taken."""
    added = tx.run(
        f"INSERT INTO channels ({_COLUMNS}) VALUES (:id, :name, :provider, :base_url, :sealed_key, :models, :priority,"
        " :weight, :groups, :is_on, :note, :created_at, :changed_at, :requests_per_minute, :tokens_per_minute,"
        " :concurrency) ON CONFLICT (name) DO NOTHING",
        **_values(row),
    )
    if added:
        note_change(tx, row.id, row.changed_at)
    return bool(added)


def remove_channel(tx: Tx, channel_id: str, now: int) -> bool:
    """False when there is none of this id."""
    removed = tx.run("DELETE FROM channels WHERE id = :id", id=channel_id)
    if removed:
        note_change(tx, channel_id, now)
    return bool(removed)


def channel_of(tx: Tx, channel_id: str) -> ChannelRow | None:
    return tx.one(ChannelRow, f"SELECT {_COLUMNS} FROM channels WHERE id = :id", id=channel_id)


def change_channel(tx: Tx, row: ChannelRow) -> bool:
    """Put it in the place of the row of its id, which the caller has read under `lock_channels`. False, and nothing
    changed, when another has the name."""
    if tx.one(str, "SELECT id FROM channels WHERE name = :name AND id <> :id", name=row.name, id=row.id):
        return False
    tx.run(
        "UPDATE channels SET name = :name, provider = :provider, base_url = :base_url, sealed_key = :sealed_key,"
        " models = :models, priority = :priority, weight = :weight, groups = :groups, is_on = :is_on, note = :note,"
        " changed_at = :changed_at, requests_per_minute = :requests_per_minute,"
        " tokens_per_minute = :tokens_per_minute, concurrency = :concurrency WHERE id = :id",
        **{name: value for name, value in _values(row).items() if name != "created_at"},
    )
    note_change(tx, row.id, row.changed_at)
    return True


def lock_channels(tx: Tx) -> None:
    """Whoever reads a channel and then writes what depends on it takes this first."""
    tx.lock("channels")


def _values(row: ChannelRow) -> dict[str, Value]:
    return {**msgspec.structs.asdict(row), "is_on": int(row.is_on)}


def note_change(tx: Tx, channel_id: str, now: int) -> None:
    """Tell every node: what is served has changed."""
    tx.run(
        "INSERT INTO facts (name, value) VALUES (:name, :value)"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        name=VERSION_FACT,
        value=f"{now} {channel_id}",
    )
