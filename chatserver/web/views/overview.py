"""The console's figures and charts: numbers as the reader writes them, and where each bar stands."""

from __future__ import annotations

from datetime import tzinfo

import msgspec

from chatserver.domain.overview import Overview, Sum
from chatserver.web.views.times import clock_text, date_text, seconds_text
from chatserver.words import gettext as _
from chatserver.words import ngettext, number_text, percent_text

WIDTH, HEIGHT = 720, 160
PERIODS = {"day": (1, 24), "week": (6, 28), "month": (24, 30)}
"""How long a bar is, in hours, and how many there are."""


class FigureView(msgspec.Struct, frozen=True):
    label: str
    value: str
    note: str = ""


class BarView(msgspec.Struct, frozen=True):
    """In the units of the chart. bad: how much of its height failed. text: what it says, in words."""

    x: float
    width: float
    y: float
    height: float
    bad: float
    text: str


class ModelLine(msgspec.Struct, frozen=True):
    """width: its share of the most used, of 100."""

    name: str
    calls: str
    tokens: str
    errors: str
    width: int


class OverviewView(msgspec.Struct, frozen=True):
    figures: tuple[FigureView, ...]
    bars: tuple[BarView, ...]
    most: str
    first: str
    last: str
    models: tuple[ModelLine, ...]
    is_cut: bool
    period: str


def overview_view(seen: Overview, period: str, zone: tzinfo | None) -> OverviewView:
    total = seen.total
    most = max((span.calls for span in seen.spans), default=0)
    share = percent_text(total.errors / total.calls, 1) if total.calls else ""
    told = [_when(span, period, zone) for span in seen.spans]
    top = max((one.calls for one in seen.models), default=1)
    return OverviewView(
        figures=(
            FigureView(_("Calls"), number_text(total.calls)),
            FigureView(_("Tokens"), number_text(total.tokens)),
            FigureView(_("Errors"), number_text(total.errors), share),
            FigureView(_("Active accounts"), number_text(seen.accounts)),
            FigureView(_("First token, half of them"), seconds_text(seen.p50_ms) if seen.p50_ms is not None else "–"),
            FigureView(_("First token, 95 of 100"), seconds_text(seen.p95_ms) if seen.p95_ms is not None else "–"),
        ),
        bars=tuple(_bar(number, span, len(seen.spans), most, told[number]) for number, span in enumerate(seen.spans)),
        most=number_text(most),
        first=told[0],
        last=told[-1],
        models=tuple(
            ModelLine(
                one.name,
                number_text(one.calls),
                number_text(one.tokens),
                number_text(one.errors),
                max(1, round(100 * one.calls / top)),
            )
            for one in seen.models
        ),
        is_cut=seen.is_cut,
        period=period,
    )


def _when(span: Sum, period: str, zone: tzinfo | None) -> str:
    day = date_text(span.at, zone)
    return {"day": clock_text(span.at, zone), "week": f"{day} {clock_text(span.at, zone)}"}.get(period, day)


def _bar(number: int, span: Sum, count: int, most: int, when: str) -> BarView:
    step = WIDTH / count
    height = HEIGHT * span.calls / most if most else 0.0
    bad = height * span.errors / span.calls if span.calls else 0.0
    calls = ngettext("{count} call", "{count} calls", span.calls).format(count=number_text(span.calls))
    tokens = ngettext("{count} token", "{count} tokens", span.tokens).format(count=number_text(span.tokens))
    errors = ngettext("{count} error", "{count} errors", span.errors).format(count=number_text(span.errors))
    text = f"{when}: {calls}, {tokens}, {errors}"
    return BarView(
        round(number * step + step * 0.15, 1),
        round(step * 0.7, 1),
        round(HEIGHT - height, 1),
        round(height, 1),
        round(bad, 1),
        text,
    )
