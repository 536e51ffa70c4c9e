"""The contract every provider keeps, as tests: subclass it, say which model of your fake upstream behaves how.

    class TestMyProvider(ProviderContract):
        def make_provider(self) -> Provider:
            return MyProvider()

Without more it runs against `chatserver.testing.upstream`. A provider with another wire format brings a fake of its
own: override `make_channel`, and `behaviours` with the names of its models; a behaviour left out is skipped.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec
import pytest

from chatserver.domain.extend import ChatRequest, Egress, Finish, PromptMessage, Provider, ProviderDelta, UsageReport
from chatserver.domain.messages import TextPart
from chatserver.domain.models import Channel
from chatserver.domain.turns import ReasoningDelta, TextDelta, ToolCallDelta
from chatserver.errors import UpstreamError
from chatserver.gateway.egress import EgressClient
from chatserver.testing.upstream import FakeUpstream

KEY = "sk-canary-8f31c2d97b"
STOP_S = 1.0
"""How soon an upstream connection is closed after whoever read the answer left."""
SILENCE_S = 0.3


@contextlib.asynccontextmanager
async def open_egress() -> AsyncIterator[EgressClient]:
    """The real way out, closed afterwards."""
    http = EgressClient()
    try:
        yield http
    finally:
        await http.close()


def ask(model: str, text: str = "How tall do oaks grow?", *, stream: bool = True, **more: Any) -> ChatRequest:
    """A request with one question."""
    return ChatRequest(model, (PromptMessage("user", (TextPart(text),)),), stream=stream, **more)


def said(deltas: list[ProviderDelta]) -> str:
    return "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))


def thought(deltas: list[ProviderDelta]) -> str:
    return "".join(delta.text for delta in deltas if isinstance(delta, ReasoningDelta))


async def collect(
    provider: Provider, request: ChatRequest, channel: Channel, http: Egress
) -> tuple[list[ProviderDelta], UpstreamError | None]:
    """All that was said, and how it failed; any other exception is a fault of the provider."""
    deltas: list[ProviderDelta] = []
    try:
        async for delta in provider.chat(request, channel, http):
            deltas.append(delta)
    except UpstreamError as error:
        return deltas, error
    return deltas, None


@pytest.mark.asyncio
class ProviderContract:
    """What the core relies on, whoever the vendor is."""

    behaviours: Mapping[str, str] = {
        "says": "fake-n12-gap5",
        "reasons": "fake-think3-n4",
        "unicode": "fake-unicode-split-n12",
        "endless": "fake-n100000-gap20",
        "tool": "fake-tool-n2",
        "cached": "fake-n4-think2-cached2",
        "no usage": "fake-n4-nousage",
        "length": "fake-n4-length",
        "cut": "fake-n20-gap2-cut5",
        "ends early": "fake-n20-gap2-short5",
        "breaks": "fake-n20-gap2-oops5",
        "silent": "fake-n20-stall5",
        "hangs": "fake-hang",
        "too long": "fake-toolong",
        "400": "fake-err400",
        "401": "fake-err401",
        "403": "fake-err403",
        "404": "fake-err404",
        "408": "fake-err408",
        "413": "fake-err413",
        "429": "fake-err429-retry7",
        "500": "fake-err500",
        "503": "fake-err503",
        "529": "fake-err529",
        "echo": "fake-echo-gap2",
    }

    def make_provider(self) -> Provider:
        raise NotImplementedError("say which provider the contract is about")

    def make_channel(self, upstream: FakeUpstream) -> Channel:
        name = self.make_provider().name
        return Channel("first", name, upstream.base_url, KEY, gap_s=20.0, first_token_s=20.0, total_s=40.0)

    def model(self, behaviour: str) -> str:
        name = self.behaviours.get(behaviour)
        if name is None:
            pytest.skip(f"no model that behaves so: {behaviour}")
        return name

    async def answer(
        self, upstream: FakeUpstream, request: ChatRequest
    ) -> tuple[list[ProviderDelta], UpstreamError | None]:
        async with open_egress() as http:
            return await collect(self.make_provider(), request, self.make_channel(upstream), http)

    async def test_an_answer_streams_in_pieces_and_ends_with_one_finish(self, fake_upstream: FakeUpstream) -> None:
        deltas, error = await self.answer(fake_upstream, ask(self.model("says")))
        assert error is None
        assert len([delta for delta in deltas if isinstance(delta, TextDelta)]) > 1
        assert said(deltas)
        assert [type(delta) for delta in deltas].count(Finish) == 1
        assert deltas[-1] == Finish("stop")
        assert not any(isinstance(delta, (TextDelta, ReasoningDelta)) and not delta.text for delta in deltas)

    async def test_an_answer_not_streamed_says_the_same(self, fake_upstream: FakeUpstream) -> None:
        streamed, _ = await self.answer(fake_upstream, ask(self.model("says")))
        whole, error = await self.answer(fake_upstream, ask(self.model("says"), stream=False))
        assert error is None
        assert said(whole) == said(streamed)
        assert whole[-1] == Finish("stop")

    async def test_reasoning_stays_apart_from_text(self, fake_upstream: FakeUpstream) -> None:
        deltas, _ = await self.answer(fake_upstream, ask(self.model("reasons")))
        assert thought(deltas)
        assert said(deltas)
        assert thought(deltas) not in said(deltas)

    async def test_characters_survive_being_cut_anywhere(self, fake_upstream: FakeUpstream) -> None:
        deltas, error = await self.answer(fake_upstream, ask(self.model("unicode")))
        assert error is None
        assert "\N{REPLACEMENT CHARACTER}" not in said(deltas)
        assert any(ord(character) > 0xFFFF for character in said(deltas))

    async def test_a_tool_call_is_handed_over_whole(self, fake_upstream: FakeUpstream) -> None:
        deltas, _ = await self.answer(fake_upstream, ask(self.model("tool")))
        (call,) = [delta for delta in deltas if isinstance(delta, ToolCallDelta)]
        assert (call.call_id, call.name) == ("call_1", "lookup")
        assert msgspec.json.decode(call.arguments) == {"q": "trees"}
        assert deltas[-1] == Finish("tool_calls")

    async def test_usage_counts_nothing_twice(self, fake_upstream: FakeUpstream) -> None:
        deltas, _ = await self.answer(fake_upstream, ask(self.model("cached"), "x" * 40))
        usage = [delta.usage for delta in deltas if isinstance(delta, UsageReport)][-1]
        assert (usage.input, usage.cached, usage.output, usage.reasoning) == (9, 2, 4, 2)
        assert not usage.estimated

    async def test_no_usage_is_made_up_when_the_upstream_tells_none(self, fake_upstream: FakeUpstream) -> None:
        deltas, _ = await self.answer(fake_upstream, ask(self.model("no usage")))
        assert not [delta for delta in deltas if isinstance(delta, UsageReport)]

    async def test_an_answer_that_ran_out_of_room_says_so(self, fake_upstream: FakeUpstream) -> None:
        deltas, _ = await self.answer(fake_upstream, ask(self.model("length")))
        assert deltas[-1] == Finish("length")

    async def test_closing_the_iterator_closes_the_upstream_connection(self, fake_upstream: FakeUpstream) -> None:
        async with open_egress() as http:
            answer = self.make_provider().chat(ask(self.model("endless")), self.make_channel(fake_upstream), http)
            async for _ in answer:
                break
            await answer.aclose()  # type: ignore[attr-defined]
            await fake_upstream.until(lambda upstream: upstream.counters.hung_up == 1, STOP_S)

    async def test_cancelling_the_reader_closes_the_upstream_connection(self, fake_upstream: FakeUpstream) -> None:
        async with open_egress() as http:
            request, channel = ask(self.model("hangs")), self.make_channel(fake_upstream)
            reading = asyncio.create_task(collect(self.make_provider(), request, channel, http))
            await fake_upstream.until(lambda upstream: upstream.counters.requests == 1)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            await fake_upstream.until(lambda upstream: upstream.counters.hung_up == 1, STOP_S)

    @pytest.mark.parametrize("behaviour", ["cut", "ends early"])
    async def test_an_answer_that_breaks_off_is_cut_and_keeps_what_came(
        self, fake_upstream: FakeUpstream, behaviour: str
    ) -> None:
        deltas, error = await self.answer(fake_upstream, ask(self.model(behaviour)))
        assert said(deltas) == "t0 t1 t2 t3 t4 "
        assert error is not None
        assert error.kind == "cut"
        assert not any(isinstance(delta, Finish) for delta in deltas)

    async def test_an_error_within_the_stream_is_an_error(self, fake_upstream: FakeUpstream) -> None:
        deltas, error = await self.answer(fake_upstream, ask(self.model("breaks")))
        assert said(deltas) == "t0 t1 t2 t3 t4 "
        assert error is not None
        assert error.retryable

    @pytest.mark.parametrize("behaviour", ["silent", "hangs"])
    async def test_silence_is_a_timeout(self, fake_upstream: FakeUpstream, behaviour: str) -> None:
        channel = self.make_channel(fake_upstream)
        channel = msgspec.structs.replace(channel, gap_s=SILENCE_S, first_token_s=SILENCE_S)
        async with open_egress() as http:
            _, error = await collect(self.make_provider(), ask(self.model(behaviour)), channel, http)
        assert error is not None
        assert (error.kind, error.retryable) == ("timeout", True)

    @pytest.mark.parametrize(
        ("behaviour", "kind", "retryable"),
        [
            ("400", "bad_request", False),
            ("401", "key_refused", True),
            ("403", "pair_refused", True),
            ("404", "not_found", False),
            ("408", "timeout", True),
            ("413", "too_long", False),
            ("429", "rate_limit", True),
            ("500", "server", True),
            ("503", "overloaded", True),
            ("529", "overloaded", True),
            ("too long", "too_long", False),
        ],
    )
    async def test_refusals_are_told_apart(
        self, fake_upstream: FakeUpstream, behaviour: str, kind: str, retryable: bool
    ) -> None:
        for stream in (True, False):
            deltas, error = await self.answer(fake_upstream, ask(self.model(behaviour), stream=stream))
            assert deltas == []
            assert error is not None
            assert (error.kind, error.retryable) == (kind, retryable)
            assert KEY not in str(error)
            assert error.retry_after_s == (7.0 if behaviour == "429" else None)
            if behaviour.isdigit():
                assert error.upstream_status == int(behaviour)
        assert fake_upstream.counters.requests == 2, "a provider does not try again by itself"

    async def test_where_nothing_listens_is_a_connect_error(self) -> None:
        upstream = FakeUpstream()
        await upstream.start()
        channel = self.make_channel(upstream)
        if not channel.base_url:
            pytest.skip("this provider goes nowhere")
        await upstream.stop()
        async with open_egress() as http:
            _, error = await collect(self.make_provider(), ask("any"), channel, http)
        assert error is not None
        assert (error.kind, error.retryable) == ("connect", True)

    async def test_answers_at_once_do_not_mix(self, fake_upstream: FakeUpstream) -> None:
        model, channel, provider = self.model("echo"), self.make_channel(fake_upstream), self.make_provider()
        texts = [f"question {number} " * 5 for number in range(20)]
        async with open_egress() as http:
            answers = await asyncio.gather(*(collect(provider, ask(model, text), channel, http) for text in texts))
        assert [said(deltas) for deltas, _ in answers] == [text.rstrip(" ") + " " for text in texts]

    async def test_models_are_listed(self, fake_upstream: FakeUpstream) -> None:
        async with open_egress() as http:
            models = await self.make_provider().list_models(self.make_channel(fake_upstream), http)
        assert models
        assert len({model.id for model in models}) == len(models)
        assert all(model.id and model.title for model in models)
