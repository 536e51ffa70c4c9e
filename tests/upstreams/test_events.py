"""Events come out the same wherever the bytes were cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserver.upstreams.events import MAX_EVENT_BYTES, EventReader, EventTooLong, LineReader

STREAM = (
    b"\xef\xbb\xbf: hello\n\ndata: {\"a\": 1}\n\nevent: note\nid: 7\ndata:{\"b\":2}\r\n\r\n"
    b"data: two\ndata: lines\n\n: ping\n\ndata:\n\nretry: 5\n\ndata: \xe6\xbc\xa2\xe5\xad\x97\r\rdata: [DONE]\n\n"
)  # fmt: skip
EVENTS = [b'{"a": 1}', b'{"b":2}', b"two\nlines", "漢字".encode(), b"[DONE]"]


def read(pieces: list[bytes]) -> list[bytes]:
    reader = EventReader()
    events = [event for piece in pieces for event in reader.feed(piece)]
    return events + reader.end()


def test_a_stream_in_one_piece() -> None:
    assert read([STREAM]) == EVENTS


def test_a_stream_in_single_bytes() -> None:
    assert read([bytes([byte]) for byte in STREAM]) == EVENTS


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_a_stream_cut_anywhere(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    assert read([STREAM[start:end] for start, end in itertools.pairwise(places)]) == EVENTS


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_kind_of_line_end(end: bytes) -> None:
    stream = end.join([b"data: one", b"", b"data: two", b"data: more", b"", b""])
    for size in (1, 2, 3, 7, 100):
        assert read([stream[at : at + size] for at in range(0, len(stream), size)]) == [b"one", b"two\nmore"]


def test_the_last_event_needs_no_empty_line() -> None:
    assert read([b"data: one\n\ndata: two"]) == [b"one", b"two"]


def test_an_event_that_does_not_end_is_given_up() -> None:
    reader = EventReader()
    piece = b"x" * 1_000_000
    with pytest.raises(EventTooLong):
        for _ in range(MAX_EVENT_BYTES // len(piece) + 1):
            reader.feed(piece)


def test_lines_of_one_event_that_does_not_end_are_given_up() -> None:
    reader = EventReader()
    piece = b"data: " + b"x" * 1_000_000 + b"\ndata: y"
    with pytest.raises(EventTooLong):
        for _ in range(MAX_EVENT_BYTES // len(piece) + 2):
            reader.feed(piece)


def test_a_long_event_in_small_pieces_takes_linear_time() -> None:
    reader = EventReader()
    reader.feed(b"data: ")
    for _ in range(20_000):
        assert reader.feed(b"x" * 100) == []
    assert [len(event) for event in reader.feed(b"\n\n")] == [2_000_000]


LINES = '{"a": 1}\n\r\n{"b": "漢字"}\r\n  {"c": 3}'.encode()


@given(st.lists(st.integers(0, len(LINES)), max_size=6))
def test_lines_come_out_the_same_wherever_they_were_cut(cuts: list[int]) -> None:
    reader, places = LineReader(), [0, *sorted(cuts), len(LINES)]
    pieces = [LINES[start:end] for start, end in itertools.pairwise(places)]
    lines = [line for piece in pieces for line in reader.feed(piece)]
    assert [*lines, *reader.end()] == [b'{"a": 1}', '{"b": "漢字"}'.encode(), b'{"c": 3}']


def test_a_line_without_an_end_is_refused() -> None:
    reader = LineReader()
    with pytest.raises(EventTooLong):
        for _ in range(MAX_EVENT_BYTES // 1_000_000 + 1):
            reader.feed(b"x" * 1_000_000)
