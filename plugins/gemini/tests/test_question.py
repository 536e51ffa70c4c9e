"""What is sent: contents that take turns, tools, signatures given back, and parameters by the names of this vendor."""

from __future__ import annotations

from typing import Any

import pytest
from chatserver_gemini.question import GO_ON, NOTHING, UNSIGNED, can_think, write_body, write_contents

from chatserver import ChatRequest, ImagePart, PromptMessage, TextPart, ToolCallPart, ToolResultPart, ToolSpec

ASKED = PromptMessage("user", (TextPart("Oaks?"),))
LOOKUP = ToolSpec("lookup", "Looks up.", {"type": "object", "properties": {"q": {"type": "string"}}})


def body(
    *messages: PromptMessage, model: str = "gemini-2.5-pro", tools: tuple[ToolSpec, ...] = (), **parameters: Any
) -> Any:
    return write_body(ChatRequest(model, messages or (ASKED,), tools, parameters=parameters), thinks=can_think(model))


def test_a_conversation_is_written_in_turns() -> None:
    written = body(
        PromptMessage("system", (TextPart("Be brief."),)),
        PromptMessage("user", (TextPart("What is this?"), ImagePart(url="data:image/png;base64,AA=="))),
        PromptMessage("assistant", (TextPart("A tree."),)),
        PromptMessage("user", (TextPart("And this?"), TextPart(" "))),
        ASKED,
    )
    picture = {"inlineData": {"mimeType": "image/png", "data": "AA=="}}
    assert written["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
    assert written["contents"] == [
        {"role": "user", "parts": [{"text": "What is this?"}, picture]},
        {"role": "model", "parts": [{"text": "A tree."}]},
        {"role": "user", "parts": [{"text": "And this?"}, {"text": "Oaks?"}]},
    ]
    assert "model" not in written and "stream" not in written


def test_a_chat_begins_and_ends_with_the_user() -> None:
    written = write_contents((PromptMessage("assistant", (TextPart("Oaks grow "),)),), False)
    assert [one["parts"][0]["text"] for one in written] == [NOTHING, "Oaks grow ", GO_ON]


def in_rounds(signature: str = "") -> tuple[PromptMessage, ...]:
    calls = (ToolCallPart("a", "lookup", '{"q":1}', signature), ToolCallPart("b", "now", "{}"))
    return (
        ASKED,
        PromptMessage("assistant", (TextPart("Let me look."), *calls)),
        PromptMessage("tool", (ToolResultPart("a", "one"), ToolResultPart("b", "no clock", is_error=True))),
    )


def test_tools_in_rounds() -> None:
    written = body(*in_rounds("gemini:c2ln"), tools=(LOOKUP,), model="gemini-3-pro-preview")
    assert written["contents"][1:] == [
        {
            "role": "model",
            "parts": [
                {"text": "Let me look."},
                {"functionCall": {"name": "lookup", "args": {"q": 1}}, "thoughtSignature": "c2ln"},
                {"functionCall": {"name": "now", "args": {}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"name": "lookup", "response": {"result": "one"}}},
                {"functionResponse": {"name": "now", "response": {"error": "no clock"}}},
            ],
        },
    ]
    lookup, now = written["tools"][0]["functionDeclarations"]
    assert lookup == {"name": "lookup", "description": "Looks up.", "parametersJsonSchema": LOOKUP.parameters}
    assert now["name"] == "now", "a tool that is gone is declared for the calls it had"


@pytest.mark.parametrize(
    ("model", "signature", "sent"),
    [
        ("gemini-3-pro-preview", "", UNSIGNED),
        ("gemini-3.1-flash", "anthropic:[]", UNSIGNED),
        ("gemini-flash-latest", "", UNSIGNED),
        ("gemini-2.5-flash", "", None),
        ("gemini-2.5-flash", "gemini:c2ln", "c2ln"),
    ],
)
def test_a_call_is_signed_where_the_model_wants_it(model: str, signature: str, sent: str | None) -> None:
    first, second = body(*in_rounds(signature), model=model)["contents"][1]["parts"][1:]
    assert first.get("thoughtSignature") == sent
    assert "thoughtSignature" not in second


def test_parameters_by_this_vendor_s_names() -> None:
    schema = {"type": "object", "properties": {}}
    written = body(
        temperature=0.2,
        top_p=0.9,
        top_k=40,
        seed=7,
        stop="END",
        max_output=20,
        presence_penalty=0.1,
        response_format={"type": "json_schema", "json_schema": {"name": "t", "schema": schema}},
        model="gemini-2.0-flash",
    )
    assert written["generationConfig"] == {
        "temperature": 0.2,
        "topP": 0.9,
        "topK": 40,
        "seed": 7,
        "presencePenalty": 0.1,
        "maxOutputTokens": 20,
        "stopSequences": ["END"],
        "responseMimeType": "application/json",
        "responseJsonSchema": schema,
    }
    config = body(response_format={"type": "json_object"}, model="gemini-2.0-flash")["generationConfig"]
    assert config == {"responseMimeType": "application/json"}
    assert "generationConfig" not in body(model="gemini-2.0-flash")


def test_a_degree_of_effort_is_told_as_the_model_takes_it() -> None:
    def thinking(model: str, **parameters: Any) -> Any:
        return body(model=model, **parameters).get("generationConfig", {}).get("thinkingConfig")

    assert thinking("gemini-2.5-flash") == {"includeThoughts": True}
    assert thinking("gemini-2.5-flash", reasoning_effort="low") == {"includeThoughts": True, "thinkingBudget": 1_024}
    assert thinking("gemini-3-pro", reasoning_effort="high") == {"includeThoughts": True, "thinkingLevel": "high"}
    for model in ("gemini-2.0-flash", "gemini-2.5-flash-image", "gemma-3-27b-it"):
        assert thinking(model, reasoning_effort="low") is None


@pytest.mark.parametrize(
    ("wanted", "sent"),
    [
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        (
            {"type": "function", "function": {"name": "lookup"}},
            {"mode": "ANY", "allowedFunctionNames": ["lookup"]},
        ),
    ],
)
def test_which_tool_is_to_be_called(wanted: Any, sent: dict[str, Any]) -> None:
    assert body(tools=(LOOKUP,), tool_choice=wanted)["toolConfig"] == {"functionCallingConfig": sent}
    assert "toolConfig" not in body(tools=(LOOKUP,))
    assert body(*in_rounds())["toolConfig"] == {"functionCallingConfig": {"mode": "NONE"}}
