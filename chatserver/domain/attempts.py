"""An attempt as it begins and as it ends: what whoever ranks, limits or counts channels is told."""

from __future__ import annotations

import msgspec

from chatserver.domain.access import Origin
from chatserver.domain.calls import CallKind, Usage


class AttemptStart(msgspec.Struct, frozen=True):
    """A channel is about to be asked. number: 1 for the first try of the call. started_at: microseconds UTC."""

    call_id: str
    account_id: str
    kind: CallKind
    origin: Origin
    model: str
    channel: str
    upstream_model: str
    number: int
    started_at: int


class AttemptEnd(AttemptStart, frozen=True):
    """The same attempt, over. outcome: as in Attempt. retryable: another channel may do better.

    first_token_at: None when nothing came. message: what the upstream said, a sentence for operators. retry_after_s:
    what it asked for, None when nothing.
    """

    outcome: str
    retryable: bool
    first_token_at: int | None
    ended_at: int
    usage: Usage | None = None
    message: str = ""
    retry_after_s: float | None = None
