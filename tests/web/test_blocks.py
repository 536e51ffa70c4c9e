"""Streaming a message block by block gives the page that rendering it whole would give."""

from __future__ import annotations

import importlib.util
import os
import random
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatserver.web.blocks import REWRITTEN_CHARS, BlockStream, Op, fold
from chatserver.web.markdown import render_now

_spec = importlib.util.spec_from_file_location("markdown_documents", Path(__file__).with_name("documents.py"))
assert _spec is not None and _spec.loader is not None
documents = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(documents)

ALL_DOCUMENTS = 3_000
SOME_DOCUMENTS = 400


class Page:
    """What the page's script does with the operations."""

    def __init__(self) -> None:
        self.done = self.open = ""

    def apply(self, ops: list[Op]) -> None:
        for op in ops:
            if op.kind == "append":
                self.done += op.html
            elif op.kind == "open":
                self.open = op.html
            elif op.kind == "reset":
                self.done, self.open = op.html, ""
            else:
                at = self.open.rfind(" data-tail>")
                end = self.open.find("</", at) if at >= 0 else len(self.open)
                self.open = self.open[:end] + op.html + self.open[end:]


def stream(steps: list[str]) -> tuple[Page, list[Op]]:
    page, blocks, sent = Page(), BlockStream(), list[Op]()
    for step in steps:
        ops = blocks.feed(step)
        page.apply(ops)
        assert blocks.snapshot() == (page.done, page.open)
        sent += ops
    ops = blocks.close()
    page.apply(ops)
    assert blocks.snapshot() == (page.done, page.open)
    return page, sent + ops


def check(seed: str) -> None:
    chance = random.Random(seed)
    text = documents.document(chance)
    page, ops = stream(documents.pieces(chance, text))
    assert (page.done, page.open) == (render_now(text), ""), (seed, text)
    if "]: " not in text:
        assert "reset" not in {op.kind for op in ops}, (seed, text)


def test_random_documents_stream_to_the_full_render() -> None:
    run = os.environ.get("CHATSERVER_TEST_SEED") or str(random.randrange(1_000_000))
    print(f"seed {run}: run again with CHATSERVER_TEST_SEED={run}")
    for number in range(SOME_DOCUMENTS):
        check(f"{run}-{number}")


@pytest.mark.torture
def test_many_random_documents_stream_to_the_full_render() -> None:
    for number in range(ALL_DOCUMENTS):
        check(f"all-{number}")


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(alphabet=st.sampled_from("ab *_`[](): -+|#>$\\\n\r.1~<&;"), max_size=12), max_size=12))
def test_any_steps_stream_to_the_full_render(steps: list[str]) -> None:
    page, _ = stream(steps)
    assert page.done == render_now("".join(steps))
    assert page.open == ""


def test_finished_blocks_are_sent_once_and_only_the_open_one_again() -> None:
    _, ops = stream(["First *one*.\n\n", "Second", " one", ".\n\nThird"])
    assert [op.kind for op in ops] == ["append", "open", "more", "append", "open", "append", "open"]
    assert ops[0].html == '<p dir="auto">First <em>one</em>.</p>'
    assert ops[2].html == " one"


def test_words_of_a_paragraph_are_only_appended() -> None:
    _, ops = stream(["It was ", *[f"word{i} " for i in range(500)]])
    assert sum(op.kind == "open" for op in ops) == 2  # the first, and the empty one at the end


def test_nothing_is_shown_of_a_line_that_may_become_anything() -> None:
    blocks = BlockStream()
    for step in ("-", " ", "**", "\n", "1", ".", "\n```", "py"):
        assert [op for op in blocks.feed(step) if op.kind == "more"] == []


def test_open_code_grows_line_by_line_and_is_coloured_once() -> None:
    _, ops = stream(["```py\n", "x = 1", "\n", "y = 2\n", "``", "`\n", "after"])
    assert [op.kind for op in ops] == ["open", "more", "more", "more", "append", "open", "open", "append", "open"]
    assert "<span" in ops[4].html and "data-tail" not in ops[4].html


def test_late_definition_is_put_right_at_the_end() -> None:
    page, ops = stream(["See [a].\n\n", "More.\n\n", "[a]: https://a.example\n"])
    assert ops[-1].kind == "reset"
    assert '<a href="https://a.example"' in page.done


def test_early_definition_is_carried_over() -> None:
    page, ops = stream(["[a]: https://a.example\n\nOne.\n\n", "Two [a].\n\n", "Three [a]."])
    assert "reset" not in {op.kind for op in ops}
    assert page.done.count("<a ") == 2


def test_unclosed_formula_holds_back_what_follows() -> None:
    blocks = BlockStream()
    ops = blocks.feed("Before.\n\n$$\nx\n\ny\n\nz\n\n")
    assert [op.html for op in ops if op.kind == "append"] == ['<p dir="auto">Before.</p>']
    ops = blocks.feed("$$\n")
    assert "<math" in next(op.html for op in ops if op.kind == "append")


def test_long_open_block_is_only_appended_to() -> None:
    item = "- an item with some words, **bold** and more of them\n"
    many = 2 * REWRITTEN_CHARS // len(item) + 1
    blocks = BlockStream()
    sizes = [sum(len(op.html) for op in blocks.feed(item)) for _ in range(2 * many)]
    assert max(sizes[many:]) < 2 * len(item)
    ops = blocks.feed("\nA paragraph.\n\nAnother.\n")
    assert len(next(op.html for op in ops if op.kind == "append")) > 4 * REWRITTEN_CHARS


def test_what_is_read_again_is_bounded_by_what_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted, not timed: no order of words makes the parser read more than a multiple of them."""
    module = sys.modules["chatserver.web.blocks"]
    real = module.parse
    for text in ("*a" * 4_000, "- x\n" * 3_000, "> a\n" * 3_000, "a\n" * 3_000, "1. a\n\n" * 2_000, "`a`" * 3_000):
        read = 0

        def counted(source: str, references: dict[str, object]) -> object:
            nonlocal read
            read += len(source)
            return real(source, references)

        monkeypatch.setattr(module, "parse", counted)
        page, _ = stream(list(text))
        assert read <= module.REREAD_AT_FIRST + module.REREAD_PER_CHAR * len(text)
        assert page.done == render_now(text)


def test_message_over_the_limits_becomes_plain_text() -> None:
    page, ops = stream(["First.\n\n", *["word " * 20_000] * 4])
    assert page.done.startswith('<pre class="plain"')
    assert ops[-1].kind == "reset"


def test_fold_keeps_the_outcome() -> None:
    chance = random.Random(5)
    for _ in range(50):
        blocks, one, many = BlockStream(), Page(), Page()
        ops: list[Op] = []
        for step in documents.pieces(chance, documents.document(chance)):
            ops += blocks.feed(step)
        ops += blocks.close()
        one.apply(ops)
        many.apply(fold(ops))
        assert (one.done, one.open) == (many.done, many.open)
        assert len(fold(ops)) <= 3
