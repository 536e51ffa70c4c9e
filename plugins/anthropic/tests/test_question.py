"""What is sent: messages that take turns, tools, thoughts given back, and parameters by the names of this vendor."""

from __future__ import annotations

from typing import Any

import pytest
from chatserver_anthropic.facts import facts_by_name
from chatserver_anthropic.question import GO_ON, NOTHING, write_body, write_messages
from chatserver_anthropic.signed import Redacted, Text, Thinking, seal

from chatserver import (
    ChatRequest,
    FilePart,
    ImagePart,
    PromptMessage,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    ToolSpec,
)

OLD, BUDGETED, NEW = "claude-3-5-haiku-20241022", "claude-sonnet-4-20250514", "claude-opus-4-7"
LOOKUP = ToolSpec("lookup", "Looks up.", {"properties": {"q": {"type": "string"}}})
ASKED = PromptMessage("user", (TextPart("Oaks?"),))


def body(model: str = NEW, *messages: PromptMessage, tools: tuple[ToolSpec, ...] = (), **parameters: Any) -> Any:
    request = ChatRequest(model, messages or (ASKED,), tools, parameters=parameters)
    return write_body(request, facts_by_name(model))


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def test_a_conversation_is_written_in_turns() -> None:
    messages = (
        PromptMessage("system", (TextPart("Be brief."),)),
        PromptMessage("user", (TextPart("What is this?"), ImagePart(url="data:image/png;base64,AA=="))),
        PromptMessage("assistant", (ReasoningPart("hm"), TextPart("A tree."))),
        PromptMessage("user", (FilePart("f", name="oak.txt", text="Quercus"),)),
        PromptMessage("user", (TextPart("And this?"), TextPart("  "))),
    )
    written = body(NEW, *messages)
    assert written["system"] == "Be brief."
    picture = {"type": "base64", "media_type": "image/png", "data": "AA=="}
    assert written["messages"] == [
        {"role": "user", "content": [text("What is this?"), {"type": "image", "source": picture}]},
        {"role": "assistant", "content": [text("A tree.")]},
        {
            "role": "user",
            "content": [
                text("\n\n[oak.txt]\nQuercus\n"),
                {**text("And this?"), "cache_control": {"type": "ephemeral"}},
            ],
        },
    ]
    assert (written["model"], written["stream"], written["max_tokens"]) == (NEW, True, 32_000)


def test_a_chat_begins_and_ends_with_the_user() -> None:
    written = write_messages((PromptMessage("assistant", (TextPart("Oaks grow "),)),))
    assert [one["content"][0]["text"] for one in written] == [NOTHING, "Oaks grow ", GO_ON]
    assert [one["role"] for one in written] == ["user", "assistant", "user"]


def in_rounds(signature: str = "") -> tuple[PromptMessage, ...]:
    return (
        ASKED,
        PromptMessage(
            "assistant",
            (
                TextPart("Let me look."),
                ToolCallPart("toolu_1", "lookup", '{"q": 1}', signature),
                ToolCallPart("call.2", "lookup", "no object"),
            ),
        ),
        PromptMessage("tool", (ToolResultPart("toolu_1", "one"), ToolResultPart("call.2", " ", is_error=True))),
    )


def test_tools_in_rounds() -> None:
    written = body(NEW, *in_rounds(), tools=(LOOKUP,))
    assert written["tools"] == [
        {
            "name": "lookup",
            "description": "Looks up.",
            "input_schema": {"type": "object", "properties": {"q": {"type": "string"}}},
        }
    ]
    assert "tool_choice" not in written
    assert written["messages"][1]["content"] == [
        text("Let me look."),
        {"type": "tool_use", "id": "toolu_1", "name": "lookup", "input": {"q": 1}},
        {"type": "tool_use", "id": "call_2", "name": "lookup", "input": {"text": "no object"}},
    ]
    assert written["messages"][2] == {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "toolu_1", "content": "one"},
            {
                "type": "tool_result",
                "tool_use_id": "call_2",
                "is_error": True,
                "cache_control": {"type": "ephemeral"},
            },
        ],
    }


def test_tools_of_earlier_calls_are_declared_when_they_are_gone() -> None:
    written = body(NEW, *in_rounds())
    assert [tool["name"] for tool in written["tools"]] == ["lookup"]
    assert written["tool_choice"] == {"type": "none"}


def test_thoughts_go_back_with_the_calls_of_this_turn_and_no_others() -> None:
    signed = seal([Thinking("Hm.", "c2ln"), Redacted("ZGF0"), Text("Let me look.")])
    now = write_messages(in_rounds(signed))[1]["content"]
    assert [block["type"] for block in now] == ["thinking", "redacted_thinking", "text", "tool_use", "tool_use"]
    assert now[0] == {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
    later = (*in_rounds(signed), PromptMessage("assistant", (TextPart("One."),)), ASKED)
    assert [block["type"] for block in write_messages(later)[1]["content"]] == ["text", "tool_use", "tool_use"]


def test_what_was_said_between_two_thoughts_stays_between_them() -> None:
    blocks = [Thinking("a", "1"), Text("Let me"), Thinking("b", "2"), Text(" look.")]
    written = write_messages(in_rounds(seal(blocks)))[1]["content"]
    assert [block["type"] for block in written][:5] == ["thinking", "text", "thinking", "text", "tool_use"]
    assert [block["text"] for block in written if block["type"] == "text"] == ["Let me", " look."]


@pytest.mark.parametrize("signature", ["", "gemini:c2ln", "anthropic:{", 'anthropic:[{"type":"tool_use"}]'])
def test_what_others_signed_is_passed_over(signature: str) -> None:
    written = body(BUDGETED, *in_rounds(signature), tools=(LOOKUP,), reasoning_effort="high")
    assert written["messages"][1]["content"][0] == text("Let me look.")
    assert "thinking" not in written


def test_a_degree_of_effort_is_told_as_the_model_takes_it() -> None:
    new = body(NEW, reasoning_effort="low", temperature=0.2)
    assert new["thinking"] == {"type": "adaptive", "display": "summarized"}
    assert new["output_config"] == {"effort": "low"}
    assert "temperature" not in new
    budgeted = body(BUDGETED, reasoning_effort="medium", temperature=0.2)
    assert budgeted["thinking"] == {"type": "enabled", "budget_tokens": 8_192}
    assert "temperature" not in budgeted and "output_config" not in budgeted
    bounded = body(BUDGETED, reasoning_effort="high", max_output=4_000)
    assert (bounded["max_tokens"], bounded["thinking"]["budget_tokens"]) == (4_000, 2_976)
    assert "thinking" not in body(BUDGETED, reasoning_effort="high", max_output=1_500)
    assert "thinking" not in body(OLD, reasoning_effort="high")
    assert "thinking" not in body(NEW, tools=(LOOKUP,), reasoning_effort="low", tool_choice="required")


def test_parameters_by_this_vendor_s_names() -> None:
    written = body(OLD, temperature=1.7, top_p=0.9, top_k=40, stop=["END", " "], seed=7, max_output=20)
    assert (written["temperature"], written["top_k"], written["stop_sequences"]) == (1.0, 40, ["END"])
    assert not written.keys() & {"top_p", "seed", "stop", "max_output"}
    assert written["max_tokens"] == 20
    assert body(OLD, top_p=0.9)["top_p"] == 0.9
    assert body(OLD, max_output=100_000)["max_tokens"] == 8_192


@pytest.mark.parametrize(
    ("wanted", "sent"),
    [
        ({"tool_choice": "auto"}, {"type": "auto"}),
        ({"tool_choice": "none"}, {"type": "none"}),
        ({"tool_choice": "required"}, {"type": "any"}),
        (
            {"tool_choice": {"type": "function", "function": {"name": "lookup"}}, "parallel_tool_calls": False},
            {"type": "tool", "name": "lookup", "disable_parallel_tool_use": True},
        ),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
    ],
)
def test_which_tool_is_to_be_called(wanted: dict[str, Any], sent: dict[str, Any]) -> None:
    assert body(NEW, tools=(LOOKUP,), **wanted)["tool_choice"] == sent


def test_every_object_of_a_schema_is_closed() -> None:
    leaf = {"type": "object", "properties": {"type": {"type": "string"}}}
    schema = {
        "type": "object",
        "properties": {"leaves": {"type": "array", "items": leaf}, "one": {"anyOf": [leaf, {"type": "null"}]}},
        "$defs": {"open": {"type": "object", "additionalProperties": True}},
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "t", "schema": schema}}
    sent = body(NEW, response_format=wanted)["output_config"]["format"]["schema"]
    closed = {**leaf, "additionalProperties": False}
    assert sent["additionalProperties"] is False
    assert sent["properties"] == {
        "leaves": {"type": "array", "items": closed},
        "one": {"anyOf": [closed, {"type": "null"}]},
    }
    assert sent["$defs"] == schema["$defs"], "what was said stands"
    assert "additionalProperties" not in schema and "additionalProperties" not in leaf


def test_json_by_schema_where_the_model_has_it_and_in_words_elsewhere() -> None:
    schema = {"type": "object", "properties": {"tree": {"type": "string"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "t", "schema": schema}}
    sent = body(NEW, response_format=wanted)["output_config"]["format"]
    assert sent == {"type": "json_schema", "schema": {**schema, "additionalProperties": False}}
    assert '"tree"' in body(OLD, response_format=wanted)["system"]
    assert "JSON object" in body(NEW, response_format={"type": "json_object"})["system"]
    assert "system" not in body(NEW, response_format={"type": "text"})
