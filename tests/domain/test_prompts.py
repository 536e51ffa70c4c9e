"""What was sent is kept by reference and put together again exactly, whatever plugins did to it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chatserver.domain.extend import ChatRequest, PromptMessage, ToolSpec
from chatserver.domain.messages import FilePart, ImagePart, TextPart
from chatserver.domain.prompts import (
    Added,
    Hidden,
    Stretch,
    decode_record,
    encode_record,
    record_prompt,
    restore_prompt,
    texts_of,
)
from chatserver.domain.turns import Turn

TURN = Turn("t", "c", "a", "q", "r", "done", "m", "web", 1, "", 1, 0)


def said(text: str, role: str = "user") -> PromptMessage:
    return PromptMessage(role, (TextPart(text),))  # type: ignore[arg-type]


def asked(*messages: PromptMessage, **more: object) -> ChatRequest:
    return ChatRequest("m", messages, **more)  # type: ignore[arg-type]


def test_a_plain_branch_costs_one_stretch_and_no_text() -> None:
    branch = [said(f"message {number}") for number in range(1000)]
    record, texts = record_prompt(asked(*branch), branch, "tip", 1000, is_cleared=False)
    assert record.pieces == (Stretch(0, 1000),)
    assert texts == {}
    assert len(encode_record(record)) < 250


def test_what_is_added_changed_and_left_out_is_told_apart() -> None:
    branch = [said("one"), said("two", "assistant"), said("three")]
    sent = [said("Be kind.", "system"), branch[0], said("two, shorter", "assistant"), branch[2], branch[2]]
    record, texts = record_prompt(asked(*sent), branch, "tip", 3, is_cleared=True)
    assert [type(piece) for piece in record.pieces] == [Added, Stretch, Added, Stretch, Added]
    back = restore_prompt(decode_record(encode_record(record)), TURN, branch, texts)
    assert [one.message for one in back.messages] == sent
    assert [one.source for one in back.messages] == ["added", "branch", "added", "branch", "added"]
    assert back.is_exact and back.is_cleared
    assert texts_of(record) == set(texts) and len(texts) == 3


def test_what_is_hidden_is_kept_by_nobody() -> None:
    secret = PromptMessage("system", (TextPart("the canary " * 20),), is_hidden=True)
    record, texts = record_prompt(asked(secret, said("hello")), [said("hello")], "tip", 1, is_cleared=False)
    assert b"canary" not in encode_record(record) and texts == {}
    assert isinstance(record.pieces[0], Hidden)
    back = restore_prompt(record, TURN, [said("hello")], texts)
    assert back.is_exact
    assert back.messages[0].message.parts == () and back.messages[0].source == "hidden"
    assert back.messages[0].tokens > 20


def test_files_are_named_and_not_kept() -> None:
    picture = ImagePart("f1", "image/png", "data:image/png;base64," + "A" * 5000, "a cat")
    paper = FilePart("f2", "notes.txt", "text/plain", 9, "what it says", 3)
    stored = PromptMessage(
        "user", (ImagePart("f1", "image/png", alt="a cat"), FilePart("f2", "notes.txt", "text/plain", 9))
    )
    sent = PromptMessage("user", (picture, paper))
    record, texts = record_prompt(asked(sent), [stored], "tip", 1, is_cleared=False)
    assert record.pieces == (Stretch(0, 1),) and texts == {}
    assert record.unseen == ()
    blind, _ = record_prompt(asked(stored), [stored], "tip", 1, is_cleared=False)
    assert blind.unseen == ("f1",) and blind.digest == record.digest


def test_another_reading_of_the_branch_is_noticed() -> None:
    branch = [said("one"), said("two")]
    record, texts = record_prompt(asked(*branch), branch, "tip", 2, is_cleared=False)
    assert not restore_prompt(record, TURN, [said("one"), said("2")], texts).is_exact
    assert not restore_prompt(record, TURN, [said("one")], texts).is_exact


def test_tools_and_parameters_come_back() -> None:
    tool = ToolSpec("look", "Looks.", {"type": "object"})
    request = asked(said("x"), tools=(tool,), max_output=9, parameters={"temperature": 0.5})
    record, texts = record_prompt(request, [said("x")], "tip", 1, is_cleared=False)
    back = restore_prompt(record, TURN, [said("x")], texts)
    assert (back.tools, back.max_output, back.parameters) == ((tool,), 9, {"temperature": 0.5})


MESSAGES = st.builds(
    lambda text, role, hides: PromptMessage(role, (TextPart(text),), hides),
    st.sampled_from("abcd"),
    st.sampled_from(["user", "assistant", "system"]),
    st.booleans(),
)


@given(st.lists(MESSAGES, max_size=8), st.lists(MESSAGES, max_size=10), st.booleans())
def test_whatever_was_made_of_a_branch_comes_back(
    branch: list[PromptMessage], other: list[PromptMessage], starts: bool
) -> None:
    branch = [PromptMessage(one.role, one.parts) for one in branch]
    sent = [*branch, *other] if starts else other
    record, texts = record_prompt(asked(*sent), branch, "tip", len(branch), is_cleared=False)
    back = restore_prompt(decode_record(encode_record(record)), TURN, branch, texts)
    assert back.is_exact
    assert [one.message for one in back.messages if one.source != "hidden"] == [m for m in sent if not m.is_hidden]
