"""The few errors of the house, on one base: people get a code and the next step, logs get the rest."""

from __future__ import annotations

from collections.abc import Mapping


def _(sentence: str) -> str:
    """Marks a sentence for the catalogues; it is translated where it is read."""
    return sentence


class ChatserverError(Exception):
    """An error with a stable `code`, an HTTP `status` and a sentence for the person who asked.

    The message must say what to do next and must never hold a secret or a prompt. It is a sentence in English with
    `%(name)s` for each of `values`: whoever reads it on the page reads `sentence` in their own language.
    """

    code = "internal_error"
    status = 500

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        status: int | None = None,
        retry_after_s: float | None = None,
        values: Mapping[str, str | int] | None = None,
    ) -> None:
        self.sentence = message
        self.values = dict(values or {})
        self.message = message % _written(self.values) if values else message
        super().__init__(self.message)
        if code is not None:
            self.code = code
        if status is not None:
            self.status = status
        self.retry_after_s = retry_after_s


def _written(values: Mapping[str, str | int]) -> dict[str, str]:
    return {name: value if isinstance(value, str) else f"{value:,}" for name, value in values.items()}


class BadInput(ChatserverError):
    """What was sent cannot be understood; sending it again unchanged will not help."""

    code = "bad_input"
    status = 400


class NotFound(ChatserverError):
    """Unknown, or somebody else's: the two answer alike, on purpose."""

    code = "not_found"
    status = 404

    def __init__(
        self,
        message: str = _("There is nothing here under this address."),
        *,
        code: str | None = None,
        values: Mapping[str, str | int] | None = None,
    ) -> None:
        super().__init__(message, code=code, values=values)


class Conflict(ChatserverError):
    """The thing exists, but its state does not allow this now."""

    code = "conflict"
    status = 409


class Refused(ChatserverError):
    """A polite no, raised at the door where a Refusal value can no longer be returned."""

    code = "refused"
    status = 403


class LimitReached(ChatserverError):
    """A named limit was reached; `code` is the limit's name."""

    code = "limit_reached"
    status = 429


class StorageFull(ChatserverError):
    """The disk takes no more; nothing of this request was kept."""

    code = "storage_full"
    status = 507


class Unavailable(ChatserverError):
    """The server cannot do this now (draining, database away); the same request may succeed later."""

    code = "unavailable"
    status = 503


class SetupError(ChatserverError):
    """The server cannot start like this; the message names the file, plugin or variable to mend."""

    code = "setup_error"


class UpstreamError(ChatserverError):
    """A model's vendor failed or refused.

    kind: connect | timeout | rate_limit | overloaded | server | key_refused | pair_refused | bad_request |
    too_long | content | cut | not_found. retryable: another channel may do better. upstream_status: the vendor's
    HTTP status, 0 when none came.
    """

    code = "upstream_error"
    status = 502

    def __init__(
        self,
        message: str,
        *,
        kind: str,
        retryable: bool,
        upstream_status: int = 0,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, code=f"upstream_{kind}", retry_after_s=retry_after_s)
        self.kind = kind
        self.retryable = retryable
        self.upstream_status = upstream_status
