"""Spans in the JSON form of OTLP 1.x: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec

from chatserver import Span, clock

INTERNAL, SERVER, CLIENT = 1, 2, 3
ERROR = 2
KINDS = {"request": SERVER, "attempt": CLIENT}
USUAL = {
    "method": "http.request.method",
    "status": "http.response.status_code",
    "path": "url.path",
    "input": "gen_ai.usage.input_tokens",
    "output": "gen_ai.usage.output_tokens",
    "model": "gen_ai.request.model",
}
"""Ours by the names of the semantic conventions, beside our own."""

_encode = msgspec.json.Encoder().encode


def encode_spans(spans: Iterable[Span], service: str, version: str) -> bytes:
    """The body of a POST to /v1/traces."""
    resource = {"attributes": [_attribute("service.name", service)]}
    scope = {"name": "chatserver", "version": version}
    written = [_span(span) for span in spans]
    return _encode({"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": written}]}]})


def trace_id_of(text: str) -> str:
    """32 hex digits: the number an id of the house is, a digest of anything else."""
    number = clock.read_id(text)
    return f"{number:032x}" if number else hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def span_id_of(text: str) -> str:
    """16 hex digits, the same for the same id."""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _span(span: Span) -> dict[str, Any]:
    attributes = [_attribute(f"chatserver.{name}", value) for name, value in span.attributes.items()]
    attributes += [_attribute(USUAL[name], value) for name, value in span.attributes.items() if name in USUAL]
    if span.error:
        attributes.append(_attribute("error.type", span.error))
    written: dict[str, Any] = {
        "traceId": trace_id_of(span.trace_id),
        "spanId": span_id_of(span.id),
        "name": _name(span),
        "kind": KINDS.get(span.name, INTERNAL),
        # Numbers of 64 bits are texts in this form.
        "startTimeUnixNano": str(span.started_at * 1000),
        "endTimeUnixNano": str(max(span.started_at, span.ended_at) * 1000),
        "attributes": [_attribute("chatserver.id", span.id), *attributes],
        "status": {"code": ERROR, "message": span.error} if span.error else {},
    }
    if span.parent_id:
        written["parentSpanId"] = span_id_of(span.parent_id)
    return written


def _name(span: Span) -> str:
    """Few names: what is an id is no part of one."""
    told = span.attributes
    if span.name == "request":
        return f"{told.get('method', '')} /{str(told.get('path', '')).lstrip('/').partition('/')[0][:20]}"
    return f"{span.name} {told['model']}" if "model" in told else span.name


def _attribute(name: str, value: str | int | bool) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"key": name, "value": {"boolValue": value}}
    if isinstance(value, int):
        return {"key": name, "value": {"intValue": str(value)}}
    return {"key": name, "value": {"stringValue": value}}
