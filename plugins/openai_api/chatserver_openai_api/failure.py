"""What goes wrong, as OpenAI's and Anthropic's APIs say it: the status a client acts on, and the object it reads."""

from __future__ import annotations

from typing import Any

import msgspec

from chatserver import BadInput, ChatserverError, NotFound, UpstreamError, WrittenError

ANY = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_UPSTREAM_STATUS = {
    "rate_limit": 429,
    "overloaded": 503,
    "bad_request": 400,
    "too_long": 400,
    "content": 400,
    "not_found": 404,
    "timeout": 504,
}
"""By the kind of an upstream's failure; of all others, 502: it is not the client who can mend them."""
_OPENAI_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    405: "invalid_request_error",
    413: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
}
_OPENAI_CODES = {
    "not_signed_in": "invalid_api_key",
    "unknown_model": "model_not_found",
    "upstream_too_long": "context_length_exceeded",
}
_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
_encode = msgspec.json.Encoder().encode


class OpenAIError(msgspec.Struct, frozen=True):
    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIBody(msgspec.Struct, frozen=True):
    error: OpenAIError


class AnthropicError(msgspec.Struct, frozen=True):
    type: str
    message: str


class AnthropicBody(msgspec.Struct, frozen=True):
    error: AnthropicError
    request_id: str
    type: str = "error"


class Wrong(BadInput):
    """A field of a request that cannot be taken. param: its name."""

    def __init__(self, message: str, param: str = "", *, code: str = "bad_input") -> None:
        super().__init__(message, code=code)
        self.param = param


def status_of(error: ChatserverError) -> int:
    if isinstance(error, UpstreamError):
        return _UPSTREAM_STATUS.get(error.kind, 502)
    return 400 if error.status == 422 else error.status


def write_openai(error: ChatserverError, request_id: str) -> WrittenError:
    status = status_of(error)
    return WrittenError(status, _encode(OpenAIBody(openai_error(error))))


def openai_error(error: ChatserverError) -> OpenAIError:
    code = _OPENAI_CODES.get(error.code, error.code)
    kind = _OPENAI_TYPES.get(status_of(error), "server_error")
    return OpenAIError(error.message, kind, getattr(error, "param", None) or None, code)


def write_anthropic(error: ChatserverError, request_id: str) -> WrittenError:
    return WrittenError(status_of(error), _encode(anthropic_body(error, request_id)))


def anthropic_body(error: ChatserverError, request_id: str) -> AnthropicBody:
    return AnthropicBody(AnthropicError(_ANTHROPIC_TYPES.get(status_of(error), "api_error"), error.message), request_id)


async def nothing_here(scope: dict[str, Any], receive: Any, send: Any) -> None:
    raise NotFound("This server does not have this address. It has /v1/models, /v1/chat/completions and /v1/messages.")


def decode_error(error: msgspec.MsgspecError) -> Wrong:
    """msgspec's words name the field: `Expected `str`, got `int` - at `$.model``."""
    words = str(error)
    found, _, place = words.rpartition(" - at `$")
    if not found:
        place = ""
    return Wrong(f"The request cannot be read: {words}.", place.strip("`.").partition("[")[0] if place else "")
