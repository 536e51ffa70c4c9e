"""Try channels in order until one speaks; after the first word there is no going back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping

import msgspec
import structlog

from chatserver.clock import monotonic_s, now_us
from chatserver.domain.calls import Attempt, Usage
from chatserver.domain.extend import Candidates, ChatRequest, Egress, Finish, Provider, UsageReport
from chatserver.domain.models import Candidate
from chatserver.domain.turns import ReasoningDelta, TextDelta, ToolCallDelta
from chatserver.errors import UpstreamError

log = structlog.get_logger("chatserver.relay")

MAX_ATTEMPTS = 8
GIVE_UP_S = 60.0
MAX_RETRY_AFTER_S = 30.0
LAST_TRY_S = 0.5

REFUSED = ("key_refused", "pair_refused")
"""Another channel may do better; the same one will not."""

Spoken = TextDelta | ReasoningDelta | ToolCallDelta


class Relay:
    """One answer from the first channel that speaks.

    Iterate `deltas()` once. `attempts`, `channel`, `usage` and `finish` tell what happened, also after an error.
    Closing the iterator closes the upstream connection. Raises UpstreamError: before the first word only when no
    channel is left, after it at once.
    """

    def __init__(
        self, request: ChatRequest, candidates: Candidates, providers: Mapping[str, Provider], http: Egress
    ) -> None:
        self._request = request
        self._candidates = candidates
        self._providers = providers
        self._http = http
        self.attempts: list[Attempt] = []
        self.channel = ""
        self.usage: Usage | None = None
        self.finish = ""
        self.has_spoken = False

    async def deltas(self) -> AsyncGenerator[Spoken, None]:
        started = monotonic_s()
        failures: list[tuple[Candidate, UpstreamError]] = []
        waiting = list(self._candidates)
        while waiting and len(self.attempts) < MAX_ATTEMPTS and monotonic_s() - started < GIVE_UP_S:
            candidate = waiting.pop(0)
            try:
                async for delta in self._try(candidate):
                    yield delta
                return
            except UpstreamError as error:
                if self.has_spoken or error.kind in ("bad_request", "content", "too_long"):
                    raise
                failures.append((candidate, error))
        again = next((one for one in failures if one[1].retryable and one[1].kind not in REFUSED), None)
        if again is None or len(self.attempts) >= MAX_ATTEMPTS or monotonic_s() - started >= GIVE_UP_S:
            raise failures[0][1] if failures else _no_channel()
        candidate, failure = again
        await asyncio.sleep(
            min(failure.retry_after_s if failure.retry_after_s is not None else LAST_TRY_S, MAX_RETRY_AFTER_S)
        )
        async for delta in self._try(candidate):
            yield delta

    async def _try(self, candidate: Candidate) -> AsyncGenerator[Spoken, None]:
        channel = candidate.channel
        request = msgspec.structs.replace(self._request, model=candidate.upstream_model)
        self.channel = channel.name
        self.usage, self.finish = None, ""
        began = now_us()
        outcome, message = "cancelled", ""
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
                        yield delta
            if not self.finish:
                raise UpstreamError("The model's answer broke off.", kind="cut", retryable=True)
            outcome = "done"
        except TimeoutError:
            outcome = "timeout"
            raise UpstreamError("The model took too long to finish.", kind="timeout", retryable=True) from None
        except UpstreamError as error:
            outcome, message = error.kind, error.message
            raise
        except Exception as error:  # a provider is a plugin: its fault harms this attempt only
            outcome = "provider"
            log.exception("provider_failed", channel=channel.name)
            raise UpstreamError("The provider plugin failed.", kind="server", retryable=True) from error
        finally:
            close = getattr(source, "aclose", None)
            if close is not None:
                await close()
            self.attempts.append(Attempt(channel.name, outcome, began, now_us(), message))


def _no_channel() -> UpstreamError:
    return UpstreamError("No channel serves this model any more.", kind="not_found", retryable=False)
