"""What went wrong: a status and an error object become one UpstreamError, with a sentence that says what to do next."""

from __future__ import annotations

import email.utils
import re
from collections.abc import Mapping
from datetime import UTC
from typing import Any

import msgspec

from chatserver import clock
from chatserver.errors import UpstreamError

MAX_DETAIL = 240
"""Characters of an upstream's own words that we repeat."""
MAX_RETRY_AFTER_S = 24 * 3600.0

_TOO_LONG = re.compile(
    r"context[ _-]?(length|window|size|limit)|maximum context|too many tokens|prompt is too long"
    r"|exceeds? the (available|maximum)|reduce the length|input (is )?too long|n_ctx",
    re.I,
)
_CONTENT = re.compile(r"content[ _-]?(policy|filter|management)|moderation|safety system|flagged", re.I)
_KEY = re.compile(r"api[ _-]?key|authenticat|unauthori[sz]ed|invalid[ _-]?key", re.I)
_NOTHING_LEFT = re.compile(r"insufficient[ _](quota|balance)", re.I)
_NO_MODEL = re.compile(
    r"model[ _-]not[ _-]found|no such model"
    r"|(model|deployment).{0,80}(does not exist|not found|is not available|not exist)",
    re.I | re.S,
)


class ErrorObject(msgspec.Struct):
    """The error as told, whatever shape it came in. kind: what the upstream calls its sort."""

    message: str = ""
    code: str = ""
    kind: str = ""
    param: str = ""

    @property
    def words(self) -> str:
        return f"{self.code} {self.kind} {self.message}"


def read_error_object(body: bytes | Any) -> ErrorObject:
    """`{"error": {…}}`, `{"error": "…"}`, `{"message": …}`, `{"detail": …}`, a list of these, or plain text."""
    told: Any = body
    if isinstance(body, bytes):
        try:
            told = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            text = body.decode("utf-8", "replace").strip()
            return ErrorObject("" if text.startswith("<") else text)
    if isinstance(told, list):
        told = told[0] if told else {}
    if isinstance(told, dict) and told.get("error"):
        told = told["error"]
    if isinstance(told, str):
        return ErrorObject(told)
    if not isinstance(told, dict):
        return ErrorObject()
    message = told.get("message") or told.get("detail") or told.get("error_message") or ""
    if isinstance(message, list):
        message = "; ".join(str(one.get("msg", "")) if isinstance(one, dict) else str(one) for one in message)
    return ErrorObject(
        str(message), str(told.get("code") or ""), str(told.get("type") or ""), str(told.get("param") or "")
    )


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from either form of Retry-After or its cousin in milliseconds; None when absent or nonsense."""
    milliseconds = headers.get("retry-after-ms")
    text = (headers.get("Retry-After") or "").strip()
    seconds: float | None = None
    try:
        if milliseconds:
            seconds = float(milliseconds) / 1000
        elif text:
            seconds = float(text)
    except ValueError:
        try:
            at = email.utils.parsedate_to_datetime(text)
        except (ValueError, TypeError):
            return None
        if at.tzinfo is None:
            at = at.replace(tzinfo=UTC)
        seconds = at.timestamp() - clock.now_us() / 1_000_000
    if seconds is None or seconds != seconds:
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)


def failure(
    channel: str,
    status: int,
    error: ErrorObject,
    *,
    retry_after_s: float | None = None,
    secrets: tuple[str, ...] = (),
) -> UpstreamError:
    """The UpstreamError for a refusal. secrets: texts that must not be repeated (the key, what was asked)."""
    kind, retryable, sentence = _judge(channel, status, error)
    detail = _repeatable(error.message, secrets) if kind not in ("key_refused", "pair_refused") else ""
    if detail:
        sentence = f"{sentence} It says: {detail}"
    return UpstreamError(sentence, kind=kind, retryable=retryable, upstream_status=status, retry_after_s=retry_after_s)


def failure_in_stream(channel: str, told: Any, *, secrets: tuple[str, ...] = ()) -> UpstreamError:
    """An error object within a stream that began with 200; its code may be the status it would have had."""
    error = read_error_object({"error": told})
    status = int(error.code) if error.code.isdigit() and 400 <= int(error.code) <= 599 else 0
    if not status:
        words = error.words.lower()
        if "rate" in words and "limit" in words:
            status = 429
        elif "overload" in words or "capacity" in words:
            status = 503
        elif "invalid_request" in words or _TOO_LONG.search(words) or _CONTENT.search(words):
            status = 400
        else:
            status = 500
    return failure(channel, status, error, secrets=secrets)


def unreadable(channel: str, what: str = "something that could not be read") -> UpstreamError:
    return UpstreamError(
        f"The channel {channel} answered with {what}. Check that its base_url is that of the API.",
        kind="server",
        retryable=True,
    )


def _judge(channel: str, status: int, error: ErrorObject) -> tuple[str, bool, str]:
    words = error.words
    if status in (400, 404, 413, 422) and _TOO_LONG.search(words):
        return "too_long", False, "The conversation is longer than this model can read. Clear the context or branch."
    if status in (400, 403, 422, 451) and _CONTENT.search(words):
        return "content", False, "The model's vendor declined this content. Rephrase it or pick another model."
    if status == 402 or (status in (400, 403, 429) and _NOTHING_LEFT.search(words)):
        return "key_refused", True, f"The channel {channel} was refused: its account there has nothing left."
    if status == 401 or (status == 400 and _KEY.search(words)):
        return "key_refused", True, f"The channel {channel} was refused: its key is not accepted. Check the key."
    if status == 403:
        return "pair_refused", True, f"The channel {channel} may not use this model. Check what its key allows."
    if status == 404 or (status == 400 and _NO_MODEL.search(words)):
        return (
            "not_found",
            False,
            f"The channel {channel} does not know this model or address. Check model and base_url.",
        )
    if status == 408:
        return "timeout", True, f"The channel {channel} took too long."
    if status == 413:
        return "too_long", False, "What was sent is larger than this model's vendor takes. Send less."
    if status == 429:
        return "rate_limit", True, f"The channel {channel} has no room right now. Try again in a moment."
    if status in (503, 529):
        return "overloaded", True, f"The channel {channel} is overloaded. Try again in a moment."
    if status == 409 or status >= 500:
        return "server", True, f"The channel {channel} failed with status {status}. Try again."
    if status in (400, 422):
        return "bad_request", False, f"The channel {channel} did not understand the request."
    return "bad_request", False, f"The channel {channel} answered with status {status}. Check its base_url."


def _repeatable(message: str, secrets: tuple[str, ...]) -> str:
    """An upstream's words, when they hold nothing that was given to us in confidence."""
    text = " ".join(message.split())
    if any(secret in text for secret in secrets if secret):
        return ""
    return text if len(text) <= MAX_DETAIL else text[: MAX_DETAIL - 1] + "…"
