"""What is sent: messages, pictures, tools, options, and the window a question needs."""

from __future__ import annotations

from typing import Any

import pytest
from chatserver_ollama.address import below, read_host
from chatserver_ollama.question import window_for, write_body, write_messages

from chatserver import ChatRequest, ImagePart, PromptMessage, TextPart, ToolCallPart, ToolResultPart, ToolSpec

ASKED = PromptMessage("user", (TextPart("Oaks?"),))
LOOKUP = ToolSpec("lookup", "Looks up.", {"type": "object"})


def body(*, model: str = "qwen3:8b", thinks: bool | None = True, tools: Any = (), **parameters: Any) -> Any:
    return write_body(ChatRequest(model, (ASKED,), tools, parameters=parameters), thinks=thinks)


def test_a_conversation_is_written_in_its_form() -> None:
    assert write_messages(
        (
            PromptMessage("system", (TextPart("Be brief."),)),
            PromptMessage("user", (TextPart("What is this?"), ImagePart(url="data:image/png;base64,AA=="))),
            PromptMessage("assistant", (TextPart("Let me look."), ToolCallPart("a", "lookup", '{"q":1}'))),
            PromptMessage("tool", (ToolResultPart("a", "one"),)),
            PromptMessage("assistant", (TextPart("A tree."),)),
        )
    ) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is this?", "images": ["AA=="]},
        {
            "role": "assistant",
            "content": "Let me look.",
            "tool_calls": [{"id": "a", "function": {"name": "lookup", "arguments": {"q": 1}}}],
        },
        {"role": "tool", "content": "one", "tool_name": "lookup", "tool_call_id": "a"},
        {"role": "assistant", "content": "A tree."},
    ]


def test_parameters_are_options() -> None:
    written = body(tools=(LOOKUP,), temperature=0.2, top_k=40, seed=7, stop="END", max_output=20, voice="nobody's")
    assert written["options"] == {"temperature": 0.2, "top_k": 40, "seed": 7, "num_predict": 20, "stop": ["END"]}
    assert [tool["function"]["name"] for tool in written["tools"]] == ["lookup"]
    assert "options" not in body() and "tools" not in body(tools=(LOOKUP,), tool_choice="none")


def test_json_by_schema_or_any() -> None:
    schema = {"type": "object"}
    wanted = {"type": "json_schema", "json_schema": {"name": "t", "schema": schema}}
    assert body(response_format=wanted)["format"] == schema
    assert body(response_format={"type": "json_object"})["format"] == "json"
    assert "format" not in body(response_format={"type": "text"})


@pytest.mark.parametrize(
    ("model", "thinks", "effort", "sent"),
    [
        ("qwen3:8b", True, "low", True),
        ("qwen3:8b", None, "low", True),
        ("gpt-oss:20b", True, "low", "low"),
        ("llama3.2:1b", False, "low", None),
        ("qwen3:8b", True, "", None),
    ],
)
def test_thinking_where_the_model_thinks(model: str, thinks: bool | None, effort: str, sent: Any) -> None:
    assert body(model=model, thinks=thinks, reasoning_effort=effort).get("think") == sent


@pytest.mark.parametrize(
    ("characters", "trained", "window"),
    [(40, 40_960, 0), (20_000, 40_960, 8_192), (100_000, 40_960, 32_768), (900_000, 40_960, 40_960), (40_000, 2_048, 0),
     (40_000, 0, 16_384)],
)  # fmt: skip
def test_the_window_a_question_needs(characters: int, trained: int, window: int) -> None:
    request = ChatRequest("m", (PromptMessage("user", (TextPart("x" * characters),)),))
    assert window_for(request, trained) == window


@pytest.mark.parametrize(
    ("told", "url"),
    [
        ("", ""),
        ("127.0.0.1:11434", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        (":8080", "http://127.0.0.1:8080"),
        ("shed.local", "http://shed.local:11434"),
        ('"http://shed.local:11434/"', "http://shed.local:11434"),
        ("http://shed.local", "http://shed.local"),
        ("https://ollama.example.org/at/home", "https://ollama.example.org/at/home"),
        ("[::1]:11434", "http://[::1]:11434"),
        ("ftp://shed", ""),
        ("shed:port", ""),
    ],
)
def test_a_host_in_the_forms_ollama_reads(told: str, url: str) -> None:
    assert read_host(told) == url


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/", "/api", "/api/chat"])
def test_a_base_may_be_written_in_several_ways(ending: str) -> None:
    assert below(f"http://shed:11434{ending}", "/api/chat") == "http://shed:11434/api/chat"
