"""What providers share, whoever the vendor is: questions taken apart, streams read, answers heard, refusals judged."""

from __future__ import annotations

from chatserver.upstreams.asking import (
    Format,
    Picture,
    ToolChoice,
    output_bound,
    read_arguments,
    read_choice,
    read_format,
    read_picture,
    stand_ins,
    stops_of,
    text_of_part,
)
from chatserver.upstreams.embedding import MAX_VECTORS_BYTES, fetch_vectors
from chatserver.upstreams.events import EventReader, EventTooLong, LineReader
from chatserver.upstreams.listening import Answer, is_event_stream, kind_of, listen, secrets_of
from chatserver.upstreams.reaching import MAX_ERROR_BYTES, MAX_LIST_BYTES, accepted, fetch, question
from chatserver.upstreams.refusals import (
    ErrorObject,
    failure,
    failure_in_stream,
    read_error_object,
    read_retry_after,
    unreadable,
)

__all__ = [
    "MAX_ERROR_BYTES",
    "MAX_LIST_BYTES",
    "MAX_VECTORS_BYTES",
    "Answer",
    "ErrorObject",
    "EventReader",
    "EventTooLong",
    "Format",
    "LineReader",
    "Picture",
    "ToolChoice",
    "accepted",
    "failure",
    "failure_in_stream",
    "fetch",
    "fetch_vectors",
    "is_event_stream",
    "kind_of",
    "listen",
    "output_bound",
    "question",
    "read_arguments",
    "read_choice",
    "read_error_object",
    "read_format",
    "read_picture",
    "read_retry_after",
    "secrets_of",
    "stand_ins",
    "stops_of",
    "text_of_part",
    "unreadable",
]
