"""What providers share, whoever the vendor is: reading streams, listening until the end, judging refusals."""

from __future__ import annotations

from chatserver.upstreams.events import EventReader, EventTooLong, LineReader
from chatserver.upstreams.listening import Answer, is_event_stream, kind_of, listen, secrets_of
from chatserver.upstreams.refusals import (
    ErrorObject,
    failure,
    failure_in_stream,
    read_error_object,
    read_retry_after,
    unreadable,
)

__all__ = [
    "Answer",
    "ErrorObject",
    "EventReader",
    "EventTooLong",
    "LineReader",
    "failure",
    "failure_in_stream",
    "is_event_stream",
    "kind_of",
    "listen",
    "read_error_object",
    "read_retry_after",
    "secrets_of",
    "unreadable",
]
