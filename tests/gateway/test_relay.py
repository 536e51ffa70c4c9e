"""One answer from the first channel that speaks: what is tried again, what is not, and how often."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from chatserver.domain.attempts import AttemptEnd, AttemptStart
from chatserver.domain.calls import Attempt, Call, Usage
from chatserver.domain.extend import ChatRequest, Finish, ProviderDelta
from chatserver.domain.models import Candidate, Channel, Model
from chatserver.domain.turns import TextDelta
from chatserver.errors import UpstreamError
from chatserver.gateway import relay as relay_file
from chatserver.gateway.patience import Patience
from chatserver.gateway.relay import MAX_ATTEMPTS, Relay

HTTP: Any = None


class Scripted:
    """A provider whose channels fail as they are told to, by kind; '' speaks."""

    name = "scripted"

    def __init__(self, **kinds: list[str]) -> None:
        self.kinds = kinds
        self.asked: list[str] = []

    async def discover(self, http: Any) -> list[Channel]:
        return []

    async def list_models(self, channel: Channel, http: Any) -> list[Model]:
        return []

    async def chat(self, request: ChatRequest, channel: Channel, http: Any) -> AsyncIterator[ProviderDelta]:
        self.asked.append(channel.name)
        kinds = self.kinds[channel.name]
        kind = kinds.pop(0) if len(kinds) > 1 else kinds[0]
        if kind:
            if kind == "midway":
                yield TextDelta("half")
            raise UpstreamError(kind, kind=kind, retryable=kind not in relay_file.OWN_FAULT, retry_after_s=0.0)
        yield TextDelta("hello")
        yield Finish("stop")


def make_relay(provider: Scripted, watch: Any = None, patience: Patience | None = None) -> Relay:
    candidates = tuple(Candidate(Channel(name, "scripted"), "m", Model("m")) for name in provider.kinds)
    return Relay(ChatRequest("m", ()), candidates, {"scripted": provider}, HTTP, watch, patience)


async def said(relay: Relay) -> str:
    async with aclosing(relay.deltas()) as deltas:
        return "".join([delta.text async for delta in deltas if isinstance(delta, TextDelta)])


@pytest.mark.parametrize(
    "kind", ["connect", "timeout", "rate_limit", "server", "overloaded", "key_refused", "not_found"]
)
async def test_a_failure_of_the_channel_goes_to_the_next(kind: str) -> None:
    provider = Scripted(a=[kind], b=[""])
    assert await said(make_relay(provider)) == "hello"
    assert provider.asked == ["a", "b"]


@pytest.mark.parametrize("kind", relay_file.OWN_FAULT)
async def test_a_fault_of_the_question_is_asked_once(kind: str) -> None:
    provider = Scripted(a=[kind], b=[""])
    with pytest.raises(UpstreamError):
        await said(make_relay(provider))
    assert provider.asked == ["a"]


async def test_after_the_first_token_there_is_no_other_channel() -> None:
    provider = Scripted(a=["midway"], b=[""])
    with pytest.raises(UpstreamError):
        await said(make_relay(provider))
    assert provider.asked == ["a"]


async def test_one_is_tried_a_second_time_only_when_none_is_left() -> None:
    provider = Scripted(a=["key_refused"], b=["server", ""], c=["server"])
    assert await said(make_relay(provider)) == "hello"
    assert provider.asked == ["a", "b", "c", "b"]


async def test_refused_keys_are_not_asked_again() -> None:
    provider = Scripted(a=["key_refused"], b=["pair_refused"])
    with pytest.raises(UpstreamError):
        await said(make_relay(provider))
    assert provider.asked == ["a", "b"]


async def test_attempts_have_an_end() -> None:
    provider = Scripted(**{f"c{number}": ["server"] for number in range(20)})
    with pytest.raises(UpstreamError):
        await said(make_relay(provider))
    assert len(provider.asked) == MAX_ATTEMPTS


async def test_an_outage_is_no_storm() -> None:
    provider, patience = Scripted(a=["server"]), Patience()
    requests = 200

    async def ask() -> None:
        with pytest.raises(UpstreamError):
            await said(make_relay(provider, patience=patience))

    await asyncio.gather(*(ask() for _ in range(requests)))
    assert requests < len(provider.asked) <= 1.2 * requests + 10
    provider.kinds["a"] = [""]
    assert await said(make_relay(provider, patience=patience)) == "hello"
    assert patience.may_repeat("m")


class Listener:
    def __init__(self) -> None:
        self.heard: list[tuple[str, str, int]] = []

    async def started(self, candidate: Candidate, number: int, at: int) -> None:
        self.heard.append(("started", candidate.channel.name, number))

    async def ended(
        self, attempt: Attempt, error: UpstreamError | None, first_token_at: int | None, usage: Usage | None
    ) -> None:
        self.heard.append((attempt.outcome, attempt.channel, int(first_token_at is not None)))


async def test_who_watches_hears_of_each_attempt() -> None:
    watch = Listener()
    await said(make_relay(Scripted(a=["server"], b=[""]), watch))
    assert watch.heard == [("started", "a", 1), ("server", "a", 0), ("started", "b", 2), ("done", "b", 1)]


async def test_a_reader_that_leaves_ends_the_attempt_as_cancelled() -> None:
    watch = Listener()
    async with aclosing(make_relay(Scripted(a=[""]), watch).deltas()) as deltas:
        async for _ in deltas:
            break
    assert watch.heard[-1] == ("cancelled", "a", 1)


async def test_plugins_hear_of_attempts_through_their_hooks(plugin_manager: Any) -> None:
    from chatserver import hookimpl
    from chatserver.chat.watching import watch_call

    class Ears:
        def __init__(self) -> None:
            self.starts: list[AttemptStart] = []
            self.ends: list[AttemptEnd] = []

        @hookimpl
        async def attempt_started(self, start: AttemptStart) -> None:
            self.starts.append(start)

        @hookimpl
        async def attempt_ended(self, end: AttemptEnd) -> None:
            self.ends.append(end)

    ears = Ears()
    plugins = plugin_manager(ears=ears)
    call = Call("call", "ann", "title", "job", "m", "running", 1)
    await said(make_relay(Scripted(a=["server"], b=[""]), watch_call(plugins, call)))
    assert [(start.call_id, start.channel, start.number) for start in ears.starts] == [
        ("call", "a", 1),
        ("call", "b", 2),
    ]
    assert [(end.channel, end.outcome, end.retryable) for end in ears.ends] == [
        ("a", "server", True),
        ("b", "done", False),
    ]
    assert watch_call(plugin_manager(), call) is None
