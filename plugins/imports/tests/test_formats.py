"""Each format, on a small file of its real shape: branches, titles, times, models, and what was not taken."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import chatserver_imports
import pytest
from chatserver_imports.citations import with_links
from chatserver_imports.documents import time_us
from chatserver_imports.trees import Node, Notes, called, conversation, pair_tools
from hypothesis import given
from hypothesis import strategies as st

from chatserver import (
    Feedback,
    FilePart,
    ImagePart,
    ImportedConversation,
    ImportedMessage,
    Importer,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    reasoning_of,
    text_of,
)

FIXTURES = Path(__file__).parent / "fixtures"
FILES = {
    "chatgpt": "chatgpt",
    "chatgpt-2026": "chatgpt",
    "claude": "claude",
    "openwebui": "openwebui",
    "lobechat": "lobechat",
    "lobechat-server": "lobechat",
    "librechat-tree": "librechat",
    "librechat-flat": "librechat",
}
IMPORTERS = {importer.name: importer for importer in chatserver_imports.register_importers()}


def document(file: str) -> memoryview:
    return memoryview((FIXTURES / f"{file}.json").read_bytes())


def read(file: str) -> list[ImportedConversation]:
    return list(IMPORTERS[FILES[file]].read(document(file)))


def message(found: ImportedConversation, message_id: str) -> ImportedMessage:
    return next(one for one in found.messages if one.id == message_id)


def shape(found: ImportedConversation) -> dict[str, str | None]:
    return {one.id: one.parent_id for one in found.messages}


@pytest.mark.parametrize(("file", "name"), FILES.items())
def test_each_file_is_recognised_by_its_own_importer_alone(file: str, name: str) -> None:
    assert [one.name for one in IMPORTERS.values() if one.recognises(document(file))] == [name]


@pytest.mark.parametrize("importer", IMPORTERS.values(), ids=IMPORTERS)
@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{}", b"[1]", b"null", b"[" * 9999, b"\xff", b'[{"mapping":1}]', b'{"state":[]}']
)
def test_other_documents_are_not_recognised(importer: Importer, raw: bytes) -> None:
    assert importer.recognises(memoryview(raw)) is False


@pytest.mark.parametrize("file", FILES)
def test_the_same_document_gives_the_same_conversations(file: str) -> None:
    assert read(file) == read(file)


def test_chatgpt() -> None:
    primes, odd = read("chatgpt")
    assert (primes.title, primes.pinned, primes.archived) == ("Prime numbers", True, False)
    assert primes.created_at == 1714564800_123456
    assert shape(primes) == {
        "u1": None,
        "a1": "u1",
        "a1b": "u1",
        "u2": "a1b",
        "u2b": "a1b",
        "a2": "u2",
        "t2b": "u2b",
    }
    assert primes.tip_id == "t2b", "where the reply that one looked at went"
    assert message(primes, "a1b").model == "gpt-4o-mini"
    assert message(primes, "a2").parts[0] == ImagePart(file_id="file-abc", alt="the number 97 in oil")
    assert FilePart("file-1", "notes.pdf", size_bytes=5) in message(primes, "u2b").parts
    thought, call, result, answer = message(primes, "t2b").parts
    assert isinstance(thought, ReasoningPart) and "Up to 9 is enough." in thought.text
    assert isinstance(call, ToolCallPart) and call.name == "python"
    assert json.loads(call.arguments) == {"text": "print([97 % n for n in range(2, 10)])"}
    assert result == ToolResultPart(call.call_id, "[1, 1, 1, 2, 1, 6, 1, 7]")
    assert answer == TextPart("No rest is 0.")
    assert message(primes, "t2b").model == "o3"
    assert odd.archived is True
    assert '"depth": 3' in text_of(message(odd, "x1").parts)
    assert "a quotation" in text_of(message(odd, "x2").parts)
    assert message(odd, "x2").state == "stopped"
    assert "custom instructions" in odd.notes
    assert any("hologram" in note for note in odd.notes)


def test_chatgpt_as_it_exports_today() -> None:
    """Pictures by newer pointers, answers with marks for their sources, documents made beside the chat."""
    (oslo,) = read("chatgpt-2026")
    assert shape(oslo) == {"u1": None, "a1": "u1", "u2": "a1", "c1": "u2"} and oslo.tip_id == "c1"
    assert message(oslo, "u1").parts == (
        ImagePart(file_id="file_0000abcd"),
        TextPart("Where is this?"),
        FilePart("file-9Notes", "notes.txt", size_bytes=12),
    )
    call, result, answer = message(oslo, "a1").parts
    assert isinstance(call, ToolCallPart) and call.name == "web" and "Oslo harbour" in call.arguments
    assert result == ToolResultPart(call.call_id, "Oslo - harbour")
    assert answer == TextPart("This is Oslo, by the fjord. [Harbour (Oslo)](https://example.org/oslo) More there too.")
    made = text_of(message(oslo, "c1").parts)
    assert "**Oslo**\n\n```markdown\n# Oslo\n\nA harbour.\n```" in made and "Successfully" not in made
    assert made.endswith("Here it is, as in [A page](https://example.org/page).")
    assert message(oslo, "c1").state == "interrupted"


def test_marks_that_nothing_explains_leave_no_rubbish() -> None:
    assert with_links("A\ue200cite\ue202turn0search1\ue201B \ue200navlist\ue202x\ue201", []) == "AB "
    assert with_links("\ue200url\ue202here\ue202https://example.org\ue201", []) == "[here](https://example.org)"
    assert with_links("\ue200entity\ue202broken\ue201 \ue200", []) == " "


def test_claude() -> None:
    packing, old = read("claude")
    assert packing.title == "Packing list"
    assert shape(packing) == {"c1": None, "c2": "c1", "c2b": "c1"}
    assert packing.tip_id == "c2b"
    question = text_of(message(packing, "c1").parts)
    assert "Oslo, 3 days" in question and "map.png" in question and "What do I need?" in question
    thought, call, result, answer = message(packing, "c2").parts
    assert thought == ReasoningPart("Oslo is cold.")
    assert call == ToolCallPart("toolu_1", "web_search", '{"query":"Oslo weather"}')
    assert result == ToolResultPart("toolu_1", "-3 C")
    assert text_of((answer,)) == "Warm things. [https://example.org/oslo](https://example.org/oslo)"
    made = text_of(message(packing, "c2b").parts)
    assert "```markdown\n- coat\n```" in made and '"of": "snow"' in made
    assert message(packing, "c1").created_at == 1740823201_000000
    assert shape(old) == {"o1": None, "o2": "o1"}
    assert [text_of(one.parts) for one in old.messages] == ["An old question", "An old answer"]


def test_openwebui() -> None:
    sums, outputs, linear = read("openwebui")
    assert (sums.title, sums.pinned, sums.tip_id) == ("Sums", True, "w4")
    assert shape(sums) == {"w1": None, "w2": "w1", "w3": "w1", "w4": "w3"}
    assert message(sums, "w2").parts == (ReasoningPart("15 * 17 = 150 + 105", 3000), TextPart("255"))
    call, result, answer = message(sums, "w3").parts
    assert call == ToolCallPart("call_9", "multiply", '{"a": 15, "b": 17}')
    assert result == ToolResultPart("call_9", "255")
    assert text_of((answer,)).startswith("It is 255.") and "https://example.org/t" in text_of((answer,))
    assert "data:image" not in text_of(message(sums, "w1").parts)
    (picture,) = (part for part in message(sums, "w1").parts if isinstance(part, ImagePart))
    assert [(one.id, one.name) for one in sums.files] == [(picture.file_id, picture.alt)] and sums.files[0].content
    assert sums.tags == ("school",) and sums.tuning.system_prompt == "Be brief"
    assert message(sums, "w2").feedback == Feedback("good", reason="clear steps")
    assert outputs.archived is True
    assert [type(part) for part in message(outputs, "v2").parts] == [
        ReasoningPart,
        ToolCallPart,
        ToolResultPart,
        TextPart,
    ]
    assert message(outputs, "v2").state == "interrupted"
    assert [one.state for one in linear.messages] == ["done", "failed"]
    assert "Out of memory" in text_of(linear.messages[1].parts)
    assert "that a conversation lies in a folder" in outputs.notes


def test_lobechat() -> None:
    soup, loose = read("lobechat")
    assert (soup.title, soup.pinned) == ("Soup", True)
    assert shape(soup) == {"l1": None, "l2": "l1", "l5": "l1", "l6": "l5", "l7": "l6"}
    thought, call, result, answer = message(soup, "l2").parts
    assert thought == ReasoningPart("look for leeks", 900)
    assert call == ToolCallPart("call_1", "search.web", '{"q":"leek soup"}')
    assert result == ToolResultPart("call_1", '{"hits":2}')
    assert answer == TextPart("Leek soup.")
    assert message(soup, "l5").model == "qwen-max"
    assert message(soup, "l7").state == "failed" and "Too many requests" in text_of(message(soup, "l7").parts)
    assert "settings of the program" in soup.notes and "the translation of a message" in soup.notes
    assert loose.title == "Cook" and len(loose.messages) == 1
    (threads,) = read("lobechat-server")
    assert shape(threads) == {"p1": None, "p2": "p1", "p3": "p2", "p5": "p2", "p6": "p3"}
    assert json.loads(message(threads, "p3").parts[1].arguments) == {"text": "print(1)"}  # type: ignore[union-attr]


def test_librechat() -> None:
    (nested,) = read("librechat-tree")
    assert nested.title == "Virtual environments"
    assert shape(nested) == {"m1": None, "m2": "m1", "m3": "m2", "m6": "m2", "m4": "m3", "m5": "m3"}
    assert message(nested, "m2").parts == (ReasoningPart("the venv module"), TextPart("python3 -m venv venv"))
    thought, call, result, answer = message(nested, "m5").parts
    assert (thought, call) == (ReasoningPart("be nice"), ToolCallPart("call_7", "smile", '{"wide":true}'))
    assert result == ToolResultPart("call_7", "done")
    assert text_of((answer,)).startswith("Any time.") and '"steps": 3' in text_of((answer,))
    assert message(nested, "m5").state == "interrupted"
    assert message(nested, "m2").model == "gpt-4-turbo" and nested.model == "gpt-4-turbo"
    (flat,) = read("librechat-flat")
    assert shape(flat) == {"f1": None, "f2": "f1", "f3": "f2"}
    assert message(flat, "f2").state == "failed"


def leaves(value: Any, name: str = "") -> list[str]:
    """Every text of a document that a person or a model wrote."""
    if isinstance(value, dict):
        return [one for key, inner in value.items() for one in leaves(inner, key)]
    if isinstance(value, list):
        return [one for inner in value for one in leaves(inner, name)]
    return [value] if isinstance(value, str) and name in SPOKEN else []


MARKS = re.compile("[\ue200-\ue206]|【")
SPOKEN = {"content", "text", "parts", "thinking", "think", "extracted_content", "output", "result", "message"}


@pytest.mark.parametrize("file", FILES)
def test_no_words_are_lost(file: str) -> None:
    kept = json.dumps(
        [
            [text_of(one.parts), reasoning_of(one.parts), [getattr(part, "text", "") for part in one.parts]]
            + [getattr(part, "arguments", "") for part in one.parts]
            for found in read(file)
            for one in found.messages
        ],
        ensure_ascii=False,
    )
    # tools' answers to what was made; a translation, which the notes tell of
    hidden = {"OK", "…", "Successfully created text document with identifier: 42"}
    for words in leaves(json.loads(document(file).tobytes())):
        for line in words.splitlines():
            line = line.strip()
            if MARKS.search(line) or line.startswith(('{"name": "Oslo"', *("<", "&gt;", ":::"))):
                continue  # written out as links, documents and parts
            if line and line not in hidden:
                assert json.dumps(line, ensure_ascii=False)[1:-1] in kept, line


# --- shapes nobody promised -----------------------------------------------------------------------------------------

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize("file", FILES)
@given(data=st.data())
def test_a_document_with_anything_anywhere_is_read_without_a_fault(file: str, data: st.DataObject) -> None:
    whole = json.loads(document(file).tobytes())
    places: list[Callable[[Any], None]] = []

    def walk(value: Any) -> None:
        if isinstance(value, (dict, list)):
            for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
                places.append(lambda new, v=value, k=key: v.__setitem__(k, new))
                walk(inner)

    walk(whole)
    for put in data.draw(st.lists(st.sampled_from(places), min_size=1, max_size=3)):
        put(data.draw(values))
    raw = memoryview(json.dumps(whole).encode())
    importer = IMPORTERS[FILES[file]]
    if not importer.recognises(raw):
        return
    for found in importer.read(raw):
        known = {one.id for one in found.messages}
        assert len(known) == len(found.messages)
        assert all(one.parent_id is None or one.parent_id in known for one in found.messages)
        assert found.tip_id is None or found.tip_id in known
        for one in found.messages:
            above, steps = one.parent_id, 0
            while above is not None:
                above, steps = message(found, above).parent_id, steps + 1
                assert steps <= len(known), "a circle"


def test_a_circle_is_cut_and_an_orphan_found_a_place() -> None:
    nodes = [
        Node("a", "b", "user", [TextPart("a")]),
        Node("b", "a", "user", [TextPart("b")]),
        Node("c", "gone", "user", [TextPart("c")]),
    ]
    found = conversation("x", "", nodes, Notes())
    assert sorted(shape(found)) == ["a", "b", "c"]
    assert None in (shape(found)["a"], shape(found)["b"]) and shape(found)["c"] is None
    assert len(found.notes) == 2


def test_a_call_without_a_result_and_a_result_without_a_call_become_text() -> None:
    lone = pair_tools([called("1", "look", {"at": "x"}), TextPart("…"), ToolResultPart("2", "found")])
    (text,) = lone
    assert "Call of look" in text_of((text,)) and "found" in text_of((text,))
    pair = (called("1", "look", {}), ToolResultPart("1", "found"))
    assert pair_tools(list(pair)) == pair


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1714564800.5, 1714564800_500000),
        (1714564800500, 1714564800_500000),
        (1714564800500000, 1714564800_500000),
        ("2024-05-01T12:00:00.500Z", 1714564800_500000),
        ("2024-05-01T14:00:00.5+02:00", 1714564800_500000),
        ("2024-05-01T12:00:00.500", 1714564800_500000),
        ("yesterday", 0),
        (None, 0),
        (True, 0),
        (-5, 0),
        (1e30, 0),
        ("", 0),
    ],
)
def test_times(value: Any, expected: int) -> None:
    assert time_us(value) == expected
