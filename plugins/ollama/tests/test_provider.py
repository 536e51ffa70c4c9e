"""An Ollama is found when it comes, listed with sizes, and asked for the window a chat needs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from chatserver_ollama import provider as provider_module
from chatserver_ollama.listing import size_of
from chatserver_ollama.provider import OllamaProvider

from chatserver import Channel, EmbedRequest, Finish, ToolCallDelta, UpstreamError, Usage, UsageReport
from chatserver.testing.provider import ask, collect, open_egress, said
from chatserver.testing.website import Website, page

DETAILS = {"format": "gguf", "family": "qwen3", "parameter_size": "8.2B", "quantization_level": "Q4_K_M"}
TAG = {"name": "qwen3:8b", "model": "qwen3:8b", "size": 5_225_388_164, "digest": "500a1f067a9f", "details": DETAILS}
SHOWN: dict[str, dict[str, Any]] = {
    "qwen3:8b": {
        "capabilities": ["completion", "tools", "thinking"],
        "model_info": {"general.architecture": "qwen3", "qwen3.context_length": 40_960},
        "parameters": 'stop                           "<|im_end|>"\ntemperature                    0.6',
    },
    "llava:7b": {
        "capabilities": ["completion", "vision"],
        "model_info": {"llama.context_length": 32_768},
        "parameters": "num_ctx                        16384",
    },
    "nomic-embed-text": {"capabilities": ["embedding"], "model_info": {"nomic-bert.context_length": 2_048}},
}


@pytest.fixture
async def site() -> AsyncIterator[Website]:
    """An Ollama with three models."""
    site = Website("127.0.0.1")
    await site.start()
    names = ("llava:7b", "nomic-embed-text")
    tags = [TAG, *({**TAG, "name": name, "model": name, "digest": name, "size": 0} for name in names)]
    site.pages["/api/tags"] = page(200, msgspec.json.encode({"models": tags}))

    async def show(writer: Any) -> None:
        told = SHOWN[msgspec.json.decode(site.asked[-1][2])["model"]]
        writer.write(page(200, msgspec.json.encode(told), Connection="close"))

    site.pages["/api/show"] = show
    yield site
    await site.stop()


def channel(site: Website) -> Channel:
    return Channel("ollama", "ollama", site.url)


def lines(*told: Any) -> bytes:
    body = b"".join(msgspec.json.encode(one) + b"\n" for one in told)
    return page(200, body, Content_Type="application/x-ndjson")


async def test_an_ollama_is_found_when_it_comes_and_kept_when_it_goes(
    site: Website, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider_module, "LOCAL_URL", site.url)
    has_models, site.pages["/api/tags"] = site.pages["/api/tags"], page(200, b'{"models": []}')
    provider = OllamaProvider()
    async with open_egress() as http:
        assert await provider.discover(http) == []
        site.pages["/api/tags"] = has_models
        (found,) = await provider.discover(http)
        assert (found.name, found.base_url, found.source, found.first_token_s) == ("ollama", site.url, "found", 300.0)
        await site.stop()
        assert await provider.discover(http) == [found]
        with pytest.raises(UpstreamError) as caught:
            await provider.list_models(found, http)
        assert caught.value.kind == "connect"
        assert await OllamaProvider().discover(http) == []


async def test_one_that_was_named_is_there_before_it_answers() -> None:
    provider = OllamaProvider()
    provider.configure("shed.local", "sk-shed", 0)
    async with open_egress() as http:
        (found,) = await provider.discover(http)
    assert (found.base_url, found.api_key) == ("http://shed.local:11434", "sk-shed")


async def test_models_are_listed_with_sizes_and_shown_once(site: Website) -> None:
    provider = OllamaProvider()
    async with open_egress() as http:
        qwen, llava, nomic = await provider.list_models(channel(site), http)
        await provider.list_models(channel(site), http)
    assert (qwen.id, qwen.title, qwen.context_tokens) == ("qwen3:8b", "qwen3:8b (8.2B, 5.23 GB)", 40_960)
    assert (set(qwen.abilities), qwen.lacks) == ({"tools", "reasoning", "json"}, ("images",))
    assert (llava.title, llava.context_tokens, llava.lacks) == ("llava:7b (8.2B)", 16_384, ())
    assert [asked for asked, _, _ in site.asked].count("POST /api/show") == 3
    assert qwen.chats and llava.chats and not nomic.chats


async def test_a_model_that_cannot_be_shown_is_still_listed(site: Website) -> None:
    site.pages["/api/show"] = page(500)
    async with open_egress() as http:
        models = await OllamaProvider().list_models(channel(site), http)
    assert [(model.id, model.context_tokens, model.lacks, model.chats) for model in models] == [
        ("qwen3:8b", 0, (), True),
        ("llava:7b", 0, (), True),
        ("nomic-embed-text", 0, (), False),
    ]


async def test_an_ollama_started_with_a_window_is_believed(site: Website) -> None:
    provider = OllamaProvider()
    provider.configure("", "", 32_768)
    site.pages["/api/chat"] = lines({"message": {"content": "Oaks."}, "done": True})
    async with open_egress() as http:
        qwen, llava, _ = await provider.list_models(channel(site), http)
        await collect(provider, ask("qwen3:8b", "x" * 90_000), channel(site), http)
    assert (qwen.context_tokens, llava.context_tokens) == (32_768, 16_384)
    assert "num_ctx" not in msgspec.json.decode(site.asked[-1][2]).get("options", {})


async def test_a_window_grows_and_does_not_shrink(site: Website) -> None:
    site.pages["/api/chat"] = lines({"message": {"content": "Oaks."}, "done": True})
    provider = OllamaProvider()
    sent = []
    async with open_egress() as http:
        await provider.list_models(channel(site), http)
        for model, length in (("qwen3:8b", 10), ("qwen3:8b", 60_000), ("qwen3:8b", 10), ("llava:7b", 60_000)):
            await collect(provider, ask(model, "x" * length), channel(site), http)
            sent.append(msgspec.json.decode(site.asked[-1][2]).get("options", {}).get("num_ctx"))
    assert sent == [None, 32_768, 32_768, None]


async def test_thinking_turned_down_is_left_out_and_remembered(site: Website) -> None:
    refusal = page(400, b'{"error":"\\"llama3.2:1b\\" does not support thinking"}', Connection="close")
    whole = page(200, b'{"message":{"content":"Oaks."},"done":true,"done_reason":"stop"}', Connection="close")
    answers = iter([refusal, whole, whole])

    async def speak(writer: Any) -> None:
        writer.write(next(answers))

    site.pages["/api/chat"] = speak
    provider, request = OllamaProvider(), ask("llama3.2:1b", parameters={"reasoning_effort": "low"})
    async with open_egress() as http:
        for _ in range(2):
            deltas, error = await collect(provider, request, channel(site), http)
            assert (error, said(deltas)) == (None, "Oaks.")
    assert ["think" in msgspec.json.decode(body) for _, _, body in site.asked] == [True, False, False]


async def test_calls_without_ids_get_ids_of_their_own(site: Website) -> None:
    call = {"function": {"name": "lookup", "arguments": {"q": 1}}}
    site.pages["/api/chat"] = lines(
        {"message": {"tool_calls": [call]}, "done": False},
        {"message": {"tool_calls": [call]}, "done": False},
        {"message": {"content": ""}, "done": True, "done_reason": "stop", "eval_count": 7},
    )
    async with open_egress() as http:
        deltas, _ = await collect(OllamaProvider(), ask("qwen3:8b"), channel(site), http)
    first, second = [delta for delta in deltas if isinstance(delta, ToolCallDelta)]
    assert (first.arguments, first.call_id == second.call_id) == ('{"q":1}', False)
    usage = next(delta.usage for delta in deltas if isinstance(delta, UsageReport))
    assert usage.output == 7 and usage.input > 0 and usage.estimated, "a question it had read before is not counted"
    assert deltas[-1] == Finish("tool_calls")


@pytest.mark.parametrize(
    ("status", "sentence", "kind", "retryable"),
    [
        (404, "model 'qwen4' not found", "not_found", False),
        (400, "registry.ollama.ai/library/gemma:2b does not support tools", "not_found", False),
        (500, "model requires more system memory (8.4 GiB) than is available (3.1 GiB)", "server", True),
        (503, "server busy, please try again.  maximum pending requests exceeded", "overloaded", True),
        (401, "unauthorized", "key_refused", True),
        (400, "invalid options", "bad_request", False),
    ],
)
async def test_refusals_in_its_words(site: Website, status: int, sentence: str, kind: str, retryable: bool) -> None:
    site.pages["/api/chat"] = page(status, msgspec.json.encode({"error": sentence}))
    async with open_egress() as http:
        _, error = await collect(OllamaProvider(), ask("m"), channel(site), http)
    assert error is not None
    assert (error.kind, error.retryable) == (kind, retryable)


@pytest.mark.parametrize("broken", [b'{"message": 3}\n', b"{oops}\n", b"<!doctype html>\n", b"<!doctype html>"])
async def test_what_is_no_line_is_unreadable(site: Website, broken: bytes) -> None:
    body = b'{"message":{"content":"Oaks"},"done":false}\n' + broken
    site.pages["/api/chat"] = page(200, body)
    async with open_egress() as http:
        deltas, error = await collect(OllamaProvider(), ask("m"), channel(site), http)
    assert said(deltas) == "Oaks"
    assert error is not None and (error.kind, error.retryable) == ("server", True)


async def test_texts_are_embedded(site: Website) -> None:
    told = {"model": "nomic-embed-text", "embeddings": [[0.5, 1.0], [0.25, 0.0]], "prompt_eval_count": 8}
    site.pages["/api/embed"] = page(200, msgspec.json.encode(told))
    async with open_egress() as http:
        request = EmbedRequest("nomic-embed-text", ("oak", "elm"))
        embedded = await OllamaProvider().embed(request, channel(site), http)
        assert (embedded.vectors, embedded.usage) == (((0.5, 1.0), (0.25, 0.0)), Usage(input=8))
        with pytest.raises(UpstreamError, match="other texts"):
            await OllamaProvider().embed(EmbedRequest("nomic-embed-text", ("oak",)), channel(site), http)


@pytest.mark.parametrize(
    ("size_bytes", "text"), [(0, ""), (637_700_138, "638 MB"), (5_225_388_164, "5.23 GB"), (404_000_000_000, "404 GB")]
)
def test_sizes_as_people_read_them(size_bytes: int, text: str) -> None:
    assert size_of(size_bytes) == text
