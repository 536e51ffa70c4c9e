"""Where figures are kept, by minute, hour and day: the only SQL of this plugin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from chatserver import Context, Migration, Tx
from chatserver_gateway.figures import BINS, MINUTE_US, Cell, LastError, Place

HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
GRAINS = {"m": MINUTE_US, "h": HOUR_US, "d": DAY_US}
KEPT_US = {"m": 7 * DAY_US, "h": 15 * DAY_US, "d": 400 * DAY_US}
DOWN_LIMIT = 2_000

_BINS = [f"t{at}" for at in range(BINS)]
_COUNTS = ["asked", "failed", "fallbacks", "probes", "tokens", *_BINS]
_SUMS = ", ".join(f"CAST(SUM({name}) AS BIGINT) AS {name}" for name in _COUNTS)
_UPSERT = (
    f"INSERT INTO gateway_figures (grain, at, model, channel, {', '.join(_COUNTS)})"
    f" VALUES (:grain, :at, :model, :channel, {', '.join(f':{name}' for name in _COUNTS)})"
    " ON CONFLICT (grain, at, model, channel) DO UPDATE SET "
    + ", ".join(f"{name} = gateway_figures.{name} + excluded.{name}" for name in _COUNTS)
)

MIGRATIONS = [
    Migration(
        "0001_figures",
        (
            "CREATE TABLE gateway_figures (grain TEXT NOT NULL, at BIGINT NOT NULL, model TEXT NOT NULL,"
            f" channel TEXT NOT NULL, {', '.join(f'{name} BIGINT NOT NULL' for name in _COUNTS)},"
            " PRIMARY KEY (grain, at, model, channel))",
            "CREATE TABLE gateway_errors (model TEXT NOT NULL, channel TEXT NOT NULL, at BIGINT NOT NULL,"
            " outcome TEXT NOT NULL, message TEXT NOT NULL, PRIMARY KEY (model, channel))",
        ),
    )
]


class _Row(msgspec.Struct, frozen=True):
    at: int
    model: str
    channel: str
    asked: int
    failed: int
    fallbacks: int
    probes: int
    tokens: int
    t0: int
    t1: int
    t2: int
    t3: int
    t4: int
    t5: int
    t6: int
    t7: int
    t8: int
    t9: int
    t10: int
    t11: int

    def to_cell(self) -> Cell:
        times = [getattr(self, name) for name in _BINS]
        return Cell(self.asked, self.failed, self.fallbacks, self.probes, self.tokens, times)


class DownMinute(msgspec.Struct, frozen=True):
    """A minute in which a model was asked and never answered."""

    model: str
    at: int


class PairUse(msgspec.Struct, frozen=True):
    """When a pair last answered, was last probed, and last asked by people; 0 for never in that time."""

    model: str
    channel: str
    answered_at: int
    probed_at: int
    wanted_at: int


class Shelf:
    """Of all nodes together."""

    def open(self, ctx: Context) -> None:
        self._db = ctx.db
        self._clock = ctx.clock

    async def add(self, cells: Mapping[Place, Cell], errors: Sequence[LastError]) -> None:
        def write(tx: Tx) -> None:
            for (at, model, channel), cell in sorted(cells.items()):
                counts = dict(zip(_BINS, cell.times, strict=True))
                for grain, length_us in GRAINS.items():
                    tx.run(
                        _UPSERT,
                        grain=grain,
                        at=at - at % length_us,
                        model=model,
                        channel=channel,
                        asked=cell.asked,
                        failed=cell.failed,
                        fallbacks=cell.fallbacks,
                        probes=cell.probes,
                        tokens=cell.tokens,
                        **counts,
                    )
            for error in sorted(errors, key=lambda error: (error.model, error.channel)):
                tx.run(
                    "INSERT INTO gateway_errors (model, channel, at, outcome, message)"
                    " VALUES (:model, :channel, :at, :outcome, :message) ON CONFLICT (model, channel) DO UPDATE SET"
                    " at = excluded.at, outcome = excluded.outcome, message = excluded.message",
                    **msgspec.structs.asdict(error),
                )

        if cells or errors:
            await self._db.write(write)

    async def models(self, grain: str, since_us: int) -> dict[str, dict[int, Cell]]:
        """The models as people met them, by time."""
        rows = await self._db.read(
            lambda tx: tx.all(
                _Row,
                f"SELECT at, model, channel, {', '.join(_COUNTS)} FROM gateway_figures"
                " WHERE grain = :grain AND at >= :since AND channel = '' ORDER BY at",
                grain=grain,
                since=since_us,
            )
        )
        found: dict[str, dict[int, Cell]] = {}
        for row in rows:
            found.setdefault(row.model, {})[row.at] = row.to_cell()
        return found

    async def pairs(self, since_us: int) -> dict[tuple[str, str], Cell]:
        """Sums by (channel, model) of the hours since."""
        rows = await self._db.read(
            lambda tx: tx.all(
                _Row,
                f"SELECT MIN(at) AS at, model, channel, {_SUMS} FROM gateway_figures"
                " WHERE grain = 'h' AND at >= :since AND channel <> '' GROUP BY model, channel",
                since=since_us,
            )
        )
        return {(row.channel, row.model): row.to_cell() for row in rows}

    async def errors(self) -> dict[tuple[str, str], LastError]:
        rows = await self._db.read(
            lambda tx: tx.all(LastError, "SELECT model, channel, at, outcome, message FROM gateway_errors")
        )
        return {(row.channel, row.model): row for row in rows}

    async def down_minutes(self, since_us: int) -> list[DownMinute]:
        """The newest first."""
        return await self._db.read(
            lambda tx: tx.all(
                DownMinute,
                "SELECT model, at FROM gateway_figures WHERE grain = 'm' AND at >= :since AND channel = ''"
                " AND failed > 0 AND failed = asked ORDER BY at DESC, model LIMIT :most",
                since=since_us,
                most=DOWN_LIMIT,
            )
        )

    async def uses(self, since_us: int) -> list[PairUse]:
        """By the minute."""
        return await self._db.read(
            lambda tx: tx.all(
                PairUse,
                "SELECT model, channel, MAX(CASE WHEN asked > failed THEN at ELSE 0 END) AS answered_at,"
                " MAX(CASE WHEN probes > 0 THEN at ELSE 0 END) AS probed_at,"
                " MAX(CASE WHEN asked > probes THEN at ELSE 0 END) AS wanted_at FROM gateway_figures"
                " WHERE grain = 'm' AND at >= :since AND channel <> '' GROUP BY model, channel",
                since=since_us,
            )
        )

    async def heartbeat_tokens(self, since_us: int) -> int:
        """What heartbeats used in the days since."""
        used = await self._db.read(
            lambda tx: tx.one(
                int,
                "SELECT CAST(COALESCE(SUM(tokens), 0) AS BIGINT) FROM gateway_figures"
                " WHERE grain = 'd' AND at >= :since AND channel <> ''",
                since=since_us,
            )
        )
        return used or 0

    async def prune(self, payload: dict[str, object]) -> None:
        now = self._clock.now_us()

        def drop(tx: Tx) -> None:
            for grain, kept_us in KEPT_US.items():
                tx.run(
                    "DELETE FROM gateway_figures WHERE grain = :grain AND at < :before",
                    grain=grain,
                    before=now - kept_us,
                )
            tx.run("DELETE FROM gateway_errors WHERE at < :before", before=now - KEPT_US["h"])

        await self._db.write(drop)
