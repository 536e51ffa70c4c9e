"""What /status says of each model: how it is, how it was, how soon it speaks; worked out once in half a minute."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from chatserver import Context, Model
from chatserver_gateway.figures import MINUTE_US, Cell, percentile_ms
from chatserver_gateway.shelf import DAY_US, HOUR_US, DownMinute, Shelf

HOURS = 24
DAYS = 90
KEPT_S = 30.0
LATELY_US = 15 * MINUTE_US
INCIDENT_GAP_US = 6 * MINUTE_US
INCIDENT_MINUTES = 2
INCIDENTS_LIMIT = 20
WEAK_SHARE = 0.05

State = Literal["up", "weak", "down", "quiet"]
WORST_FIRST: tuple[State, ...] = ("down", "weak", "up", "quiet")


class Bar(msgspec.Struct, frozen=True):
    """One hour or day. state: quiet when nobody asked. share: of requests answered, in percent."""

    at: int
    state: State
    share: float = 0.0


class Incident(msgspec.Struct, frozen=True):
    """A model was asked and did not answer, from `began_at` on for so many minutes."""

    title: str
    began_at: int
    minutes: int


class ModelStatus(msgspec.Struct, frozen=True):
    """name: what the API calls it. uptime: percent of requests answered in 90 days, None when there was none. p50, p95:
    first token, of 24 h."""

    name: str
    title: str
    state: State
    hours: tuple[Bar, ...]
    days: tuple[Bar, ...]
    uptime: float | None
    p50_ms: int | None
    p95_ms: int | None


class Status(msgspec.Struct, frozen=True):
    models: tuple[ModelStatus, ...]
    incidents: tuple[Incident, ...]

    @property
    def state(self) -> State:
        """The worst of all."""
        return min((model.state for model in self.models), key=WORST_FIRST.index, default="quiet")


class StatusBook:
    """Of the models that everybody may pick and somebody has asked."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._known: Status | None = None
        self._until = 0.0

    def open(self, ctx: Context) -> None:
        self._ctx = ctx

    async def read(self) -> Status:
        now_s = self._ctx.clock.monotonic_s()
        if self._known is None or now_s >= self._until:
            self._until = now_s + KEPT_S
            self._known = await self.work_out()
        return self._known

    async def work_out(self) -> Status:
        now = self._ctx.clock.now_us()
        models: list[Model] = self._ctx.probes.models()
        minutes = await self._shelf.models("m", now - LATELY_US)
        hours = await self._shelf.models("h", now - HOURS * HOUR_US)
        days = await self._shelf.models("d", now - DAYS * DAY_US)
        titles = {model.id: model.title for model in models if model.id in days}
        down = [one for one in await self._shelf.down_minutes(now - 7 * DAY_US) if one.model in titles]
        return Status(
            tuple(
                model_status(name, title, minutes.get(name, {}), hours.get(name, {}), days[name], now)
                for name, title in titles.items()
            ),
            tuple(incidents(down, titles)[:INCIDENTS_LIMIT]),
        )


def model_status(
    name: str, title: str, minutes: Mapping[int, Cell], hours: Mapping[int, Cell], days: Mapping[int, Cell], now: int
) -> ModelStatus:
    lately = sum_of(minutes.values())
    day = sum_of(hours.values())
    whole = sum_of(days.values())
    return ModelStatus(
        name,
        title,
        state_of(lately) if lately.asked else ("up" if day.asked and state_of(day) == "up" else "quiet"),
        bars(hours, HOUR_US, HOURS, now),
        bars(days, DAY_US, DAYS, now),
        percent(whole) if whole.asked else None,
        percentile_ms(day.times, 0.5),
        percentile_ms(day.times, 0.95),
    )


def bars(cells: Mapping[int, Cell], length_us: int, count: int, now: int) -> tuple[Bar, ...]:
    """The last so many, the oldest first; now's is the last."""
    newest = now - now % length_us
    found = []
    for back in range(count - 1, -1, -1):
        at = newest - back * length_us
        cell = cells.get(at)
        found.append(Bar(at, state_of(cell), percent(cell)) if cell is not None and cell.asked else Bar(at, "quiet"))
    return tuple(found)


def state_of(cell: Cell) -> State:
    if not cell.asked:
        return "quiet"
    if cell.failed == cell.asked:
        return "down"
    return "weak" if cell.failed > WEAK_SHARE * cell.asked else "up"


def percent(cell: Cell) -> float:
    """Rounded down, so that only what never failed is whole."""
    return int(1_000 * (cell.asked - cell.failed) / cell.asked) / 10


def sum_of(cells: Iterable[Cell]) -> Cell:
    total = Cell()
    for cell in cells:
        total.add(cell)
    return total


def incidents(down: Sequence[DownMinute], titles: Mapping[str, str]) -> list[Incident]:
    """Minutes close to each other are one; a single one is none. The newest first."""
    found: list[Incident] = []
    for model, title in titles.items():
        times = sorted(one.at for one in down if one.model == model)
        run: list[int] = []
        for at in [*times, 0]:
            if run and not 0 < at - run[-1] <= INCIDENT_GAP_US:
                if len(run) >= INCIDENT_MINUTES:
                    found.append(Incident(title, run[0], (run[-1] - run[0]) // MINUTE_US + 1))
                run = []
            run.append(at)
    return sorted(found, key=lambda one: (-one.began_at, one.title))
