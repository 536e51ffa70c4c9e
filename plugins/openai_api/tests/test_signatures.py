"""The signature of a tool call goes out with the call and comes back with it, in both formats."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from chatserver_openai_api import completions, messages, messages_question, question

from chatserver import ToolCallDelta, ToolCallPart, Usage

SIGNED = "parrot:c2lnbmVk"
CALL = ToolCallPart("call_1", "look", '{"at":"oak"}', SIGNED)


class OneCall:
    """An answer that is one call of a tool."""

    call_id, started_at, input_tokens, finish, usage = "one", 1_000_000, 3, "tool_calls", Usage(3, 1)

    def __init__(self, signature: str) -> None:
        self._signature = signature

    async def deltas(self) -> AsyncIterator[ToolCallDelta]:
        yield ToolCallDelta(CALL.call_id, CALL.name, CALL.arguments, signature=self._signature)


def heard(events: list[bytes]) -> list[dict[str, Any]]:
    lines = b"".join(events).splitlines()
    return [msgspec.json.decode(line[6:]) for line in lines if line.startswith(b"data: {")]


async def tool_calls(signature: str, stream: bool) -> list[dict[str, Any]]:
    body = msgspec.json.encode({"model": "a", "messages": [{"role": "user", "content": "Hi"}]})
    asked, call = question.read_question(body), OneCall(signature)
    if not stream:
        return list(msgspec.json.decode(await completions._whole(call, asked))["choices"][0]["message"]["tool_calls"])
    chunks = heard([event async for event in completions._events(call, asked)])
    return [one for chunk in chunks for choice in chunk["choices"] for one in choice["delta"].get("tool_calls", ())]


async def blocks(signature: str, stream: bool) -> list[dict[str, Any]]:
    body = msgspec.json.encode({"model": "a", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]})
    asked, call = messages_question.read_question(body), OneCall(signature)
    if not stream:
        return list(msgspec.json.decode(await messages._whole(call, asked))["content"])
    events = heard([event async for event in messages._events(call, asked)])
    return [event["content_block"] for event in events if event["type"] == "content_block_start"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_signature_comes_back_with_its_call(stream: bool) -> None:
    (called,) = await tool_calls(SIGNED, stream)
    body = {"model": "a", "messages": [{"role": "assistant", "tool_calls": [called]}]}
    asked = question.read_question(msgspec.json.encode(body))
    assert question.as_request(asked).messages[0].parts == (CALL,)

    (block,) = await blocks(SIGNED, stream)
    whole = {**block, "input": {"at": "oak"}}
    body = {"model": "a", "max_tokens": 9, "messages": [{"role": "assistant", "content": [whole]}]}
    told = messages_question.read_question(msgspec.json.encode(body))
    assert messages_question.as_request(told).messages[0].parts == (CALL,)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_without_one_looks_as_it_always_did(stream: bool) -> None:
    for made in (await tool_calls("", stream), await blocks("", stream)):
        assert "signature" not in made[0]
