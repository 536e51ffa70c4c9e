"""A span is something that took time and is over, for those who draw how one led to the other. Never what was said."""

from __future__ import annotations

import msgspec


class Span(msgspec.Struct, frozen=True):
    """`request` → `turn` → `call` → `attempt`; a call of a job begins a trace of its own.

    id: of the request, turn or call; of an attempt `CALL/NUMBER`. trace_id: the id of the trace's first span.
    parent_id: '' for that first one. Times in microseconds UTC. error: a code, '' when it went well. attributes: what
    the line in the log says, by the same names.
    """

    id: str
    trace_id: str
    parent_id: str
    name: str
    started_at: int
    ended_at: int
    error: str = ""
    attributes: dict[str, str | int | bool] = {}
