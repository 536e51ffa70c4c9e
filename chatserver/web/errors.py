"""Every exception as an answer: the error format for programs, a page for people, and the rest into the log."""

from __future__ import annotations

import http
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, LitestarException, ValidationException

from chatserver import words
from chatserver.errors import BadInput, ChatserverError, NotFound, Unavailable
from chatserver.web import templating, views
from chatserver.words import gettext as _

log = structlog.get_logger("chatserver.web")

RETRY_AFTER_S = {429: 5, 503: 5, 507: 30}
CODES = {
    400: "bad_input",
    401: "not_signed_in",
    403: "refused",
    404: "not_found",
    405: "method_not_allowed",
    415: "bad_input",
}
JSON_PATHS = ("/api", "/events", "/static/", "/healthz", "/readyz", "/metrics")
_SECRETS = re.compile(r"^(/s/|/setup/)[^/]+")
Headers = list[tuple[bytes, bytes]]


class NotSignedIn(ChatserverError):
    """Whoever asks is nobody we know. The message is shown to programs; people are sent to the sign-in page."""

    code = "not_signed_in"
    status = 401

    def __init__(self, message: str = "Sign in, or send an API key as `Authorization: Bearer KEY`.") -> None:
        super().__init__(message)


class MethodNotAllowed(ChatserverError):
    """The address is there, and does not do that. allowed: what it does."""

    code = "method_not_allowed"
    status = 405

    def __init__(self, message: str, allowed: Iterable[str]) -> None:
        super().__init__(message)
        self.allowed = sorted(allowed)


def with_head(methods: Iterable[str]) -> set[str]:
    """HEAD is asked of whoever answers GET."""
    return {*methods, "HEAD"} if "GET" in methods else set(methods)


class ProofNeeded(ChatserverError):
    """Whoever asks must show again who they are before this is done. html: the page that asks for it, and that holds
    what was being done; programs and fragments get the sentence."""

    code = "proof_needed"

    def __init__(self, message: str, html: str, *, status: int = 403, retry_after_s: float | None = None) -> None:
        super().__init__(message, status=status, retry_after_s=retry_after_s)
        self.html = html


class ErrorBody(msgspec.Struct, frozen=True):
    code: str
    message: str
    request_id: str


class Answer(msgspec.Struct, frozen=True):
    status: int
    headers: Headers
    body: bytes


def as_error(error: Exception) -> ChatserverError:
    """Any exception as one of ours; what we did not foresee becomes `internal_error` without a word of its own."""
    if isinstance(error, ChatserverError):
        return _retryable(error) if error.status in (500, 502) and error.code.startswith("upstream_") else error
    if isinstance(error, ValidationException):
        return BadInput(_what_is_wrong(error))
    if isinstance(error, HTTPException):
        return _of_http(error)
    if isinstance(error, LitestarException) and isinstance(error.__cause__, Exception):
        return as_error(error.__cause__)
    if isinstance(error, msgspec.MsgspecError | UnicodeError | RecursionError | OverflowError):
        return BadInput("The request cannot be understood; check its format and send it again.")
    return ChatserverError("Something went wrong on our side. Try again; the log knows more under this request's id.")


def answer(error: Exception, scope: Mapping[str, Any]) -> Answer:
    """Status, headers and body for this error on this request. Surprises are logged with their traceback."""
    known = as_error(error)
    state = scope.get("state", {})
    request_id, path = state.get("request_id", ""), state.get("path", scope["path"])
    if known.status >= 500 and known.status not in (503, 507):
        log.error("request_failed", path=without_secret(path), exc_info=error)
    given = dict(scope["headers"])
    headers: Headers = []
    retry_s = known.retry_after_s or RETRY_AFTER_S.get(known.status)
    if retry_s:
        headers.append((b"retry-after", b"%d" % max(1, round(retry_s))))
    if isinstance(known, MethodNotAllowed):
        headers.append((b"allow", ", ".join(known.allowed).encode()))
    elif isinstance(error, HTTPException) and known.status == 405:
        headers += [
            (b"allow", value.encode()) for name, value in (error.headers or {}).items() if name.lower() == "allow"
        ]
    if known.status == 413:
        headers.append((b"connection", b"close"))
    if (endpoint := state.get("endpoint")) is not None:
        written = endpoint.write_error(error if isinstance(error, ChatserverError) else known, request_id)
        return Answer(written.status, [*headers, (b"content-type", b"application/json")], written.body)
    if wants_json(path, given):
        if known.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        body = msgspec.json.encode({"error": ErrorBody(known.code, known.message, request_id)})
        return Answer(known.status, [*headers, (b"content-type", b"application/json")], body)
    is_htmx = b"hx-request" in given
    if isinstance(error, ProofNeeded) and not is_htmx:
        return Answer(known.status, [*headers, (b"content-type", b"text/html; charset=utf-8")], error.html.encode())
    if known.status == 401:
        where = b"/sign-in" + (b"" if is_htmx or scope["method"] != "GET" else b"?next=" + _here(scope))
        if is_htmx:
            headers.append((b"hx-redirect", where))
        else:
            return Answer(303, [*headers, (b"location", where)], b"")
    title = views.problem_title(known.code) or _title(known.status)
    text = spoken(known)
    if known.code == "internal_error":  # whoever reports it has something to quote
        text = f"{text} {request_id}"
    problem = views.Problem(title=title, text=text, code=known.code)
    html = templating.render_problem(problem) if is_htmx else templating.render_error_page(problem, status=known.status)
    return Answer(known.status, [*headers, (b"content-type", b"text/html; charset=utf-8")], html.encode())


def problem_of(error: ChatserverError) -> views.Problem:
    """For a page that is shown again with what was typed."""
    return views.Problem(views.problem_title(error.code) or _("That did not work"), spoken(error), code=error.code)


def spoken(error: ChatserverError) -> str:
    """What it says, in the reader's language."""
    told = {name: value if isinstance(value, str) else words.number_text(value) for name, value in error.values.items()}
    return _(error.sentence) % told if told else _(error.sentence)


def handle_exception(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Litestar's way to the same answer."""
    given = answer(error, request.scope)
    headers = {name.decode(): value.decode("latin-1") for name, value in given.headers}
    media_type = headers.pop("content-type", "text/plain").partition(";")[0]  # Litestar adds the charset
    return Response(given.body, status_code=given.status, headers=headers, media_type=media_type)


async def send_answer(given: Answer, send: Any) -> None:
    """The answer over plain ASGI."""
    headers = [*given.headers, (b"content-length", b"%d" % len(given.body))]
    await send({"type": "http.response.start", "status": given.status, "headers": headers})
    await send({"type": "http.response.body", "body": given.body, "more_body": False})


def wants_json(path: str, headers: Mapping[bytes, bytes]) -> bool:
    """Programs get JSON, whatever they say they accept; a plugin's routes answer as the Accept header asks."""
    if path.startswith(JSON_PATHS):
        return True
    return path.startswith("/x/") and b"text/html" not in headers.get(b"accept", b"")


def without_secret(path: str) -> str:
    """A path as it may stand in a log: what follows these words opens something by itself."""
    return _SECRETS.sub(r"\1…", path)


def _here(scope: Mapping[str, Any]) -> bytes:
    path = scope["state"]["path"] + ("?" + scope["query_string"].decode("latin-1") if scope.get("query_string") else "")
    return quote(path, safe="").encode() if len(path) <= 500 else b"%2F"


def _retryable(error: ChatserverError) -> Unavailable:
    return Unavailable(error.sentence, values=error.values, code=error.code, retry_after_s=error.retry_after_s or 5)


def _of_http(error: HTTPException) -> ChatserverError:
    status = error.status_code
    if status >= 500:
        return ChatserverError("Something went wrong on our side. Try again.")
    if status == 404:
        return NotFound()
    if status == 405:
        return ChatserverError("This address does not do that.", code="method_not_allowed", status=405)
    return ChatserverError(str(error.detail)[:500], code=CODES.get(status, "bad_input"), status=status)


def _what_is_wrong(error: ValidationException) -> str:
    faults = error.extra if isinstance(error.extra, list) else []
    named = [f"{fault['key']}: {fault['message']}" for fault in faults if isinstance(fault, dict) and fault.get("key")]
    unnamed = [str(fault["message"]) for fault in faults if isinstance(fault, dict) and not fault.get("key")]
    return ("; ".join(named + unnamed) or "The request cannot be understood; check its fields.")[:500]


def _title(status: int) -> str:
    titles = {
        400: _("That did not arrive in one piece"),
        403: _("That is not allowed"),
        404: _("There is nothing here"),
        409: _("That does not go right now"),
        413: _("That is too large"),
        429: _("A little too fast"),
        503: _("Back in a moment"),
        507: _("The disk is full"),
    }
    return titles.get(status, _("Something went wrong") if status >= 500 else http.HTTPStatus(status).phrase)
