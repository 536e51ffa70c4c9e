"""What was spoken before: kept by account, text and voice, so that hearing it again asks nobody."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from chatserver import Context, NotFound

KEPT_US = 30 * 86_400 * 1_000_000
SWEPT_AT_ONCE = 500
_FIELDS = "sha256, media_type, size_bytes"


class Clip(msgspec.Struct, frozen=True):
    """A piece of sound that is kept as content of this plugin."""

    sha256: str
    media_type: str
    size_bytes: int


class _Old(msgspec.Struct, frozen=True):
    account_id: str
    place: str
    sha256: str


def place_of(text: str, voice: str, speed: float, language: str) -> str:
    """Where a clip is kept: what it says, and how."""
    told = "\0".join((text, voice, f"{speed:.2f}", language))
    return hashlib.sha256(told.encode()).hexdigest()


class Clips:
    def open(self, ctx: Context) -> None:
        self._ctx = ctx

    async def find(self, account_id: str, place: str) -> tuple[Clip, bytes] | None:
        """A clip and its sound; None when it was never kept, or its content is gone."""
        now = self._ctx.clock.now_us()

        def look(tx: Any) -> Clip | None:
            tx.run(
                "UPDATE voices_clips SET used_at = :now WHERE account_id = :account AND place = :place",
                now=now,
                account=account_id,
                place=place,
            )
            found: Clip | None = tx.one(
                Clip,
                f"SELECT {_FIELDS} FROM voices_clips WHERE account_id = :account AND place = :place",
                account=account_id,
                place=place,
            )
            return found

        clip = await self._ctx.db.write(look)
        if clip is None:
            return None
        try:
            return clip, b"".join([chunk async for chunk in self._ctx.blobs.read(clip.sha256)])
        except NotFound:
            return None

    async def keep(self, account_id: str, place: str, sound: bytes, media_type: str) -> None:
        sha256 = await self._ctx.blobs.put(sound)
        now = self._ctx.clock.now_us()
        await self._ctx.db.write(
            lambda tx: tx.run(
                "INSERT INTO voices_clips (account_id, place, sha256, media_type, size_bytes, used_at)"
                " VALUES (:account, :place, :sha256, :media_type, :size, :now)"
                " ON CONFLICT (account_id, place) DO UPDATE SET sha256 = excluded.sha256, used_at = excluded.used_at,"
                " media_type = excluded.media_type, size_bytes = excluded.size_bytes",
                account=account_id,
                place=place,
                sha256=sha256,
                media_type=media_type,
                size=len(sound),
                now=now,
            )
        )

    async def forget(self, account_id: str) -> None:
        """All of an account that is gone."""
        await self._drop(
            lambda tx: tx.all(
                _Old,
                "SELECT account_id, place, sha256 FROM voices_clips WHERE account_id = :account",
                account=account_id,
            )
        )

    async def forget_old(self, payload: dict[str, Any]) -> None:
        """What nobody heard for a month."""
        before = self._ctx.clock.now_us() - KEPT_US
        await self._drop(
            lambda tx: tx.all(
                _Old,
                "SELECT account_id, place, sha256 FROM voices_clips WHERE used_at < :before"
                " ORDER BY used_at LIMIT :most",
                before=before,
                most=SWEPT_AT_ONCE,
            )
        )

    async def _drop(self, find: Any) -> None:
        """Rows first: content nobody names is collected, a row without content would only be made anew."""

        def delete(tx: Any) -> list[str]:
            old = find(tx)
            for one in old:
                tx.run(
                    "DELETE FROM voices_clips WHERE account_id = :account AND place = :place",
                    account=one.account_id,
                    place=one.place,
                )
            return [
                one.sha256
                for one in old
                if tx.one(int, "SELECT 1 FROM voices_clips WHERE sha256 = :sha256 LIMIT 1", sha256=one.sha256) is None
            ]

        for sha256 in set(await self._ctx.db.write(delete)):
            await self._ctx.blobs.drop(sha256)
