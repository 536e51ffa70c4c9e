"""What was refused: the vendor's error types, before a stream and in the middle of one."""

from __future__ import annotations

from chatserver import Channel, UpstreamError
from chatserver.upstreams import ErrorObject, failure

# From the vendor's page on errors; in the middle of a stream there is no status but this.
_STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}


def refused(
    channel: Channel, status: int, error: ErrorObject, wait_s: float | None, secrets: tuple[str, ...]
) -> UpstreamError:
    """status 0: it came in the middle of a stream."""
    status = status or _STATUS.get(error.kind, 500)
    if status == 400 and "credit balance is too low" in error.message:
        status = 402  # nothing is wrong with the question: another channel may
    return failure(channel.name, status, error, retry_after_s=wait_s, secrets=secrets)
