"""Chunks as servers really send them: tool calls in pieces, two names for reasoning, meters that overlap."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from chatserver_openai.answer import Answer, decode_chunk, read_usage

from chatserver import Finish, ProviderDelta, ReasoningDelta, TextDelta, ToolCallDelta, Usage, UsageReport


def chunk(delta: dict[str, Any] | None = None, **more: Any) -> bytes:
    return msgspec.json.encode({"choices": [{"index": 0, "delta": delta or {}, **more}]})


def take(*chunks: bytes) -> tuple[list[ProviderDelta], list[ProviderDelta]]:
    answer, deltas = Answer(), []  # type: ignore[var-annotated]
    for one in chunks:
        answer.take(decode_chunk(one), deltas)
    return deltas, answer.close()


@pytest.mark.parametrize(
    ("delta", "expected"),
    [
        ({"content": "yes"}, [TextDelta("yes")]),
        ({"content": ""}, []),
        ({"content": None, "reasoning_content": "hm"}, [ReasoningDelta("hm")]),
        ({"reasoning": "hm"}, [ReasoningDelta("hm")]),
        ({"reasoning": "hm", "reasoning_content": "hm"}, [ReasoningDelta("hm")]),
        ({"reasoning": {"content": "hm"}, "content": ""}, [ReasoningDelta("hm")]),
        ({"reasoning_content": "", "content": "yes"}, [TextDelta("yes")]),
        ({"refusal": "I would rather not."}, [TextDelta("I would rather not.")]),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, [TextDelta("ab")]),
        (
            {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"text": "so"}]},
            [ReasoningDelta("hm"), TextDelta("so")],
        ),
        ({"role": "assistant", "unknown": {"deep": [1]}}, []),
    ],
)
def test_a_delta_in_every_known_form(delta: dict[str, Any], expected: list[ProviderDelta]) -> None:
    assert take(chunk(delta))[0] == expected


def test_neighbours_of_one_kind_are_joined() -> None:
    deltas, _ = take(
        chunk({"content": "a"}), chunk({"content": "b"}), chunk({"reasoning": "c"}), chunk({"content": "d"})
    )
    assert deltas == [TextDelta("ab"), ReasoningDelta("c"), TextDelta("d")]


def call(**fields: Any) -> bytes:
    return chunk({"tool_calls": [fields]})


def test_two_tool_calls_in_interleaved_pieces() -> None:
    _, end = take(
        call(index=0, id="a", type="function", function={"name": "one", "arguments": ""}),
        call(index=1, id="b", type="function", function={"name": "two", "arguments": '{"y'}),
        call(index=0, function={"arguments": '{"x":'}),
        call(index=1, function={"arguments": '": 2}'}),
        call(index=0, function={"arguments": " 1}"}),
        chunk(finish_reason="tool_calls"),
    )
    assert end == [ToolCallDelta("a", "one", '{"x": 1}'), ToolCallDelta("b", "two", '{"y": 2}'), Finish("tool_calls")]


def test_tool_calls_without_an_index() -> None:
    _, end = take(
        call(id="a", function={"name": "one", "arguments": "{"}),
        call(function={"arguments": "}"}),
        call(id="b", function={"name": "two", "arguments": {"y": 2}}),
        chunk(finish_reason="stop"),
    )
    assert end == [ToolCallDelta("a", "one", "{}"), ToolCallDelta("b", "two", '{"y":2}'), Finish("tool_calls")]


def test_a_tool_call_without_id_or_arguments_gets_them() -> None:
    _, end = take(call(index=0, function={"name": "now"}), chunk(finish_reason="tool_calls"))
    assert end[0] == ToolCallDelta("call_0", "now", "{}")


def test_only_the_first_of_several_choices_is_read() -> None:
    body = {"choices": [{"index": 1, "delta": {"content": "no"}}, {"index": 0, "delta": {"content": "yes"}}]}
    assert take(msgspec.json.encode(body))[0] == [TextDelta("yes")]


@pytest.mark.parametrize(
    ("reason", "ours"),
    [("stop", "stop"), ("length", "length"), ("content_filter", "content"), ("MAX_TOKENS", "length"), ("eos", "stop")],
)
def test_reasons_in_our_words(reason: str, ours: str) -> None:
    assert take(chunk(finish_reason=reason))[1] == [Finish(ours)]


def test_usage_of_the_last_chunk_wins() -> None:
    first = msgspec.json.encode({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1}})
    last = msgspec.json.encode({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 9}})
    assert take(first, last)[1][0] == UsageReport(Usage(input=3, output=9))


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}, Usage(input=10, output=5)),
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 50,
                "total_tokens": 150,
                "prompt_tokens_details": {"cached_tokens": 60, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 30},
            },
            Usage(input=40, cached=60, output=20, reasoning=30),
        ),
        (
            # counted beside the completion, as the total tells
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 35,
                "completion_tokens_details": {"reasoning_tokens": 20},
            },
            Usage(input=10, output=5, reasoning=20),
        ),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 50,
                "total_tokens": 80,
                "completion_tokens_details": {"reasoning_tokens": 20},
            },
            Usage(input=10, output=50, reasoning=20),
        ),
        (
            {"prompt_tokens": 10, "completion_tokens": 5, "prompt_cache_hit_tokens": 8},
            Usage(input=2, cached=8, output=5),
        ),
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 5,
                "cache_read_input_tokens": 70,
                "cache_creation_input_tokens": 20,
            },
            Usage(input=10, cached=70, cache_write=20, output=5),
        ),
        ({"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": None}, Usage(input=5, output=1)),
        ({"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 99}},
         Usage(cached=5, output=1)),
        ({"prompt_tokens": 0, "completion_tokens": 0}, None),
        ({"prompt_tokens": "many"}, None),
        (None, None),
        ([], None),
    ],
)  # fmt: skip
def test_meters_are_made_disjoint(told: Any, usage: Usage | None) -> None:
    assert read_usage(msgspec.Raw(msgspec.json.encode(told))) == usage
    if usage is not None and isinstance(told, dict) and told.get("total_tokens"):
        assert usage.tokens == told["total_tokens"]
