"""What became of each call and turn, counted for the operator, and one line of the log a call: never what was said."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Literal

import msgspec
import structlog

from chatserver.clock import now_us
from chatserver.domain.calls import Attempt, Call, CallState, Usage
from chatserver.domain.events import CallEnded
from chatserver.domain.figures import Counter, Distribution, Family, Figures, Gauge, Reading
from chatserver.domain.spans import Span
from chatserver.domain.turns import Turn
from chatserver.plugins import Plugins

log = structlog.get_logger("chatserver.calls")

DURATION_S = (0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
TOKEN_METERS = ("input", "cached", "cache_write", "output", "reasoning")


class CallReport(msgspec.Struct, frozen=True):
    """A call that ended. error: a code, '' for none."""

    call: Call
    state: CallState
    channel: str
    usage: Usage
    attempts: Sequence[Attempt]
    first_token_at: int | None
    ended_at: int
    error: str = ""

    def event(self) -> CallEnded:
        """The same as plugins hear of it."""
        call = self.call
        return CallEnded(
            call.id,
            call.account_id,
            call.kind,
            call.origin,
            call.model,
            self.channel,
            self.state,
            self.usage,
            call.turn_id,
            call.labels,
        )


class Meters:
    """The core's own figures; names and labels are in docs/operations.md. Labels come from the configuration and from
    the lists in this code, never from what somebody sent: a call is made only for a model that a channel has."""

    def __init__(self, plugins: Plugins) -> None:
        self.figures = Figures()
        self._telling: set[asyncio.Task[None]] = set()
        self._plugins = plugins
        by_channel = ("model", "channel")
        self._calls = self._counter(
            "chatserver_calls_total", "Calls to models that ended", (*by_channel, "kind", "origin", "state")
        )
        self._attempts = self._counter(
            "chatserver_call_attempts_total", "Tries on a channel, by how they ended", (*by_channel, "outcome")
        )
        self._fallbacks = self._counter(
            "chatserver_call_fallbacks_total", "Times a call left this channel for another", by_channel
        )
        self._tokens = self._counter("chatserver_tokens_total", "Tokens used", (*by_channel, "meter"))
        self._first_token = self._distribution(
            "chatserver_first_token_seconds", "From the try that spoke to its first token", by_channel
        )
        self._duration = self._distribution(
            "chatserver_call_duration_seconds", "From a call's begin to its end", by_channel, DURATION_S
        )
        self._started = self._counter("chatserver_turns_started_total", "Questions taken", ("origin",))
        self._ended = self._counter("chatserver_turns_ended_total", "Answers that ended on this node", ("state",))
        self._responses = self._counter("chatserver_http_responses_total", "HTTP responses begun", ("status",))

    def _counter(self, name: str, help: str, labels: Sequence[str] = ()) -> Counter:
        figure = Counter(name, help, labels)
        self.figures.add(figure)
        return figure

    def _distribution(
        self, name: str, help: str, labels: Sequence[str], bounds: Sequence[float] | None = None
    ) -> Distribution:
        figure = Distribution(name, help, labels, bounds) if bounds else Distribution(name, help, labels)
        self.figures.add(figure)
        return figure

    def gauge(self, name: str, help: str, read: Callable[[], Reading], *, is_shared: bool = False) -> None:
        """One whose name ends in `_total` is shown as the counter it is. A second app of the same house reads anew."""
        kind: Literal["counter", "gauge"] = "counter" if name.endswith("_total") else "gauge"
        self.figures.add(Gauge(name, help, read, kind, is_shared=is_shared), replaces=True)

    # --- what happened ----------------------------------------------------------------------------------------------

    def responded(self, status: int) -> None:
        self._responses.add(status=str(status))

    def turn_started(self, origin: str) -> None:
        self._started.add(origin=origin)

    def turn_ended(self, turn: Turn, state: str, error: str = "") -> None:
        self._ended.add(state=state)
        if self.is_traced:
            told: dict[str, str | int | bool] = {"model": turn.model, "origin": turn.origin, "state": state}
            request_id = _request_id()
            trace_id = request_id or turn.id
            self._tell(Span(turn.id, trace_id, request_id, "turn", turn.created_at, now_us(), error, told))

    def turn_left(self) -> None:
        """One that nobody ran any more was ended here as interrupted."""
        self._ended.add(state="interrupted")

    def request_ended(self, request_id: str, method: str, path: str, status: int, account_id: str, began: int) -> None:
        """path: without what opens something by itself."""
        told: dict[str, str | int | bool] = {"method": method, "path": path, "status": status}
        if account_id:
            told["account"] = account_id
        error = str(status) if status >= 500 else ""
        self._tell(Span(request_id, request_id, "", "request", began, now_us(), error, told))

    @property
    def is_traced(self) -> bool:
        """Whether anybody wants spans; else nobody makes them."""
        return self._plugins.has("spans_ended")

    def _tell(self, *spans: Span) -> None:
        task = asyncio.get_running_loop().create_task(self._plugins.notify("spans_ended", spans=spans))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    def call_ended(self, report: CallReport) -> None:
        """Count it and log it. Called once a call, by whoever wrote its end."""
        call, usage, attempts = report.call, report.usage, report.attempts
        by_channel = {"model": call.model, "channel": report.channel}
        self._calls.add(**by_channel, kind=call.kind, origin=call.origin, state=report.state)
        for attempt in attempts:
            self._attempts.add(model=call.model, channel=attempt.channel, outcome=attempt.outcome)
        for attempt, following in pairwise(attempts):
            if following.channel != attempt.channel:
                self._fallbacks.add(model=call.model, channel=attempt.channel)
        for meter in TOKEN_METERS:
            if amount := getattr(usage, meter):
                self._tokens.add(amount, **by_channel, meter=meter)
        if report.first_token_at and attempts:
            self._first_token.observe(max(0, report.first_token_at - attempts[-1].started_at) / 1e6, **by_channel)
        duration_us = max(0, report.ended_at - call.started_at)
        self._duration.observe(duration_us / 1e6, **by_channel)
        line = _line(report, duration_us)
        log.info("call", **line)
        if self.is_traced:
            self._tell(*_spans(report, line))

    # --- reading ----------------------------------------------------------------------------------------------------

    def families(self) -> list[Family]:
        """Everything at this moment. A plugin's figure that cannot be read is left out, and is a fault of its own."""
        families = []
        for owner, figure in self.figures.owned():
            if owner and not self._plugins.is_on(owner):
                continue
            try:
                families.append(figure.family())
            except Exception as error:  # a plugin's function: its fault costs its own figure
                if not owner:
                    raise
                self._plugins.report_fault(owner, f"the figure {figure.name}", error)
        return families

    def of_plugin(self, name: str) -> PluginMeters:
        return PluginMeters(self.figures, name)


class PluginMeters:
    """`ctx.metrics`: a plugin's own figures, shown at /metrics as `chatserver_<plugin>_<name>`.

    Labels take few values, which the configuration or the code names; nothing that somebody sent.
    """

    def __init__(self, figures: Figures, plugin: str) -> None:
        self._figures = figures
        self._plugin = plugin

    def _name(self, name: str) -> str:
        return f"chatserver_{self._plugin}_{name}"

    def counter(self, name: str, help: str, labels: Sequence[str] = ()) -> Counter:
        """name ends in `_total`. Then `add(amount, **labels)`."""
        if not name.endswith("_total"):
            raise ValueError(f"A counter's name ends in _total, and this is {name!r}.")
        figure = Counter(self._name(name), help, labels)
        self._figures.add(figure, self._plugin)
        return figure

    def distribution(
        self, name: str, help: str, labels: Sequence[str] = (), bounds: Sequence[float] | None = None
    ) -> Distribution:
        """name says its unit, as `wait_seconds`. Then `observe(value, **labels)`. bounds: of the buckets, ascending."""
        figure = Distribution(self._name(name), help, labels, *([bounds] if bounds else []))
        self._figures.add(figure, self._plugin)
        return figure

    def gauge(self, name: str, help: str, read: Callable[[], Reading]) -> None:
        """read: called at each scrape, on the loop; answers a number, or pairs of labels and number, at once."""
        self._figures.add(Gauge(self._name(name), help, read), self._plugin)


def _line(report: CallReport, duration_us: int) -> dict[str, Any]:
    call, usage = report.call, report.usage
    line: dict[str, Any] = {
        "call": call.id,
        "turn": call.turn_id,
        "account": call.account_id,
        "kind": call.kind,
        "origin": call.origin,
        "model": call.model,
        "channel": report.channel or None,
        "state": report.state,
        "error": report.error or None,
        "attempts": len(report.attempts),
        "failed": ",".join(f"{one.channel}:{one.outcome}" for one in report.attempts if one.outcome != "done") or None,
        "first_token_ms": None,
        "duration_ms": duration_us // 1000,
    }
    if report.first_token_at:
        line["first_token_ms"] = max(0, report.first_token_at - call.started_at) // 1000
    line |= {meter: amount for meter in TOKEN_METERS if (amount := getattr(usage, meter))}
    if usage.estimated:
        line["estimated"] = True
    return {name: value for name, value in line.items() if value is not None}


def _spans(report: CallReport, line: dict[str, Any]) -> list[Span]:
    """The call, and what was tried for it."""
    call, request_id = report.call, _request_id()
    parent_id = call.turn_id or request_id
    trace_id = request_id or parent_id or call.id
    told = {name: value for name, value in line.items() if name not in ("call", "turn", "failed")}
    spans = [Span(call.id, trace_id, parent_id, "call", call.started_at, report.ended_at, report.error, told)]
    for number, one in enumerate(report.attempts, 1):
        failed = "" if one.outcome in ("done", "cancelled") else one.outcome
        of_one: dict[str, str | int | bool] = {"channel": one.channel, "model": call.model, "outcome": one.outcome}
        id_ = f"{call.id}/{number}"
        spans.append(Span(id_, trace_id, call.id, "attempt", one.started_at, one.ended_at, failed, of_one))
    return spans


def _request_id() -> str:
    """Of the request that caused what runs here; '' for what a job does."""
    return str(structlog.contextvars.get_contextvars().get("request_id", ""))
