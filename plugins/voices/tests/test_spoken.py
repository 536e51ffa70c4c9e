"""What is spoken of a message: its words, in passages of one language, without marks, code and tables."""

from __future__ import annotations

import pytest
from chatserver_voices.spoken import FIRST_MOST, MOST, language_of, passages_of, plain


def test_marks_are_not_spoken_and_code_and_tables_are_named() -> None:
    message = (
        "# A *fine* title\n\nRead [the manual](https://example.org/x) and `run it`.\n\n"
        "```python\nprint('never said')\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n"
        "1. **First**\n2. ~~Second~~\n\n---\n> quoted, see https://example.org/\n![a tree](/t.png) x_y_z <b>bold</b>"
    )
    assert plain(message).split("\n") == [
        "A fine title",
        "Read the manual and run it.",
        "Here is some code.",
        "Here is a table.",
        "First",
        "Second",
        "quoted, see",
        "a tree x_y_z bold",
    ]


def test_a_fence_that_never_ends_hides_all_below_it() -> None:
    assert plain("Look:\n```\ncode\nstill code") == "Look:\nHere is some code."


def test_the_first_passage_is_short_and_none_is_long() -> None:
    text = "This is a sentence of some length that goes on for a while. " * 40 + "word " * 300
    passages = passages_of(text)
    assert len(passages[0].text) <= FIRST_MOST
    assert all(len(passage.text) <= MOST for passage in passages)
    assert "".join("".join(passage.text.split()) for passage in passages) == "".join(text.split())


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The oak is a tree of the north.", "en"),
        ("Le chêne est un arbre de la forêt.", "fr"),
        ("Die Eiche ist ein Baum und steht im Wald.", "de"),
        ("橡树是一种树。", "zh"),
        ("これは木です。", "ja"),
        ("나무입니다", "ko"),
        ("Это дерево", "ru"),
        ("שלום", "he"),
        ("42", ""),
    ],
)
def test_each_passage_is_in_its_language(text: str, language: str) -> None:
    assert language_of(text) == language


def test_languages_do_not_share_a_passage() -> None:
    passages = passages_of("In French one says this. Le chêne est un arbre de la forêt. 橡树是一种树。")
    assert [passage.language for passage in passages] == ["en", "fr", "zh"]


def test_numbers_and_abbreviations_do_not_tear_a_sentence() -> None:
    assert [passage.text for passage in passages_of("Pi is 3.14 and e is 2.72, see example.org for more.")] == [
        "Pi is 3.14 and e is 2.72, see example.org for more."
    ]


@pytest.mark.parametrize("text", ["", "---", "***", "\n\n", "…"])
def test_nothing_is_nothing(text: str) -> None:
    assert passages_of(text) == []


def test_a_hostile_text_is_read_in_time() -> None:
    for text in ("[" * 20_000, "*" * 20_000, "`" * 20_001, "<" * 20_000, "_a" * 10_000, "(" * 20_000 + "a"):
        passages_of(text)
