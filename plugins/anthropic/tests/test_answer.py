"""What an answer says, from streams in the shapes the vendor's documentation shows."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from chatserver_anthropic.answer import Answer
from chatserver_anthropic.signed import Redacted, Thinking, unseal

from chatserver import Channel, Finish, ProviderDelta, ToolCallDelta, UpstreamError, Usage, UsageReport
from chatserver.testing.provider import said, thought

START: dict[str, Any] = {
    "type": "message_start",
    "message": {
        "id": "msg_01QpN",
        "type": "message",
        "role": "assistant",
        "model": "claude-opus-4-6",
        "content": [],
        "stop_reason": None,
        "usage": {
            "input_tokens": 21,
            "cache_creation_input_tokens": 188,
            "cache_read_input_tokens": 2_051,
            "cache_creation": {"ephemeral_5m_input_tokens": 188, "ephemeral_1h_input_tokens": 0},
            "output_tokens": 1,
            "service_tier": "standard",
        },
    },
}
STOP = {"type": "message_stop"}


def begin(index: int, **block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def piece(index: int, kind: str, **delta: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **delta}}


def end(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def ending(reason: str, **usage: Any) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": usage}


def hear(*events: dict[str, Any]) -> tuple[list[ProviderDelta], UpstreamError | None]:
    answer = Answer(Channel("first", "anthropic"), ("sk-secret",))
    deltas: list[ProviderDelta] = []
    try:
        for event in events:
            answer.take(msgspec.json.encode(event), deltas)
    except UpstreamError as error:
        return deltas, error
    return [*deltas, *answer.close()], None


def test_thoughts_tools_and_meters_of_one_answer() -> None:
    deltas, _ = hear(
        START,
        begin(0, type="thinking", thinking="", signature=""),
        {"type": "ping"},
        piece(0, "thinking_delta", thinking="Oaks: "),
        piece(0, "thinking_delta", thinking="look it up."),
        piece(0, "signature_delta", signature="EqQBCgIYAhIM"),
        end(0),
        begin(1, type="redacted_thinking", data="EmwKAhgB"),
        end(1),
        begin(2, type="text", text=""),
        piece(2, "text_delta", text="I'll look."),
        end(2),
        begin(3, type="tool_use", id="toolu_01T1x", name="lookup", input={}),
        piece(3, "input_json_delta", partial_json=""),
        piece(3, "input_json_delta", partial_json='{"tree": "oa'),
        piece(3, "input_json_delta", partial_json='k"}'),
        end(3),
        begin(4, type="tool_use", id="toolu_02", name="now", input={}),
        end(4),
        {"type": "an_event_of_tomorrow", "index": 5},
        ending("tool_use", output_tokens=89, output_tokens_details={"thinking_tokens": 40}),
        STOP,
    )
    assert (thought(deltas), said(deltas)) == ("Oaks: look it up.", "I'll look.")
    first, second = [delta for delta in deltas if isinstance(delta, ToolCallDelta)]
    assert (first.call_id, first.name, first.arguments) == ("toolu_01T1x", "lookup", '{"tree": "oak"}')
    assert unseal(first.signature) == (Thinking("Oaks: look it up.", "EqQBCgIYAhIM"), Redacted("EmwKAhgB"))
    assert second == ToolCallDelta("toolu_02", "now", "{}")
    usage = Usage(input=21, cached=2_051, cache_write=188, output=49, reasoning=40)
    assert deltas[-2:] == [UsageReport(usage), Finish("tool_calls")]


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content"),
        ("a reason of tomorrow", "stop"),
    ],
)
def test_why_an_answer_ended(told: str, reason: str) -> None:
    deltas, error = hear(START, begin(0, type="text", text=""), piece(0, "text_delta", text="Oaks"), ending(told), STOP)
    assert error is None
    assert deltas[-1] == Finish(reason)


def test_a_refusal_before_the_first_word_is_an_error_and_is_metered() -> None:
    deltas, error = hear(START, ending("refusal", output_tokens=3))
    assert [delta.usage.output for delta in deltas if isinstance(delta, UsageReport)] == [3]
    assert error is not None
    assert (error.kind, error.retryable) == ("content", False)


@pytest.mark.parametrize(
    ("kind", "message", "judged", "retryable"),
    [
        ("overloaded_error", "Overloaded", "overloaded", True),
        ("rate_limit_error", "This request would exceed your rate limit", "rate_limit", True),
        ("api_error", "Internal server error", "server", True),
        ("timeout_error", "Request timed out", "server", True),
        ("authentication_error", "invalid x-api-key", "key_refused", True),
        ("billing_error", "Your billing is past due", "key_refused", True),
        ("permission_error", "Your key may not", "pair_refused", True),
        ("not_found_error", "model: claude-9", "not_found", False),
        ("request_too_large", "Request exceeds the maximum size", "too_long", False),
        ("invalid_request_error", "messages: field required", "bad_request", False),
        ("invalid_request_error", "prompt is too long: 213462 tokens > 200000 maximum", "too_long", False),
        ("invalid_request_error", "Your credit balance is too low to access the Anthropic API", "key_refused", True),
        ("an_error_of_tomorrow", "?", "server", True),
    ],
)
def test_errors_in_the_middle_of_a_stream(kind: str, message: str, judged: str, retryable: bool) -> None:
    deltas, error = hear(
        START,
        begin(0, type="text", text=""),
        piece(0, "text_delta", text="Oaks"),
        {"type": "error", "error": {"type": kind, "message": f"{message} sk-secret"}},
    )
    assert said(deltas) == "Oaks"
    assert error is not None
    assert (error.kind, error.retryable) == (judged, retryable)
    assert "sk-secret" not in error.message


def test_what_is_no_event_is_unreadable() -> None:
    answer = Answer(Channel("first", "anthropic"), ())
    for body in (b"{", b"[]", b'{"type": "content_block_delta", "delta": 3}', b"\xff"):
        with pytest.raises(UpstreamError) as caught:
            answer.take(body, [])
        assert (caught.value.kind, caught.value.retryable) == ("server", True)
    assert answer.take_last(b'{"type": "mess', []) is False
    with pytest.raises(UpstreamError, match="web page"):
        answer.take_whole(b"<!doctype html>", [])
