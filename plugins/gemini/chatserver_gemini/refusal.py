"""What was refused: the vendor's error object, its own wait, and what its words mean."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from chatserver import Channel, UpstreamError
from chatserver.upstreams import ErrorObject, failure, read_error_object

_DELAY = re.compile(r"(\d+(?:\.\d+)?)s")
_NOT_HERE = re.compile(r"location is not supported|not available in your country", re.I)
_STATUS = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}


def read_refusal(told: Any) -> tuple[int, ErrorObject, float | None]:
    """(status, error, seconds to wait) of an error object, or of the body that holds one; 0 when it names none."""
    if isinstance(told, bytes):
        try:
            told = msgspec.json.decode(told)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return 0, read_error_object(told), None
    if isinstance(told, list) and told:
        told = told[0]
    if isinstance(told, dict) and isinstance(told.get("error"), dict):
        told = told["error"]
    if not isinstance(told, dict):
        return 0, read_error_object({"error": told}), None
    code = told.get("code")
    name = str(told.get("status") or "")
    status = code if isinstance(code, int) and 400 <= code <= 599 else _STATUS.get(name, 0)
    details = [detail for detail in told.get("details") or () if isinstance(detail, dict)]
    reasons = " ".join(str(detail.get("reason") or "") for detail in details)
    error = ErrorObject(str(told.get("message") or ""), reasons.strip() or name, name)
    waits = [_DELAY.fullmatch(str(detail.get("retryDelay") or "")) for detail in details]
    return status, error, next((float(wait[1]) for wait in waits if wait), None)


def refused(
    channel: Channel, status: int, error: ErrorObject, wait_s: float | None, secrets: tuple[str, ...]
) -> UpstreamError:
    if status == 400 and _NOT_HERE.search(error.message):
        status = 403  # the vendor does not serve this place: another channel may
    return failure(channel.name, status, error, retry_after_s=wait_s, secrets=secrets)
