"""OpenAI's own SDK, unchanged, against a running server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import openai
import pydantic
import pytest
import pytest_asyncio
from openai.types.chat import ChatCompletionMessageParam

from chatserver import Channel
from chatserver.testing.server import Site
from chatserver.testing.upstream import FakeUpstream

from .conftest import rows

pytestmark = pytest.mark.asyncio(loop_scope="module")
HELLO = [{"role": "user", "content": "Hello there"}]
PIXEL = "data:image/png;base64,iVBORw0KGgo="


@pytest_asyncio.fixture(loop_scope="module")
async def client(site: Site, key: str) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{site.url}/v1", api_key=key, max_retries=0) as client:
        yield client


async def test_models_are_listed(client: openai.AsyncOpenAI) -> None:
    names = [model.id async for model in await client.models.list()]
    assert "fake-n5" in names
    assert (await client.models.retrieve("fake-n5")).id == "fake-n5"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("gone")


async def test_a_whole_answer_is_metered_as_a_call_of_the_api(site: Site, client: openai.AsyncOpenAI) -> None:
    before = len(await rows(site, "fake-echo"))
    answer = await client.chat.completions.create(model="fake-echo", messages=HELLO)
    assert answer.choices[0].message.content == "Hello there"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None and answer.usage.completion_tokens > 0
    assert answer._request_id
    calls = await rows(site, "fake-echo")
    state, origin, kind, usage = calls[before]
    assert (state, origin, kind) == ("done", "api", "chat")
    assert f'"output":{answer.usage.completion_tokens}' in usage
    assert answer.id.startswith("chatcmpl-")


async def test_no_conversation_is_made(site: Site, client: openai.AsyncOpenAI, key: str) -> None:
    await client.chat.completions.create(model="fake-n5", messages=HELLO)
    assert (await site.api(key).get("/api/conversations")).json()["conversations"] == []


async def test_a_stream_tells_its_usage_when_asked(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="fake-n5",
        messages=HELLO,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert len(text.split()) == 5
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].choices == [] and chunks[-1].usage is not None and chunks[-1].usage.completion_tokens == 5
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[0].choices[0].delta.role == "assistant"


async def test_a_stream_says_no_usage_when_not_asked(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(model="fake-n5", messages=HELLO, stream=True)
    chunks = [chunk async for chunk in stream]
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)


@pytest.mark.parametrize("stream", [False, True])
async def test_tools_are_called(client: openai.AsyncOpenAI, upstream: FakeUpstream, stream: bool) -> None:
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
    asked = client.chat.completions.stream(model="fake-tool-n2", messages=HELLO, tools=[tool]) if stream else None
    if asked is not None:
        async with asked as events:
            answer = await events.get_final_completion()
    else:
        answer = await client.chat.completions.create(model="fake-tool-n2", messages=HELLO, tools=[tool])
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls
    called = choice.message.tool_calls[0]
    again = [
        *HELLO,
        choice.message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": called.id, "content": "sunny"},
    ]
    await client.chat.completions.create(model="fake-n5", messages=again, tools=[tool])
    sent = upstream.chats()[-1].json
    assert sent["messages"][-1] == {"role": "tool", "tool_call_id": called.id, "content": "sunny"}
    assert sent["messages"][-2]["tool_calls"][0]["id"] == called.id
    assert sent["tools"][0]["function"]["name"] == "weather"


async def test_parameters_and_pictures_reach_the_model(client: openai.AsyncOpenAI, upstream: FakeUpstream) -> None:
    content = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": PIXEL}}]
    await client.chat.completions.create(
        model="fake-n5",
        messages=[{"role": "developer", "content": "Be short."}, {"role": "user", "content": content}],
        response_format={"type": "json_object"},
        stop="END",
        temperature=0.5,
        max_completion_tokens=40,
        seed=7,
        n=1,
    )
    sent = upstream.chats()[-1].json
    assert sent["response_format"] == {"type": "json_object"}
    assert (sent["stop"], sent["temperature"], sent["max_tokens"], sent["seed"]) == (["END"], 0.5, 40, 7)
    assert sent["messages"][0] == {"role": "system", "content": "Be short."}
    assert sent["messages"][1]["content"][1]["image_url"]["url"] == PIXEL


async def test_what_is_wrong_is_said_as_openai_says_it(site: Site, client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as several:
        await client.chat.completions.create(model="fake-n5", messages=HELLO, n=2)
    assert several.value.param == "n" and several.value.type == "invalid_request_error"
    assert several.value.request_id
    with pytest.raises(openai.NotFoundError) as unknown:
        await client.chat.completions.create(model="nobody", messages=HELLO)
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError) as nowhere:
        await client.get("/model-cards", cast_to=object)
    assert nowhere.value.code == "not_found"
    with pytest.raises(openai.BadRequestError) as long:
        await client.chat.completions.create(model="fake-toolong", messages=HELLO)
    assert long.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError):
        await client.chat.completions.create(model="fake-n5", messages=[{"role": "user", "content": 5}])
    with pytest.raises(openai.InternalServerError):
        await client.chat.completions.create(model="fake-err500", messages=HELLO)
    with pytest.raises(openai.RateLimitError) as often:
        await client.chat.completions.create(model="fake-err429-retry1", messages=HELLO, stream=True)
    assert often.value.response.headers["retry-after"]
    stranger = client.with_options(api_key="cs_abcdef_" + "x" * 43)
    with pytest.raises(openai.AuthenticationError) as who:
        await stranger.models.list()
    assert who.value.code == "invalid_api_key"


async def test_an_answer_that_breaks_off_ends_in_an_error(site: Site, client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(model="fake-cut3-n9", messages=HELLO, stream=True)
    with pytest.raises(openai.APIError):
        async for _ in stream:
            pass
    assert (await rows(site, "fake-cut3-n9"))[-1][0] == "interrupted"


async def test_texts_become_vectors(site: Site, client: openai.AsyncOpenAI) -> None:
    told = await client.embeddings.create(model="fake-n5", input=["one two", "three"])
    assert [item.embedding for item in told.data] == [[7.0, 2.0, 0.0], [5.0, 1.0, 1.0]]
    assert told.usage.prompt_tokens == 3
    plain = await client.embeddings.create(model="fake-n5", input="one", encoding_format="float")
    assert plain.data[0].embedding == [3.0, 1.0, 0.0]
    calls = [call for call in await rows(site, "fake-n5") if call[2] == "embedding"]
    assert [call[:2] for call in calls] == [("done", "api")] * 2
    with pytest.raises(openai.BadRequestError):
        await client.embeddings.create(model="fake-n5", input=[1, 2, 3])
    with pytest.raises(openai.BadRequestError):
        await client.embeddings.create(model="fake-n5", input="one", dimensions=-3)


async def test_a_model_that_embeds_is_there_without_being_named(
    site: Site, client: openai.AsyncOpenAI, upstream: FakeUpstream
) -> None:
    told, upstream.models = upstream.models, [{"id": "told"}, {"id": "text-embedding-3-small"}]
    try:
        await site.house.catalog.keep([Channel("all", "openai", upstream.base_url, "sk-all", source="console")])
        assert {"told", "text-embedding-3-small"} <= {model.id async for model in client.models.list()}
        vectors = await client.embeddings.create(model="text-embedding-3-small", input="one two")
        assert vectors.data[0].embedding == [7.0, 2.0, 0.0]
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.create(model="text-embedding-3-small", messages=HELLO)
        assert "text-embedding-3-small" not in [model.id for model in site.house.catalog.models(["default"])]
    finally:
        upstream.models = told
        await site.house.catalog.keep([])


async def test_an_answer_in_a_schema_is_asked_for_and_parsed(
    client: openai.AsyncOpenAI, upstream: FakeUpstream
) -> None:
    """The SDK's own `parse` makes the schema of a class, and reads the answer back into it."""

    class Leaf(pydantic.BaseModel):
        tree: str
        count: int

    said = '{"tree":"birch","count":3}'
    asked: list[ChatCompletionMessageParam] = [{"role": "user", "content": said}]
    answer = await client.chat.completions.parse(model="fake-echo", messages=asked, response_format=Leaf)
    assert answer.choices[0].message.parsed == Leaf(tree="birch", count=3)
    sent = upstream.chats()[-1].json["response_format"]
    assert sent["type"] == "json_schema" and sent["json_schema"]["name"] == "Leaf" and sent["json_schema"]["strict"]
    assert sent["json_schema"]["schema"]["required"] == ["tree", "count"], "as it came, to the letter"
    for wrong in ({"type": "xml"}, {"type": "json_schema"}, {"type": "json_schema", "json_schema": {"name": "x"}}, {}):
        with pytest.raises(openai.BadRequestError) as refused:
            await client.chat.completions.create(model="fake-n5", messages=HELLO, response_format=wrong)  # type: ignore[call-overload]
        assert refused.value.param == "response_format", wrong
