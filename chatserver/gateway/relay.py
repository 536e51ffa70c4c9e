"""Try channels in order until one speaks; after the first word there is no going back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Protocol

import msgspec
import structlog

from chatserver.clock import monotonic_s, now_us
from chatserver.domain.calls import Attempt, Usage
from chatserver.domain.extend import Candidates, ChatRequest, Egress, Finish, Provider, UsageReport
from chatserver.domain.models import Candidate
from chatserver.domain.turns import ReasoningDelta, TextDelta, ToolCallDelta
from chatserver.errors import UpstreamError
from chatserver.gateway.patience import Patience

log = structlog.get_logger("chatserver.relay")

MAX_ATTEMPTS = 8
GIVE_UP_S = 60.0
MAX_RETRY_AFTER_S = 30.0
LAST_TRY_S = 0.5

REFUSED = ("key_refused", "pair_refused")
"""Another channel may do better; the same one will not."""

OWN_FAULT = ("bad_request", "content", "too_long")
"""What was asked is refused, and would be by every channel."""

Spoken = TextDelta | ReasoningDelta | ToolCallDelta


class Watch(Protocol):
    """Told of each attempt, before it is made and after it is over. Neither raises; both stand in the road."""

    async def started(self, candidate: Candidate, number: int, at: int) -> None: ...
    async def ended(
        self, attempt: Attempt, error: UpstreamError | None, first_token_at: int | None, usage: Usage | None
    ) -> None: ...


class Relay:
    """One answer from the first channel that speaks.

    Iterate `deltas()` once. `attempts`, `channel`, `usage` and `finish` tell what happened, also after an error.
    Closing the iterator closes the upstream connection. Raises UpstreamError: before the first word only when no
    channel is left, after it at once. patience: of the whole house, which bounds second tries.
    """

    def __init__(
        self,
        request: ChatRequest,
        candidates: Candidates,
        providers: Mapping[str, Provider],
        http: Egress,
        watch: Watch | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._request = request
        self._candidates = candidates
        self._providers = providers
        self._http = http
        self._watch = watch
        self._patience = patience or Patience()
        self.attempts: list[Attempt] = []
        self.channel = ""
        self.usage: Usage | None = None
        self.finish = ""
        self.has_spoken = False

    async def deltas(self) -> AsyncGenerator[Spoken, None]:
        started = monotonic_s()
        model = self._request.model
        self._patience.asked(model)
        failures: list[tuple[Candidate, UpstreamError]] = []
        waiting = list(self._candidates)
        while waiting and len(self.attempts) < MAX_ATTEMPTS and not (len(failures) > 1 and _is_late(started)):
            candidate = waiting.pop(0)
            try:
                async with aclosing(self._try(candidate)) as deltas:
                    async for delta in deltas:
                        yield delta
                self._patience.went_well(model)
                return
            except UpstreamError as error:
                if self.has_spoken or error.kind in OWN_FAULT:
                    raise
                failures.append((candidate, error))
        again = None if len(self.attempts) >= MAX_ATTEMPTS or _is_late(started) else _best(failures)
        if again is None or not self._patience.may_repeat(model):
            raise failures[0][1] if failures else _no_channel()
        candidate, failure = again
        await asyncio.sleep(_wait_s(failure))
        async with aclosing(self._try(candidate)) as deltas:
            async for delta in deltas:
                yield delta
        self._patience.went_well(model)

    async def _try(self, candidate: Candidate) -> AsyncGenerator[Spoken, None]:
        channel = candidate.channel
        request = msgspec.structs.replace(self._request, model=candidate.upstream_model)
        self.channel = channel.name
        self.usage, self.finish = None, ""
        began = now_us()
        outcome, message = "cancelled", ""
        failure: UpstreamError | None = None
        first_token_at: int | None = None
        if self._watch is not None:
            await self._watch.started(candidate, len(self.attempts) + 1, began)
        source = self._providers[channel.provider].chat(request, channel, self._http)
        try:
            async with asyncio.timeout(channel.total_s):
                async for delta in source:
                    if isinstance(delta, UsageReport):
                        self.usage = delta.usage
                    elif isinstance(delta, Finish):
                        self.finish = delta.reason
                    else:
                        self.has_spoken = True
                        first_token_at = first_token_at or now_us()
                        yield delta
            if not self.finish:
                raise UpstreamError("The model's answer broke off.", kind="cut", retryable=True)
            outcome = "done"
        except TimeoutError:
            outcome = "timeout"
            failure = UpstreamError("The model took too long to finish.", kind="timeout", retryable=True)
            raise failure from None
        except UpstreamError as error:
            failure = error
            outcome, message = error.kind, error.message
            raise
        except Exception as error:  # a provider is a plugin: its fault harms this attempt only
            outcome = "provider"
            log.exception("provider_failed", channel=channel.name)
            failure = UpstreamError("The provider plugin failed.", kind="server", retryable=True)
            raise failure from error
        finally:
            close = getattr(source, "aclose", None)
            if close is not None:
                await close()
            attempt = Attempt(channel.name, outcome, began, now_us(), message)
            self.attempts.append(attempt)
            if self._watch is not None:
                await self._watch.ended(attempt, failure, first_token_at, self.usage)


def _is_late(started_s: float) -> bool:
    """After one silent channel there is always time for another."""
    return monotonic_s() - started_s >= GIVE_UP_S


def _best(failures: list[tuple[Candidate, UpstreamError]]) -> tuple[Candidate, UpstreamError] | None:
    """The one worth asking again: who wants the shortest wait, the better ranked of equals."""
    worth = [one for one in failures if one[1].retryable and one[1].kind not in REFUSED]
    return min(worth, key=lambda one: _wait_s(one[1]), default=None)


def _wait_s(failure: UpstreamError) -> float:
    return min(failure.retry_after_s if failure.retry_after_s is not None else LAST_TRY_S, MAX_RETRY_AFTER_S)


def _no_channel() -> UpstreamError:
    return UpstreamError("No channel serves this model any more.", kind="not_found", retryable=False)
