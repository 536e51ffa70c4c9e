"""Tells plugins of each attempt of a call, as it begins and as it ends."""

from __future__ import annotations

import msgspec

from chatserver.domain.attempts import AttemptEnd, AttemptStart
from chatserver.domain.calls import Attempt, Call, Usage
from chatserver.domain.models import Candidate
from chatserver.errors import UpstreamError
from chatserver.plugins import Plugins


class Watching:
    """The `Watch` of one call's relay."""

    def __init__(self, plugins: Plugins, call: Call) -> None:
        self._plugins = plugins
        self._call = call
        self._start: AttemptStart | None = None

    async def started(self, candidate: Candidate, number: int, at: int) -> None:
        call = self._call
        self._start = AttemptStart(
            call.id,
            call.account_id,
            call.kind,
            call.origin,
            call.model,
            candidate.channel.name,
            candidate.upstream_model,
            number,
            at,
        )
        if self._plugins.has("attempt_started"):
            await self._plugins.notify("attempt_started", start=self._start)

    async def ended(
        self, attempt: Attempt, error: UpstreamError | None, first_token_at: int | None, usage: Usage | None
    ) -> None:
        if self._start is None or not self._plugins.has("attempt_ended"):
            return
        end = AttemptEnd(
            **msgspec.structs.asdict(self._start),
            outcome=attempt.outcome,
            retryable=error is not None and error.retryable,
            first_token_at=first_token_at,
            ended_at=attempt.ended_at,
            usage=usage,
            message=attempt.message,
            retry_after_s=error.retry_after_s if error is not None else None,
        )
        await self._plugins.notify("attempt_ended", end=end)


def watch_call(plugins: Plugins, call: Call) -> Watching | None:
    """The watch of a call, None when nobody wants to know."""
    if plugins.has("attempt_started") or plugins.has("attempt_ended"):
        return Watching(plugins, call)
    return None
