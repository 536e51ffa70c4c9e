"""What an answer says, what is refused, found and given in to; in the shapes of the vendor's reference."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from chatserver_gemini.provider import GeminiProvider

from chatserver import Channel, EmbedRequest, Finish, ProviderDelta, ToolCallDelta, UpstreamError, Usage, UsageReport
from chatserver.testing.provider import ask, collect, open_egress, said, thought
from chatserver.testing.upstream import FakeUpstream
from chatserver.testing.website import Website, page

KEY = "AIza-canary-77aa"


def channel(base_url: str) -> Channel:
    return Channel("first", "gemini", base_url, KEY)


@pytest.fixture
async def site() -> AsyncIterator[Website]:
    site = Website("127.0.0.1")
    await site.start()
    yield site
    await site.stop()


def chunk(*parts: dict[str, Any], finish: str = "", **meters: int) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    told: dict[str, Any] = {"candidates": [candidate], "modelVersion": "gemini-3-pro-preview", "responseId": "Il0t"}
    return {**told, "usageMetadata": meters} if meters else told


async def hear(site: Website, *chunks: Any) -> tuple[list[ProviderDelta], UpstreamError | None]:
    body = b"".join(b"data: %b\r\n\r\n" % msgspec.json.encode(one) for one in chunks)
    site.pages["/v1beta/models/gemini-3-pro:streamGenerateContent"] = page(200, body, Content_Type="text/event-stream")
    async with open_egress() as http:
        return await collect(GeminiProvider(), ask("gemini-3-pro"), channel(site.url), http)


@pytest.mark.parametrize("ending", ["", "/", "/v1beta", "/v1beta/", "/v1beta/models"])
async def test_the_key_goes_in_a_header_and_never_into_the_address(fake_upstream: FakeUpstream, ending: str) -> None:
    base = fake_upstream.base_url.removesuffix("/v1") + ending
    async with open_egress() as http:
        await collect(GeminiProvider(), ask("fake-echo"), channel(base), http)
        await collect(GeminiProvider(), ask("fake-echo", stream=False), channel(base), http)
        await GeminiProvider().list_models(channel(base), http)
    assert [seen.path for seen in fake_upstream.requests] == [
        "/v1beta/models/fake-echo:streamGenerateContent",
        "/v1beta/models/fake-echo:generateContent",
        "/v1beta/models",
    ]
    assert {seen.headers["x-goog-api-key"] for seen in fake_upstream.requests} == {KEY}


async def test_no_address_holds_the_key(site: Website) -> None:
    await hear(site, chunk({"text": "Oaks"}, finish="STOP"))
    ((asked, _, _),) = site.asked
    assert asked == "POST /v1beta/models/gemini-3-pro:streamGenerateContent?alt=sse"


async def test_thoughts_tools_and_meters_of_one_answer(site: Website) -> None:
    deltas, error = await hear(
        site,
        chunk({"text": "**Look it up**", "thought": True}, promptTokenCount=120, totalTokenCount=150),
        chunk({"text": "I'll look."}),
        chunk(
            {"functionCall": {"name": "lookup", "args": {"tree": "oak"}}, "thoughtSignature": "EjQKMgEM"},
            {"functionCall": {"name": "now"}},
        ),
        chunk(
            {"text": ""},
            finish="STOP",
            promptTokenCount=120,
            cachedContentTokenCount=100,
            candidatesTokenCount=12,
            thoughtsTokenCount=30,
            toolUsePromptTokenCount=5,
            totalTokenCount=167,
        ),
    )
    assert error is None
    assert (thought(deltas), said(deltas)) == ("**Look it up**", "I'll look.")
    first, second = [delta for delta in deltas if isinstance(delta, ToolCallDelta)]
    assert (first.name, first.arguments, first.signature) == ("lookup", '{"tree":"oak"}', "gemini:EjQKMgEM")
    assert (second.name, second.arguments, second.signature) == ("now", "{}", "")
    assert first.call_id != second.call_id
    assert deltas[-2:] == [UsageReport(Usage(input=25, cached=100, output=12, reasoning=30)), Finish("tool_calls")]


@pytest.mark.parametrize("reason", ["SAFETY", "PROHIBITED_CONTENT", "RECITATION", "SPII", "BLOCKLIST"])
async def test_what_safety_stops(site: Website, reason: str) -> None:
    deltas, error = await hear(site, chunk(finish=reason, promptTokenCount=9))
    assert deltas == [UsageReport(Usage(input=9))]
    assert error is not None and (error.kind, error.retryable) == ("content", False)
    deltas, error = await hear(site, chunk({"text": "Oaks"}), chunk(finish=reason))
    assert error is None and deltas[-1] == Finish("content")


async def test_a_question_that_is_blocked(site: Website) -> None:
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 9}}
    deltas, error = await hear(site, blocked)
    assert deltas == [UsageReport(Usage(input=9))]
    assert error is not None and (error.kind, error.retryable) == ("content", False)


async def test_a_call_nobody_can_read_is_asked_for_elsewhere(site: Website) -> None:
    _, error = await hear(site, chunk(finish="MALFORMED_FUNCTION_CALL"))
    assert error is not None and (error.kind, error.retryable) == ("server", True)


@pytest.mark.parametrize(
    ("broken", "kind"),
    [
        ({"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}, "overloaded"),
        ({"error": {"code": 429, "message": "Quota.", "status": "RESOURCE_EXHAUSTED"}}, "rate_limit"),
        ({"error": {"message": "?", "status": "INTERNAL"}}, "server"),
        ({"candidates": 3}, "server"),
        ([], "server"),
    ],
)
async def test_an_error_in_the_middle_of_a_stream(site: Website, broken: Any, kind: str) -> None:
    deltas, error = await hear(site, chunk({"text": "Oaks"}), broken)
    assert said(deltas) == "Oaks"
    assert error is not None and (error.kind, error.retryable) == (kind, True)


INVALID = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]
RETRY = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "37.5s"}]


@pytest.mark.parametrize(
    ("status", "told", "kind", "wait_s"),
    [
        (400, {"message": "API key not valid. Please pass a valid API key.", "details": INVALID}, "key_refused", None),
        (429, {"message": "You exceeded your current quota, check plan", "details": RETRY}, "rate_limit", 37.5),
        (400, {"message": "User location is not supported for the API use."}, "pair_refused", None),
        (403, {"message": "Permission denied"}, "pair_refused", None),
        (404, {"message": "models/x is not found for API version v1beta"}, "not_found", None),
        (503, {"message": "The model is overloaded."}, "overloaded", None),
        (500, {"message": "An internal error has occurred."}, "server", None),
        (400, {"message": f"Invalid value {KEY}"}, "bad_request", None),
    ],
)  # fmt: skip
async def test_refusals_in_the_vendor_s_words(
    site: Website, status: int, told: dict[str, Any], kind: str, wait_s: float | None
) -> None:
    for body in ({"error": {"code": status, **told}}, [{"error": {"code": status, **told}}]):
        site.pages["/v1beta/models/m:streamGenerateContent"] = page(status, msgspec.json.encode(body))
        async with open_egress() as http:
            _, error = await collect(GeminiProvider(), ask("m"), channel(site.url), http)
        assert error is not None
        assert (error.kind, error.retry_after_s) == (kind, wait_s)
        assert KEY not in error.message


async def test_models_are_listed_with_sizes_page_by_page(site: Website) -> None:
    first = {
        "name": "models/gemini-2.5-flash",
        "displayName": "Gemini 2.5 Flash",
        "inputTokenLimit": 1_048_576,
        "outputTokenLimit": 65_536,
        "supportedGenerationMethods": ["generateContent", "countTokens"],
        "thinking": True,
    }
    others = [
        {**first, "name": "models/gemini-2.0-flash", "thinking": False},
        {**first, "name": "models/gemini-embedding-001", "supportedGenerationMethods": ["embedContent"]},
        {**first, "name": "models/gemini-2.5-flash-preview-tts"},
    ]

    async def show(writer: Any) -> None:
        is_first = "pageToken" not in site.asked[-1][0]
        told = {"models": [first], "nextPageToken": "next-2"} if is_first else {"models": others}
        writer.write(page(200, msgspec.json.encode(told), Connection="close"))

    site.pages["/v1beta/models"] = show
    async with open_egress() as http:
        flash, old, vectors = await GeminiProvider().list_models(channel(site.url), http)
    assert site.asked[1][0] == "GET /v1beta/models?pageSize=1000&pageToken=next-2"
    assert (flash.id, flash.title, flash.context_tokens) == ("gemini-2.5-flash", "Gemini 2.5 Flash", 1_048_576)
    assert (flash.max_output_tokens, set(flash.abilities)) == (65_536, {"images", "tools", "json", "reasoning"})
    assert "reasoning" not in old.abilities
    assert (vectors.id, vectors.chats, old.chats) == ("gemini-embedding-001", False, True)


async def test_texts_are_embedded_and_refusals_told(site: Website) -> None:
    told = {"embeddings": [{"values": [0.5, 1]}, {"values": [2.0, 3.0]}]}
    path = "/v1beta/models/gemini-embedding-001:batchEmbedContents"
    site.pages[path] = page(200, msgspec.json.encode(told))
    asked = EmbedRequest("gemini-embedding-001", ("oaks", "elms"), {"dimensions": 2})
    async with open_egress() as http:
        embedded = await GeminiProvider().embed(asked, channel(site.url), http)
        assert embedded.vectors == ((0.5, 1.0), (2.0, 3.0)) and embedded.usage is None
        sent = msgspec.json.decode(site.asked[-1][2])["requests"]
        assert sent[1] == {
            "model": "models/gemini-embedding-001",
            "content": {"parts": [{"text": "elms"}]},
            "outputDimensionality": 2,
        }
        for body, kind in ((page(429, b"{}"), "rate_limit"), (page(200, b'{"embeddings":[]}'), "server")):
            site.pages[path] = body
            with pytest.raises(UpstreamError) as caught:
                await GeminiProvider().embed(asked, channel(site.url), http)
            assert caught.value.kind == kind and KEY not in caught.value.message


async def test_a_degree_or_thoughts_turned_down_are_left_out_and_remembered(site: Website) -> None:
    message = "Thinking level medium is not supported for this model."
    refusal = page(400, msgspec.json.encode({"error": {"code": 400, "message": message}}), Connection="close")
    whole = page(200, msgspec.json.encode(chunk({"text": "Oaks."}, finish="STOP")), Connection="close")
    answers = iter([refusal, refusal, whole, whole])

    async def speak(writer: Any) -> None:
        writer.write(next(answers))

    site.pages["/v1beta/models/gemini-3-pro:generateContent"] = speak
    provider = GeminiProvider()
    request = ask("gemini-3-pro", stream=False, parameters={"reasoning_effort": "medium", "temperature": 0.1})
    async with open_egress() as http:
        for _ in range(2):
            deltas, error = await collect(provider, request, channel(site.url), http)
            assert (error, said(deltas)) == (None, "Oaks.")
    sent = [msgspec.json.decode(body)["generationConfig"].get("thinkingConfig") for _, _, body in site.asked]
    assert sent == [{"includeThoughts": True, "thinkingLevel": "medium"}, {"includeThoughts": True}, None, None]
