"""Where presets are kept: the only SQL of this plugin. Statements name the owner; versions go by their preset."""

from __future__ import annotations

from typing import Any

import msgspec

from chatserver import BadInput, Context, Migration, NotFound, Tx
from chatserver import gettext as _
from chatserver_presets.preset import Content, Preset, Version, check_content

PRESETS_LIMIT = 200
VERSIONS_LIMIT = 500
KEPT_US = 30 * 86_400 * 1_000_000
"""How long a deleted preset can be taken back."""

MIGRATIONS = [
    Migration(
        "0001_first",
        (
            "CREATE TABLE presets_shelf (id TEXT PRIMARY KEY, owner_id TEXT NOT NULL, version INTEGER NOT NULL,"
            " content TEXT NOT NULL, created_at BIGINT NOT NULL, changed_at BIGINT NOT NULL, deleted_at BIGINT)",
            "CREATE INDEX presets_shelf_by_owner ON presets_shelf (owner_id, deleted_at)",
            "CREATE TABLE presets_versions (preset_id TEXT NOT NULL REFERENCES presets_shelf(id),"
            " number INTEGER NOT NULL, content TEXT NOT NULL, saved_at BIGINT NOT NULL,"
            " PRIMARY KEY (preset_id, number))",
        ),
    )
]
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Content).decode
_MINE = "SELECT id, version, changed_at, content FROM presets_shelf WHERE owner_id = :owner"


class _Row(msgspec.Struct, frozen=True):
    id: str
    version: int
    changed_at: int
    content: str

    def to_preset(self) -> Preset:
        return Preset(self.id, self.version, self.changed_at, _decode(self.content))


class _VersionRow(msgspec.Struct, frozen=True):
    number: int
    saved_at: int
    content: str

    def to_version(self) -> Version:
        return Version(self.number, self.saved_at, _decode(self.content))


class Shelf:
    """The presets of each account. Somebody else's id is an unknown one: None, or NotFound where it says so."""

    def open(self, ctx: Context) -> None:
        self._db = ctx.db
        self._clock = ctx.clock
        self._accounts = ctx.accounts

    async def all(self, owner_id: str) -> list[Preset]:
        """Those of an account, by name."""
        rows = await self._db.read(lambda tx: tx.all(_Row, f"{_MINE} AND deleted_at IS NULL", owner=owner_id))
        return sorted((row.to_preset() for row in rows), key=lambda preset: (preset.name.casefold(), preset.id))

    async def find(self, owner_id: str, preset_id: str) -> Preset | None:
        return await self._db.read(lambda tx: _find(tx, owner_id, preset_id))

    async def get(self, owner_id: str, preset_id: str) -> Preset:
        """Raises NotFound."""
        found = await self.find(owner_id, preset_id)
        if found is None:
            raise NotFound(_("There is no such preset."))
        return found

    async def find_deleted(self, owner_id: str, preset_id: str) -> Preset | None:
        """One that can still be taken back."""
        row = await self._db.read(
            lambda tx: tx.one(_Row, f"{_MINE} AND id = :id AND deleted_at IS NOT NULL", owner=owner_id, id=preset_id)
        )
        return row.to_preset() if row else None

    async def find_version(self, owner_id: str, preset_id: str, number: int) -> Version | None:
        """A version, also of a preset that was deleted a moment ago: a turn that uses it may still run."""
        row = await self._db.read(
            lambda tx: tx.one(
                _VersionRow,
                "SELECT v.number, v.saved_at, v.content FROM presets_versions v JOIN presets_shelf s"
                " ON s.id = v.preset_id WHERE s.id = :id AND s.owner_id = :owner AND v.number = :number",
                id=preset_id,
                owner=owner_id,
                number=number,
            )
        )
        return row.to_version() if row else None

    async def versions(self, owner_id: str, preset_id: str) -> list[Version]:
        """Every version, the newest first."""
        rows = await self._db.read(
            lambda tx: tx.all(
                _VersionRow,
                "SELECT v.number, v.saved_at, v.content FROM presets_versions v JOIN presets_shelf s"
                " ON s.id = v.preset_id WHERE s.id = :id AND s.owner_id = :owner AND s.deleted_at IS NULL"
                " ORDER BY v.number DESC",
                id=preset_id,
                owner=owner_id,
            )
        )
        return [row.to_version() for row in rows]

    async def create(self, owner_id: str, content: Content) -> str:
        """The id of a new preset. Raises BadInput."""
        clean = check_content(content)
        preset_id = str(self._clock.new_id())
        now = self._clock.now_us()

        def store(tx: Tx) -> str:
            tx.lock(f"shelf {owner_id}")
            count = tx.one(
                int,
                "SELECT COUNT(*) FROM presets_shelf WHERE owner_id = :owner AND deleted_at IS NULL",
                owner=owner_id,
            )
            if (count or 0) >= PRESETS_LIMIT:
                text = _("You have {count} presets, which is the limit. Delete one first.")
                raise BadInput(text.format(count=PRESETS_LIMIT), code="too_many_presets", status=422)
            tx.run(
                "INSERT INTO presets_shelf (id, owner_id, version, content, created_at, changed_at, deleted_at)"
                " VALUES (:id, :owner, 1, :content, :now, :now, NULL)",
                id=preset_id,
                owner=owner_id,
                content=_encode(clean).decode(),
                now=now,
            )
            _keep(tx, preset_id, 1, clean, now)
            return preset_id

        return await self._db.write(store)

    async def save(self, owner_id: str, preset_id: str, content: Content) -> Preset:
        """A new version, unless nothing changed. Raises NotFound, BadInput."""
        clean = check_content(content)
        now = self._clock.now_us()

        def store(tx: Tx) -> Preset:
            tx.lock(f"preset {preset_id}")
            found = _find(tx, owner_id, preset_id)
            if found is None:
                raise NotFound(_("There is no such preset."))
            if found.content == clean:
                return found
            if found.version >= VERSIONS_LIMIT:
                text = _("This preset has {count} versions, which is the limit. Make a new one of it.")
                raise BadInput(text.format(count=VERSIONS_LIMIT), code="too_many_versions", status=422)
            saved = Preset(found.id, found.version + 1, now, clean)
            tx.run(
                "UPDATE presets_shelf SET version = :version, content = :content, changed_at = :now"
                " WHERE id = :id AND owner_id = :owner",
                version=saved.version,
                content=_encode(clean).decode(),
                now=now,
                id=preset_id,
                owner=owner_id,
            )
            _keep(tx, preset_id, saved.version, clean, now)
            return saved

        return await self._db.write(store)

    async def delete(self, owner_id: str, preset_id: str) -> None:
        """Out of sight, to be taken back for 30 days. Raises NotFound."""
        await self._mark(owner_id, preset_id, "deleted_at = :now", "deleted_at IS NULL")

    async def restore(self, owner_id: str, preset_id: str) -> None:
        """Raises NotFound."""
        await self._mark(owner_id, preset_id, "deleted_at = NULL, changed_at = :now", "deleted_at IS NOT NULL")

    async def _mark(self, owner_id: str, preset_id: str, change: str, only: str) -> None:
        now = self._clock.now_us()
        changed = await self._db.write(
            lambda tx: tx.run(
                f"UPDATE presets_shelf SET {change} WHERE id = :id AND owner_id = :owner AND {only}",
                now=now,
                id=preset_id,
                owner=owner_id,
            )
        )
        if not changed:
            raise NotFound(_("There is no such preset."))

    async def sweep(self, payload: dict[str, Any]) -> None:
        """Erase what was deleted long ago, and all of accounts that went while this plugin was away."""
        before = self._clock.now_us() - KEPT_US
        await self._db.write(lambda tx: _erase(tx, "deleted_at < :before", before=before))
        for owner_id in await self._db.read(lambda tx: tx.all(str, "SELECT DISTINCT owner_id FROM presets_shelf")):
            if await self._accounts.by_id(owner_id) is None:
                await self.forget(owner_id)

    async def forget(self, owner_id: str) -> None:
        """Erase all of an account's, because the account is gone."""
        await self._db.write(lambda tx: _erase(tx, "owner_id = :owner", owner=owner_id))


def _find(tx: Tx, owner_id: str, preset_id: str) -> Preset | None:
    row = tx.one(_Row, f"{_MINE} AND id = :id AND deleted_at IS NULL", owner=owner_id, id=preset_id)
    return row.to_preset() if row else None


def _keep(tx: Tx, preset_id: str, number: int, content: Content, now: int) -> None:
    tx.run(
        "INSERT INTO presets_versions (preset_id, number, content, saved_at) VALUES (:id, :number, :content, :now)",
        id=preset_id,
        number=number,
        content=_encode(content).decode(),
        now=now,
    )


def _erase(tx: Tx, where: str, **given: str | int) -> None:
    tx.run(f"DELETE FROM presets_versions WHERE preset_id IN (SELECT id FROM presets_shelf WHERE {where})", **given)
    tx.run(f"DELETE FROM presets_shelf WHERE {where}", **given)
