"""What is sent, what is negotiated, what is found, and what an error may say."""

from __future__ import annotations

import email.utils
from typing import Any

import msgspec
import pytest
from chatserver_openai.listing import read_details, read_models, read_props
from chatserver_openai.provider import OpenAIProvider
from chatserver_openai.question import write_body, write_messages

from chatserver import (
    ArtifactPart,
    Channel,
    ChatRequest,
    CitationPart,
    FilePart,
    Finish,
    ImagePart,
    Model,
    PromptMessage,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    ToolSpec,
    clock,
)
from chatserver.testing.provider import ask, collect, open_egress, said
from chatserver.testing.upstream import FakeUpstream, Rule
from chatserver.testing.website import Website, page
from chatserver.upstreams import failure, read_error_object, read_retry_after

KEY = "sk-canary-77aa"


def channel(base_url: str, **more: Any) -> Channel:
    return Channel("first", "openai", base_url, KEY, **more)


# --- what is sent ---------------------------------------------------------------------------------------------------


def test_a_conversation_is_written_in_the_endpoint_s_form() -> None:
    messages = (
        PromptMessage("system", (TextPart("Be brief."),)),
        PromptMessage("user", (TextPart("What is this?"), ImagePart(url="data:image/png;base64,AA=="))),
        PromptMessage("assistant", (ReasoningPart("hm"), TextPart("A tree."), CitationPart("atlas"))),
        PromptMessage("user", (FilePart("f", name="oak.txt", text="Quercus"), TextPart("And this?"))),
    )
    assert write_messages(messages) == [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
            ],
        },
        {"role": "assistant", "content": "A tree."},
        {"role": "user", "content": "\n\n[oak.txt]\nQuercus\nAnd this?"},
    ]


def test_a_reply_with_tool_traffic_becomes_several_messages() -> None:
    reply = (
        TextPart("Let me look."),
        ToolCallPart("a", "lookup", '{"q":1}'),
        ToolCallPart("b", "lookup", '{"q":2}'),
        ToolResultPart("a", "one"),
        ToolResultPart("b", "two"),
        TextPart("Both."),
        ArtifactPart("x", "html", "Page", "<p>"),
    )
    written = write_messages((PromptMessage("assistant", reply),))
    assert [message["role"] for message in written] == ["assistant", "tool", "tool", "assistant"]
    assert [one["id"] for one in written[0]["tool_calls"]] == ["a", "b"]
    assert written[2] == {"role": "tool", "tool_call_id": "b", "content": "two"}
    assert written[3] == {"role": "assistant", "content": "Both.<p>"}


def test_an_empty_reply_is_not_sent() -> None:
    assert write_messages((PromptMessage("assistant", (ReasoningPart("only thoughts"),)),)) == []


def test_parameters_by_their_common_names() -> None:
    parameters = {
        "temperature": 0.2,
        "top_p": 0.9,
        "max_output": 50,
        "reasoning_effort": "low",
        "response_format": {"type": "json_object"},
        "seed": 7,
        "stop": ["END"],
        "voice": "nobody knows this",
        "presence_penalty": None,
    }
    tool = ToolSpec("lookup", "Looks up.", {"type": "object"})
    body = write_body(ChatRequest("m", (), (tool,), max_output=20, parameters=parameters))
    assert body.pop("tools")[0]["function"] == {
        "name": "lookup",
        "description": "Looks up.",
        "parameters": {"type": "object"},
    }
    assert body == {
        "model": "m",
        "messages": [],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.2,
        "top_p": 0.9,
        "reasoning_effort": "low",
        "response_format": {"type": "json_object"},
        "seed": 7,
        "stop": ["END"],
        "max_tokens": 20,
    }
    assert "stream_options" not in write_body(ChatRequest("m", (), stream=False))


async def test_the_upstream_receives_the_key_and_the_upstream_s_model_name(fake_upstream: FakeUpstream) -> None:
    async with open_egress() as http:
        await collect(OpenAIProvider(), ask("fake-echo", "Hello, 树"), channel(fake_upstream.base_url), http)
    (seen,) = fake_upstream.chats()
    assert (seen.key, seen.json["model"]) == (KEY, "fake-echo")
    assert seen.json["messages"] == [{"role": "user", "content": "Hello, 树"}]


async def test_without_a_key_no_authorization_is_sent(fake_upstream: FakeUpstream) -> None:
    async with open_egress() as http:
        await collect(OpenAIProvider(), ask("fake"), Channel("home", "openai", fake_upstream.base_url), http)
    assert "authorization" not in fake_upstream.chats()[0].headers


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/", "/v1/chat/completions"])
async def test_a_base_url_may_be_written_in_several_ways(fake_upstream: FakeUpstream, ending: str) -> None:
    base = fake_upstream.base_url.removesuffix("/v1") + ending
    async with open_egress() as http:
        await collect(OpenAIProvider(), ask("fake"), channel(base), http)
    assert fake_upstream.chats()[0].path == "/v1/chat/completions"


# --- what is negotiated ---------------------------------------------------------------------------------------------


async def test_a_parameter_turned_down_is_sent_by_its_new_name_and_remembered(fake_upstream: FakeUpstream) -> None:
    provider = OpenAIProvider()
    async with open_egress() as http:
        for _ in range(2):
            request = ask("fake-tight-n9", max_output=3)
            deltas, error = await collect(provider, request, channel(fake_upstream.base_url), http)
            assert error is None
            assert deltas[-1] == Finish("length")
    bodies = [seen.json for seen in fake_upstream.chats()]
    assert [sorted(name for name in body if name.startswith("max")) for body in bodies] == [
        ["max_tokens"],
        ["max_completion_tokens"],
        ["max_completion_tokens"],
    ]


@pytest.mark.parametrize(
    ("sentence", "left_out"),
    [
        ("Unsupported value: 'temperature' does not support 0.2 with this model.", "temperature"),
        ("Extra inputs are not permitted: stream_options", "stream_options"),
        ("Unrecognized request argument supplied: seed", "seed"),
    ],
)
async def test_a_parameter_turned_down_is_left_out(sentence: str, left_out: str) -> None:
    site = Website("127.0.0.1")
    await site.start()
    refusal = page(400, msgspec.json.encode({"error": {"message": sentence, "code": "unsupported_value"}}))
    site.pages["/v1/chat/completions"] = refusal
    provider = OpenAIProvider()
    async with open_egress() as http:
        request = ask("m", parameters={"temperature": 0.2, "seed": 1})
        _, error = await collect(provider, request, channel(site.url), http)
    await site.stop()
    assert error is not None
    assert error.kind == "bad_request"
    bodies = [msgspec.json.decode(body) for _, _, body in site.asked]
    assert [left_out in body for body in bodies] == [True, False]


async def test_a_bad_request_about_nothing_we_can_leave_out_is_not_repeated(fake_upstream: FakeUpstream) -> None:
    async with open_egress() as http:
        await collect(OpenAIProvider(), ask("fake-err400", max_output=3), channel(fake_upstream.base_url), http)
    assert fake_upstream.counters.requests == 1


# --- answers out of the ordinary ------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["fake-n3-think1-tool-plain", "fake-n3-think1-tool-crlf", "fake-n3-thought1-tool"])
async def test_the_same_answer_in_every_form(fake_upstream: FakeUpstream, model: str) -> None:
    async with open_egress() as http:
        reference, _ = await collect(
            OpenAIProvider(), ask("fake-n3-think1-tool"), channel(fake_upstream.base_url), http
        )
        deltas, error = await collect(OpenAIProvider(), ask(model), channel(fake_upstream.base_url), http)
    assert error is None
    assert deltas == reference


@pytest.mark.parametrize("model", ["fake-n3-nodone", "fake-n3-nofinish", "fake-n3-beat-wait60"])
async def test_either_a_finish_reason_or_done_ends_an_answer(fake_upstream: FakeUpstream, model: str) -> None:
    async with open_egress() as http:
        deltas, error = await collect(OpenAIProvider(), ask(model), channel(fake_upstream.base_url), http)
    assert error is None
    assert said(deltas) == "t0 t1 t2 "
    assert deltas[-1] == Finish("stop")


@pytest.mark.parametrize(
    ("body", "whole"),
    [
        (b'data: {"choices":[{"delta":{"content":"half"}}]}\n\ndata: {"choices":[{"del', False),
        (b'data: {"choices":[{"delta":{"content":"half"}}]}\n\ndata: [DONE]', True),
        (b'data: {"choices":[{"delta":{"content":"half"},"finish_reason":"stop"}]}', True),
        (b'data: {"choices":[{"delta":{"content":"half"}}]}\n\ndata: ping\n\n', False),
        (b": nothing but comments\n\n", False),
        (b"", False),
    ],
)
async def test_a_body_that_just_ends(body: bytes, whole: bool) -> None:
    site = Website("127.0.0.1")
    await site.start()
    site.pages["/v1/chat/completions"] = page(200, body, Content_Type="text/event-stream")
    async with open_egress() as http:
        deltas, error = await collect(OpenAIProvider(), ask("m"), channel(site.url), http)
    await site.stop()
    assert said(deltas) == ("half" if b"half" in body else "")
    assert (error is None) == whole
    if error is not None:
        assert (error.kind, error.retryable) == ("cut", True)


@pytest.mark.parametrize(
    ("told", "kind", "retryable"),
    [
        ({"message": "Rate limit reached", "code": "rate_limit_exceeded"}, "rate_limit", True),
        ({"message": "Overloaded", "type": "overloaded_error"}, "overloaded", True),
        ({"message": "Provider returned error", "code": 502}, "server", True),
        ({"message": "maximum context length is 8192 tokens", "code": 400}, "too_long", False),
        ({"message": "rejected by the content filter", "code": "content_filter"}, "content", False),
        ("something broke", "server", True),
    ],
)
async def test_an_error_object_in_a_stream_of_200(told: Any, kind: str, retryable: bool) -> None:
    site = Website("127.0.0.1")
    await site.start()
    body = b"data: " + msgspec.json.encode({"error": told}) + b"\n\ndata: [DONE]\n\n"
    site.pages["/v1/chat/completions"] = page(200, body, Content_Type="text/event-stream")
    async with open_egress() as http:
        _, error = await collect(OpenAIProvider(), ask("m"), channel(site.url), http)
    await site.stop()
    assert error is not None
    assert (error.kind, error.retryable) == (kind, retryable)


async def test_a_web_page_instead_of_an_answer_says_what_to_check(fake_upstream: FakeUpstream) -> None:
    async with open_egress() as http:
        _, error = await collect(OpenAIProvider(), ask("fake-html"), channel(fake_upstream.base_url), http)
    assert error is not None
    assert "web page" in str(error) and "base_url" in str(error)


# --- what an error may say ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 429, 500, 503])
@pytest.mark.parametrize("told", [f"Incorrect API key provided: {KEY}", f"You asked: my secret diary, with {KEY}"])
async def test_neither_key_nor_question_is_repeated(status: int, told: str) -> None:
    site = Website("127.0.0.1")
    await site.start()
    site.pages["/v1/chat/completions"] = page(status, msgspec.json.encode({"error": {"message": told}}))
    async with open_egress() as http:
        _, error = await collect(OpenAIProvider(), ask("m", "my secret diary"), channel(site.url), http)
    await site.stop()
    assert error is not None
    assert KEY not in str(error) and "diary" not in str(error)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, b'{"error":{"message":"API key not valid."}}', "key_refused"),
        (400, b'{"error":{"code":"model_not_found","message":"The model x does not exist"}}', "not_found"),
        (400, b'{"error":{"code":"content_policy_violation"}}', "content"),
        (400, b'[{"error":{"message":"exceeds the maximum number of tokens: context window"}}]', "too_long"),
        (400, b'{"object":"error","message":"maximum context length is 4096 tokens","code":400}', "too_long"),
        (400, b'{"error":{"code":400,"message":"exceeds the available context size"}}', "too_long"),
        (402, b"{}", "key_refused"),
        (403, b'{"error":{"message":"Input was flagged","metadata":{}}}', "content"),
        (404, b"404 page not found", "not_found"),
        (418, b"", "bad_request"),
        (422, b'{"detail":[{"msg":"field required","input":"x"}]}', "bad_request"),
        (504, b"<html>", "server"),
    ],
)  # fmt: skip
def test_error_bodies_in_the_shapes_found_in_the_wild(status: int, body: bytes, kind: str) -> None:
    assert failure("first", status, read_error_object(body)).kind == kind


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"Retry-After": "3"}, 3.0),
        ({"Retry-After": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "Retry-After": "1"}, 0.25),
        ({"Retry-After": "-5"}, 0.0),
        ({"Retry-After": "Fri, 01 Jan 1999 00:00:00 GMT"}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "99999999"}, 86_400.0),
        ({}, None),
    ],
)
def test_retry_after_in_either_form(headers: dict[str, str], wait_s: float | None) -> None:
    assert read_retry_after(headers) == wait_s


def test_retry_after_as_a_date_is_counted_from_now() -> None:
    then = email.utils.formatdate(clock.now_us() / 1_000_000 + 90, usegmt=True)
    wait_s = read_retry_after({"Retry-After": then})
    assert wait_s is not None and 60 < wait_s <= 90


# --- what is found --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "base_url", "expected_url", "first_token_s"),
    [
        ("sk-1", "", "https://api.openai.com/v1", 60.0),
        ("", "http://127.0.0.1:11434/v1", "http://127.0.0.1:11434/v1", 300.0),
        ("sk-1", "http://models.lan:8080/v1", "http://models.lan:8080/v1", 300.0),
        (" sk-1\n", "https://llm.example.com/v1", "https://llm.example.com/v1", 60.0),
    ],
)
async def test_a_key_or_an_address_alone_makes_a_channel(
    key: str, base_url: str, expected_url: str, first_token_s: float
) -> None:
    provider = OpenAIProvider()
    provider.configure(key, base_url)
    async with open_egress() as http:
        (found,) = await provider.discover(http)
    assert (found.base_url, found.api_key, found.source) == (expected_url, key.strip(), "found")
    assert found.first_token_s == first_token_s
    assert "sk-1" not in repr(found)


async def test_with_neither_nothing_is_found() -> None:
    async with open_egress() as http:
        assert await OpenAIProvider().discover(http) == []


@pytest.mark.parametrize(
    ("item", "model"),
    [
        ({"id": "a"}, Model("a")),
        ({"id": "a", "max_model_len": 32768, "owned_by": "vllm"}, Model("a", context_tokens=32768)),
        ({"id": "a", "context_window": 131072, "max_completion_tokens": 8192},
         Model("a", context_tokens=131072, max_output_tokens=8192)),
        (
            {
                "id": "v/a",
                "name": "V: A",
                "context_length": 200000,
                "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["text"]},
                "top_provider": {"context_length": 128000, "max_completion_tokens": 4096},
                "supported_parameters": ["tools", "reasoning", "response_format"],
            },
            Model("v/a", "V: A", 200000, 4096, ("images", "tools", "reasoning", "json")),
        ),
        ({"id": "a", "meta": {"n_ctx_train": 8192, "n_params": 135}}, Model("a", context_tokens=8192)),
        ({"id": "a", "meta": {"n_ctx_train": 8192, "n_ctx": 4096}}, Model("a", context_tokens=4096)),
        ({"id": "a", "max_context_length": 4096, "capabilities": {"vision": True, "function_calling": True}},
         Model("a", context_tokens=4096, abilities=("images", "tools"))),
        ({"id": "a", "capabilities": ["completion", "tools", "thinking"]},
         Model("a", abilities=("tools", "reasoning"), lacks=("images",))),
        ({"id": "a", "capabilities": {"vision": False, "completion_chat": True}}, Model("a", lacks=("images",))),
        ({"id": "a", "capabilities": ["tool_use"]}, Model("a", abilities=("tools",))),
        ({"id": "a", "architecture": {"input_modalities": ["text"]}}, Model("a", lacks=("images",))),
        ({"id": "a", "supports_vision": False}, Model("a", lacks=("images",))),
        ({"id": "a", "max_input_tokens": "16000", "supports_vision": True},
         Model("a", context_tokens=16000, abilities=("images",))),
        ({"id": "a", "context_length": True}, Model("a")),
        ({"id": "a", "context_length": -1}, Model("a")),
        ({"id": "a", "context_length": None}, Model("a")),
    ],
)  # fmt: skip
def test_a_model_in_the_shapes_found_in_the_wild(item: dict[str, Any], model: Model) -> None:
    assert read_models({"object": "list", "data": [item]}) == [model]


def test_what_neither_chats_nor_embeds_is_not_listed() -> None:
    names = ["gpt-4o", "text-embedding-3-small", "whisper-1", "tts-1", "dall-e-3", "omni-moderation-latest", "qwen3"]
    items: list[Any] = [{"id": name} for name in names]
    items += [
        {"id": "vectors", "type": "embedding"},
        {"id": "painter", "architecture": {"output_modalities": ["image"]}},
    ]
    items += [None, 7, {"object": "model"}, "by-name", {"id": "gpt-4o"}]
    for told in ({"data": items}, items):
        models = read_models(told)
        assert [model.id for model in models if model.chats] == ["gpt-4o", "qwen3", "by-name"]
        assert [model.id for model in models if not model.chats] == ["text-embedding-3-small", "vectors"]
    assert read_models({"models": [{"name": "llama3:latest", "model": "llama3:latest"}]}) == [Model("llama3:latest")]
    assert read_models({"data": None}) == read_models("x") == read_models(None) == []


def test_the_vendor_s_own_models_have_known_windows() -> None:
    models = read_models({"data": [{"id": "gpt-4o-mini"}, {"id": "gpt-4.1-nano"}, {"id": "new"}]}, knows_vendor=True)
    assert [model.context_tokens for model in models] == [128_000, 1_047_576, 0]
    assert [model.abilities for model in models] == [("images",), ("images",), ()]
    blind = read_models({"data": [{"id": "gpt-4"}, {"id": "o3-mini"}, {"id": "gpt-3.5-turbo"}]}, knows_vendor=True)
    assert [model.may_see for model in (*models, *blind)] == [True, True, True, False, False, False]


def test_sizes_told_beside_the_list() -> None:
    assert read_props({"default_generation_settings": {"n_ctx": 4096}}) == 4096
    assert read_props({"error": "no"}) == read_props(None) == read_props([]) == 0
    details = read_details({"data": [{"model_name": "a", "model_info": {"max_input_tokens": 9}}, None, {}]})
    assert details == {"a": {"max_input_tokens": 9}}


async def test_sizes_are_asked_for_where_a_server_tells_them_elsewhere() -> None:
    site = Website("127.0.0.1")
    await site.start()
    async with open_egress() as http:
        provider, place = OpenAIProvider(), channel(f"{site.url}/v1")
        one = {"id": "a", "owned_by": "llamacpp", "meta": {"n_ctx_train": 131072}}
        site.pages["/v1/models"] = page(200, msgspec.json.encode({"data": [one]}))
        site.pages["/props"] = page(200, b'{"default_generation_settings":{"n_ctx":4096}}')
        assert await provider.list_models(place, http) == [Model("a", context_tokens=4096)]
        del site.pages["/props"]
        assert await provider.list_models(place, http) == [Model("a", context_tokens=131072)]
        await provider.list_models(place, http)
        assert [asked for asked, _, _ in site.asked].count("GET /props") == 2, "not again where there was nothing"
        site.pages["/v1/models"] = page(200, b'{"data":[{"id":"b"}]}')
        site.pages["/model/info"] = page(
            200, b'{"data":[{"model_name":"b","model_info":{"max_input_tokens":8000,"supports_vision":true}}]}'
        )
        assert await provider.list_models(place, http) == [Model("b", context_tokens=8000, abilities=("images",))]
        site.pages["/model/info"] = page(200, b'{"data":[{"model_name":"b","model_info":{"mode":"embedding"}}]}')
        assert await provider.list_models(place, http) == [Model("b", abilities=("embeddings",))]
    await site.stop()


async def test_a_list_that_is_refused_says_why(fake_upstream: FakeUpstream) -> None:
    fake_upstream.rules = [Rule(model="models", options="err401")]
    async with open_egress() as http:
        with pytest.raises(Exception, match="key is not accepted") as error:
            await OpenAIProvider().list_models(channel(fake_upstream.base_url), http)
    assert KEY not in str(error.value)
