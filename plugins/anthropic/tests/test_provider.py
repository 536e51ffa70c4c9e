"""What is sent over the wire, what is found, and what is given in to when a model turns it down."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from chatserver_anthropic.provider import AnthropicProvider

from chatserver import Channel, ChatRequest, Finish
from chatserver.testing.provider import ask, collect, open_egress, said
from chatserver.testing.upstream import FakeUpstream
from chatserver.testing.website import Website, page

KEY = "sk-ant-canary-77aa"


def channel(base_url: str) -> Channel:
    return Channel("first", "anthropic", base_url, KEY)


def closing(status: int, told: dict[str, Any]) -> bytes:
    return page(status, msgspec.json.encode(told), Connection="close")


@pytest.fixture
async def site() -> AsyncIterator[Website]:
    site = Website("127.0.0.1")
    await site.start()
    yield site
    await site.stop()


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/", "/v1/messages"])
async def test_key_version_and_address(fake_upstream: FakeUpstream, ending: str) -> None:
    base = fake_upstream.base_url.removesuffix("/v1") + ending
    async with open_egress() as http:
        await collect(AnthropicProvider(), ask("fake-echo"), channel(base), http)
    (seen,) = fake_upstream.chats()
    assert (seen.path, seen.headers["x-api-key"]) == ("/v1/messages", KEY)
    assert seen.headers["anthropic-version"] == "2023-06-01"
    assert "authorization" not in seen.headers


LISTED: dict[str, Any] = {
    "type": "model",
    "id": "claude-opus-4-6",
    "display_name": "Claude Opus 4.6",
    "created_at": "2026-02-04T00:00:00Z",
    "max_input_tokens": 1_000_000,
    "max_tokens": 128_000,
    "capabilities": {
        "image_input": {"supported": True},
        "effort": {"supported": True, "low": {"supported": True}, "max": {"supported": True}},
        "structured_outputs": {"supported": True},
        "thinking": {
            "supported": True,
            "types": {"adaptive": {"supported": True}, "enabled": {"supported": True}},
        },
    },
}
OLD = {
    **LISTED,
    "id": "claude-old",
    "display_name": "Claude Old",
    "max_input_tokens": 100_000,
    "max_tokens": 4_096,
    "capabilities": {"image_input": {"supported": False}, "thinking": {"supported": False}},
}


async def test_models_are_listed_with_sizes_and_abilities_page_by_page(site: Website) -> None:
    def list_of(query: str) -> bytes:
        is_first = "after_id" not in query
        data = [LISTED, {**LISTED, "id": "gone", "lifecycle": "retired"}] if is_first else [OLD, {"id": "bare"}]
        return closing(200, {"data": data, "has_more": is_first, "last_id": data[-1]["id"]})

    async def show(writer: Any) -> None:
        writer.write(list_of(site.asked[-1][0]))

    site.pages["/v1/models"] = show
    provider = AnthropicProvider()
    async with open_egress() as http:
        opus, old, bare = await provider.list_models(channel(site.url), http)
        assert [asked for asked, _, _ in site.asked] == [
            "GET /v1/models?limit=1000",
            "GET /v1/models?limit=1000&after_id=gone",
        ]
        site.pages["/v1/messages"] = page(529)
        request = ask("claude-old", parameters={"reasoning_effort": "low"})
        await collect(provider, request, channel(site.url), http)
    assert (opus.title, opus.context_tokens, opus.max_output_tokens) == ("Claude Opus 4.6", 1_000_000, 128_000)
    assert set(opus.abilities) == {"images", "tools", "reasoning", "json"}
    assert (old.abilities, old.lacks, old.context_tokens) == (("tools",), ("images",), 100_000)
    assert (bare.title, bare.context_tokens) == ("bare", 200_000)
    sent = msgspec.json.decode(site.asked[-1][2])
    assert sent["max_tokens"] == 4_096 and "thinking" not in sent


async def answered(
    site: Website, sentence: str, request: ChatRequest, asked_times: int = 1
) -> tuple[list[dict[str, Any]], str]:
    """The bodies sent when the first is refused with that sentence and what comes after is answered; the last kind."""
    refusal = {"type": "error", "error": {"type": "invalid_request_error", "message": sentence}}
    whole = {"type": "message", "content": [{"type": "text", "text": "Oaks."}], "stop_reason": "end_turn"}
    answers = iter([closing(400, refusal), *[closing(200, whole)] * 9])

    async def speak(writer: Any) -> None:
        writer.write(next(answers))

    site.pages["/v1/messages"] = speak
    provider, kind = AnthropicProvider(), ""
    async with open_egress() as http:
        for _ in range(asked_times):
            deltas, error = await collect(provider, request, channel(site.url), http)
            kind = error.kind if error else ""
            assert error is not None or (said(deltas), deltas[-1]) == ("Oaks.", Finish("stop"))
    return [msgspec.json.decode(body) for _, _, body in site.asked], kind


@pytest.mark.parametrize(
    ("model", "sentence", "gone"),
    [
        ("claude-3-5-haiku-latest", "temperature is deprecated for this model.", "temperature"),
        ("claude-3-5-haiku-latest", "`temperature` and `top_k` cannot both be specified", "temperature"),
        ("claude-opus-4-6", "adaptive thinking is not supported on this model", "thinking"),
        ("claude-opus-4-6", "This model does not support the effort parameter.", "output_config"),
    ],
)
async def test_what_a_model_turns_down_is_left_out_and_remembered(
    site: Website, model: str, sentence: str, gone: str
) -> None:
    request = ask(model, parameters={"temperature": 0.2, "top_k": 3, "reasoning_effort": "low"}, stream=False)
    bodies, kind = await answered(site, sentence, request, asked_times=2)
    assert kind == ""
    assert [gone in body for body in bodies] == [True, False, False]


@pytest.mark.parametrize(
    ("sentence", "is_asked_again"),
    [
        ("output_config.format.schema: For 'string' type, property 'minLength' is not supported", True),
        ("This model does not support output_config.format", False),
        ("output_config: Extra inputs are not permitted", False),
    ],
)
async def test_a_format_turned_down_is_said_in_words(site: Website, sentence: str, is_asked_again: bool) -> None:
    schema = {"type": "object", "properties": {"tree": {"type": "string", "minLength": 2}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "t", "schema": schema}}
    request = ask("claude-opus-4-6", parameters={"response_format": wanted}, stream=False)
    bodies, kind = await answered(site, sentence, request, asked_times=2)
    assert kind == ""
    assert ["output_config" in body for body in bodies] == [True, False, is_asked_again]
    assert ["minLength" in str(body.get("system", "")) for body in bodies] == [False, True, not is_asked_again]


async def test_more_output_than_a_model_has_is_lowered_and_remembered(site: Website) -> None:
    sentence = "max_tokens: 32000 > 4096, which is the maximum allowed number of output tokens for claude-next"
    bodies, kind = await answered(site, sentence, ask("claude-next", stream=False), asked_times=2)
    assert kind == ""
    assert [body["max_tokens"] for body in bodies] == [32_000, 4_096, 4_096]


async def test_a_question_that_leaves_less_room_is_asked_with_what_is_left(site: Website) -> None:
    sentence = "input length and `max_tokens` exceed context limit: 188240 + 32000 > 200000, decrease input length"
    bodies, kind = await answered(site, sentence, ask("claude-next", stream=False), asked_times=2)
    assert kind == ""
    assert [body["max_tokens"] for body in bodies] == [32_000, 11_760, 32_000]


async def test_a_question_that_leaves_no_room_is_too_long(site: Website) -> None:
    sentence = "input length and `max_tokens` exceed context limit: 199999 + 32000 > 200000, decrease input length"
    bodies, kind = await answered(site, sentence, ask("claude-next", stream=False))
    assert (len(bodies), kind) == (1, "too_long")


async def test_a_plain_refusal_is_not_repeated_and_tells_neither_key_nor_question(site: Website) -> None:
    sentence = f"messages: How tall do oaks grow? {KEY} is invalid"
    bodies, kind = await answered(site, sentence, ask("claude-next", stream=False))
    assert (len(bodies), kind) == (1, "bad_request")
