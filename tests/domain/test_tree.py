"""The pure rules of the tree: what is sent, what is left out, which leaf opens, what is broken."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chatserver.domain.calls import estimate_tokens
from chatserver.domain.messages import Message, Part, ReasoningPart, TextPart, ToolCallPart, ToolResultPart
from chatserver.domain.tree import Edge, below_marker, exchanges, find_faults, fit, leaves_of, newest_leaf, to_prompt


def message(name: str, parent: str | None = None, role: str = "user", text: str = "hi", **more: object) -> Message:
    return Message(name, "c", parent, role, "done", (TextPart(text),), "", 0, **more)  # type: ignore[arg-type]


def test_only_what_lies_below_the_last_marker_is_sent() -> None:
    path = [
        message("1"),
        message("2", cleared_after=True),
        message("3"),
        message("4", cleared_after=True),
        message("5"),
    ]
    assert [m.id for m in below_marker(path)] == ["5"]
    assert [m.id for m in below_marker(path[:3])] == ["3"]
    assert [m.id for m in below_marker(path[:1])] == ["1"]


def test_whole_oldest_exchanges_are_left_out_and_the_last_stays() -> None:
    path = [message(str(n), role="user" if n % 2 == 0 else "assistant", text="word " * 100) for n in range(10)]
    fitted = fit(path, 300)
    assert [m.id for m in fitted.messages] == ["8", "9"]
    assert fitted.left_out == 8
    assert fit(path, 1).messages[-1].id == "9"
    assert fit(path, 0).left_out == 0


@given(st.lists(st.sampled_from(["user", "assistant"]), min_size=1, max_size=40), st.integers(1, 2000))
def test_left_out_and_kept_are_the_whole_path_in_order(roles: list[str], budget: int) -> None:
    path = [message(str(n), role=role, text="x" * (n * 7 % 90)) for n, role in enumerate(roles)]
    fitted = fit(path, budget)
    assert list(fitted.messages) == path[fitted.left_out :]
    assert [m for group in exchanges(path) for m in group] == path


def test_a_continuation_is_merged_and_reasoning_is_not_sent() -> None:
    reply = Message("2", "c", "1", "assistant", "interrupted", (ReasoningPart("hm"), TextPart("Once upon")), "", 0)
    more = Message("3", "c", "2", "assistant", "done", (TextPart(" a time"),), "", 0, True)
    prompt = to_prompt([message("1"), reply, more])
    assert [p.role for p in prompt] == ["user", "assistant"]
    assert prompt[1].parts == (TextPart("Once upon a time"),)


def test_a_version_opens_at_the_leaf_last_looked_at_else_the_newest() -> None:
    edges = [Edge("a", None), Edge("b", "a"), Edge("c", "a"), Edge("d", "b")]
    assert newest_leaf("a", edges, {}) == "d"
    assert newest_leaf("a", edges, {"c": 5, "d": 2}) == "c"
    assert newest_leaf("a", [Edge("a", None)], {}) == "a"
    assert sorted(leaves_of(edges)) == ["c", "d"]


def test_every_broken_invariant_is_found() -> None:
    edges = [Edge("a", "b"), Edge("b", "a"), Edge("c", "gone"), Edge("d", "far"), Edge("e", None)]
    faults = find_faults(edges, "nowhere", frozenset({"far"}))
    assert {(fault.kind, fault.message_id) for fault in faults} == {
        ("cycle", "a"),
        ("orphan", "c"),
        ("foreign_parent", "d"),
        ("missing_tip", "nowhere"),
    }
    assert find_faults([Edge("a", None), Edge("b", "a")], "b", frozenset()) == []


def test_tokens_are_guessed_by_script() -> None:
    assert estimate_tokens("") == 0
    assert 9 <= estimate_tokens("the quick brown fox jumps over the dog") <= 11
    assert 8 <= estimate_tokens("预设市场的分佣规则") <= 11


def test_a_reply_that_used_tools_is_cut_into_its_rounds() -> None:
    parts = (
        TextPart("Let me look."),
        ToolCallPart("a", "look", "{}"),
        ToolCallPart("b", "look", "{}"),
        ToolResultPart("b", "second"),
        ToolResultPart("a", "first"),
        ReasoningPart("hm"),
        TextPart("Once more."),
        ToolCallPart("c", "look", "{}"),
    )
    stopped = Message("2", "c", "1", "assistant", "stopped", parts, "", 0)
    more = Message("3", "c", "2", "assistant", "done", (TextPart("So it is."),), "", 0, True)
    prompt = to_prompt([message("1"), stopped, more])
    assert [one.role for one in prompt] == ["user", "assistant", "tool", "assistant", "tool", "assistant"]
    assert prompt[2].parts == (ToolResultPart("a", "first"), ToolResultPart("b", "second"))
    assert prompt[4].parts[0].is_error  # type: ignore[union-attr]
    assert prompt[5].parts == (TextPart("So it is."),)


@given(st.lists(st.sampled_from("tcr"), max_size=12))
def test_every_call_is_answered_right_below_it_and_no_word_is_lost(kinds: list[str]) -> None:
    parts: list[Part] = []
    for number, kind in enumerate(kinds):
        if kind == "t":
            parts.append(TextPart(f"w{number} "))
        elif kind == "c":
            parts.append(ToolCallPart(str(number), "look", "{}"))
        else:
            calls = [part.call_id for part in parts if isinstance(part, ToolCallPart)]
            parts.append(ToolResultPart(calls[-1] if calls else "nobody", "found"))
    prompt = to_prompt([Message("1", "c", None, "assistant", "done", tuple(parts), "", 0)])
    for at, one in enumerate(prompt):
        asked = [part.call_id for part in one.parts if isinstance(part, ToolCallPart)]
        told = [part.call_id for part in prompt[at + 1].parts] if asked else []  # type: ignore[union-attr]
        assert asked == told
        if one.role == "tool":
            assert all(isinstance(part, ToolResultPart) for part in one.parts)
    said = [part for one in prompt for part in one.parts if isinstance(part, TextPart | ToolCallPart)]
    assert said == [part for part in parts if isinstance(part, TextPart | ToolCallPart)]
