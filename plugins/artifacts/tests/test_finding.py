"""Artifacts in what models really write."""

from __future__ import annotations

import pytest
from chatserver_artifacts.finding import find


def told(markdown: str) -> list[tuple[str, str, bool]]:
    return [(one.kind, one.title, one.is_whole) for one in find(markdown)]


def test_fenced_blocks_with_a_hint() -> None:
    text = (
        'Here:\n```html title="A clock"\n<p>tick</p>\n```\nand\n~~~svg\n<svg><title>Tree</title></svg>\n~~~\n'
        "```mermaid\ngraph TD; A-->B\n```\n```md\n# A letter\nDear\n```\n```csv\na,b\n1,2\n```\n"
    )
    assert told(text) == [
        ("html", "A clock", True),
        ("svg", "Tree", True),
        ("mermaid", "", True),
        ("markdown", "A letter", True),
        ("csv", "", True),
    ]
    assert find(text)[0].text == "<p>tick</p>"


def test_pages_and_drawings_without_a_hint() -> None:
    assert told("```\n<!DOCTYPE html><title>Hi</title>\n```\n```xml\n<svg xmlns='x'></svg>\n```") == [
        ("html", "Hi", True),
        ("svg", "", True),
    ]


def test_short_code_is_part_of_the_answer_and_long_code_is_a_work() -> None:
    assert told("```python\nprint(1)\n```") == []
    long = "\n".join(f"line({number})" for number in range(12))
    assert told(f"```python\n{long}\n```") == [("code", "", True)]
    assert told('```python title="Tool"\nprint(1)\n```') == [("code", "Tool", True)]


def test_tags_of_all_sorts() -> None:
    text = (
        '<artifact identifier="clock" type="text/html" title="Clock"><p>1</p></artifact> then '
        "<antArtifact identifier='c2' type='application/vnd.ant.mermaid' title='Flow'>graph</antArtifact>"
        '<artifact title="Page" type="html">\n```html\n<b>x</b>\n```\n</artifact>'
    )
    assert told(text) == [("html", "Clock", True), ("mermaid", "Flow", True), ("html", "Page", True)]
    assert [one.text for one in find(text)] == ["<p>1</p>", "graph", "<b>x</b>"]


def test_a_tag_that_is_only_named_is_a_word() -> None:
    assert told("Wrap it in `<artifact>` or `<artifact type='html'>`, then an artifact stands there.") == []
    assert told("An <artifact> is a thing.\n\nMore of it.") == []
    assert told('```xml\n<artifact type="html" title="A">\n<p>x</p>\n</artifact>\n```') == []
    text = 'So: <artifact type="html"\n title="A"><p>x</p></artifact> there.\n```svg\n<svg></svg>\n```\nEnd'
    assert told(text) == [("html", "A", True), ("svg", "", True)]
    assert [text[one.start : one.end][:9] for one in find(text)] == ["<artifact", "```svg\n<s"]
    assert text[find(text)[0].end :].startswith(" there.") and text[find(text)[1].end :] == "\nEnd"


@pytest.mark.parametrize("text", ['```html title="A"\n<p>half', '<artifact type="html" title="A"><p>half'])
def test_what_a_stream_left_unfinished(text: str) -> None:
    assert told(text) == [("html", "A", False)]
    assert find(text)[0].text == "<p>half"


def test_the_same_title_is_the_same_thing() -> None:
    first, second, other = find(
        '```html title="A"\n1\n```\n```html title="a"\n2\n```\n```svg title="A"\n<svg></svg>\n```'
    )
    assert first.id == second.id != other.id


def test_a_fence_within_a_longer_fence() -> None:
    (one,) = find("````md\n# T\n```py\nx\n```\n````")
    assert one.text == "# T\n```py\nx\n```"


@pytest.mark.parametrize("text", ["", "plain words", "a < b and c > d", "```\n```", "``` ", "<artifact", "</artifact>"])
def test_nothing_is_nothing(text: str) -> None:
    assert find(text) == []


def test_a_hostile_text_is_read_in_time() -> None:
    for text in (
        "```" * 10_000,
        "<artifact " * 5_000,
        "<artifact>" * 2_000,
        "~" * 50_000,
        "```html\n" * 10_000,
        "<a\n" * 60_000,
    ):
        find(text)
