"""Anthropic's own SDK, unchanged, against a running server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anthropic
import pydantic
import pytest
import pytest_asyncio

from chatserver.testing.server import Site
from chatserver.testing.upstream import FakeUpstream

from .conftest import rows

pytestmark = pytest.mark.asyncio(loop_scope="module")
HELLO = [{"role": "user", "content": "Hello there"}]
TOOL = {"name": "weather", "description": "How it is", "input_schema": {"type": "object", "properties": {}}}


@pytest_asyncio.fixture(loop_scope="module")
async def client(site: Site, key: str) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=site.url, api_key=key, max_retries=0) as client:
        yield client


async def test_models_are_listed(client: anthropic.AsyncAnthropic) -> None:
    names = [model.id async for model in await client.models.list()]
    assert "fake-n5" in names
    assert (await client.models.retrieve("fake-n5")).type == "model"


async def test_a_whole_answer_is_metered(site: Site, client: anthropic.AsyncAnthropic) -> None:
    answer = await client.messages.create(model="fake-echo", max_tokens=100, messages=HELLO)
    assert answer.content[0].type == "text" and answer.content[0].text == "Hello there"
    assert answer.stop_reason == "end_turn" and answer.role == "assistant" and answer.id.startswith("msg_")
    assert answer.usage.input_tokens > 0 and answer.usage.output_tokens > 0
    assert answer._request_id
    assert (await rows(site, "fake-echo"))[-1][:3] == ("done", "api", "chat")


async def test_the_bearer_form_opens_as_well(site: Site, key: str) -> None:
    async with anthropic.AsyncAnthropic(base_url=site.url, auth_token=key, api_key=None, max_retries=0) as client:
        assert (await client.messages.create(model="fake-n5", max_tokens=9, messages=HELLO)).content


async def test_thoughts_and_text_stream_as_blocks(client: anthropic.AsyncAnthropic, upstream: FakeUpstream) -> None:
    async with client.messages.stream(
        model="fake-think3-n3",
        max_tokens=4000,
        system="Be short.",
        thinking={"type": "enabled", "budget_tokens": 2000},
        messages=HELLO,
    ) as stream:
        kinds = [event.type async for event in stream]
        answer = await stream.get_final_message()
    assert [block.type for block in answer.content] == ["thinking", "text"]
    assert len(answer.content[1].text.split()) == 3
    assert answer.stop_reason == "end_turn" and answer.usage.output_tokens > 0
    assert kinds[0] == "message_start" and kinds[-1] == "message_stop"
    assert kinds.count("content_block_start") == kinds.count("content_block_stop") == 2
    sent = upstream.chats()[-1].json
    assert sent["messages"][0] == {"role": "system", "content": "Be short."}
    assert sent["reasoning_effort"] == "low"


@pytest.mark.parametrize("stream", [False, True])
async def test_tools_are_called(client: anthropic.AsyncAnthropic, upstream: FakeUpstream, stream: bool) -> None:
    asked = {"model": "fake-tool-n2", "max_tokens": 100, "messages": HELLO, "tools": [TOOL]}
    if stream:
        async with client.messages.stream(**asked, tool_choice={"type": "any"}) as events:
            answer = await events.get_final_message()
    else:
        answer = await client.messages.create(**asked, tool_choice={"type": "any"})
    assert answer.stop_reason == "tool_use"
    assert [block.type for block in answer.content] == ["text", "tool_use"]
    assert upstream.chats()[-1].json["tool_choice"] == "required"
    used = answer.content[1]
    assert isinstance(used.input, dict)
    result = {"type": "tool_result", "tool_use_id": used.id, "content": [{"type": "text", "text": "sunny"}]}
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
    again = [
        *HELLO,
        {"role": "assistant", "content": [block.model_dump() for block in answer.content]},
        {"role": "user", "content": [result, {"type": "text", "text": "And?"}, picture]},
    ]
    await client.messages.create(model="fake-n5", max_tokens=100, messages=again, tools=[TOOL])
    sent = upstream.chats()[-1].json["messages"]
    assert sent[1]["tool_calls"][0]["id"] == used.id
    assert sent[2] == {"role": "tool", "tool_call_id": used.id, "content": "sunny"}
    assert sent[3]["content"][1]["image_url"]["url"] == "data:image/png;base64,iVBORw0KGgo="


async def test_an_answer_in_a_schema_is_asked_for_and_parsed(
    client: anthropic.AsyncAnthropic, upstream: FakeUpstream
) -> None:
    """The SDK's own `parse` makes the schema of a class, and reads the answer back into it."""

    class Leaf(pydantic.BaseModel):
        tree: str

    said = [{"role": "user", "content": '{"tree":"birch"}'}]
    answer = await client.messages.parse(
        model="fake-echo", max_tokens=99, messages=said, output_format=Leaf, output_config={"effort": "max"}
    )
    assert answer.parsed_output == Leaf(tree="birch")
    sent = upstream.chats()[-1].json
    assert sent["response_format"]["json_schema"]["schema"]["required"] == ["tree"]
    assert sent["reasoning_effort"] == "high"
    with pytest.raises(anthropic.BadRequestError):
        await client.messages.create(
            model="fake-n5", max_tokens=9, messages=HELLO, output_config={"format": {"type": "xml"}}
        )


async def test_a_question_is_counted(client: anthropic.AsyncAnthropic) -> None:
    short = await client.messages.count_tokens(model="fake-n5", messages=HELLO)
    long = await client.messages.count_tokens(model="fake-n5", messages=HELLO * 3, tools=[TOOL])
    assert 0 < short.input_tokens < long.input_tokens


async def test_what_is_wrong_is_said_as_anthropic_says_it(client: anthropic.AsyncAnthropic) -> None:
    with pytest.raises(anthropic.NotFoundError) as unknown:
        await client.messages.create(model="nobody", max_tokens=9, messages=HELLO)
    assert unknown.value.body["error"]["type"] == "not_found_error"
    assert unknown.value.body["request_id"] == unknown.value.request_id
    with pytest.raises(anthropic.BadRequestError) as empty:
        await client.messages.create(model="fake-n5", max_tokens=9, messages=[])
    assert empty.value.body["error"]["type"] == "invalid_request_error"
    with pytest.raises(anthropic.RateLimitError):
        await client.messages.create(model="fake-err429-retry1", max_tokens=9, messages=HELLO)
    with pytest.raises(anthropic.InternalServerError):
        await client.messages.create(model="fake-err500", max_tokens=9, messages=HELLO)
    with pytest.raises(anthropic.AuthenticationError) as who:
        await client.with_options(api_key="nobody").messages.create(model="fake-n5", max_tokens=9, messages=HELLO)
    assert who.value.body["error"]["type"] == "authentication_error"


async def test_an_answer_that_breaks_off_ends_in_an_error_event(client: anthropic.AsyncAnthropic) -> None:
    with pytest.raises(anthropic.APIError):
        async with client.messages.stream(model="fake-cut3-n9", max_tokens=9, messages=HELLO) as stream:
            async for _ in stream:
                pass
