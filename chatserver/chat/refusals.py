"""A plugin's polite no as the error that carries it to whoever asked."""

from __future__ import annotations

from chatserver.domain.extend import Refusal
from chatserver.errors import Refused


def refused(refusal: Refusal) -> Refused:
    """To raise: its sentence and next step, its code, status and time to wait."""
    return Refused(
        f"{refusal.message} {refusal.next_step}".strip(),
        code=refusal.code,
        status=refusal.status,
        retry_after_s=refusal.retry_after_s,
    )
