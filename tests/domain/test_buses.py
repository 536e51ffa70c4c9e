"""What a bus carries comes out again, and rubbish is passed over."""

from __future__ import annotations

import pytest

from chatserver.domain.buses import pack_wakes, unpack_wakes


def test_what_is_packed_comes_out_again_in_lines_that_are_short_enough() -> None:
    assert [unpack_wakes(line) for line in pack_wakes("n", {"a": 1, "b": 0})] == [("n", [("a", 1), ("b", 0)])]
    wakes = {f"{number:026}": number * 1_000_003 for number in range(1_000)}
    lines = pack_wakes("n" * 26, wakes, 7_900)
    assert len(lines) > 1
    assert all(len(line.encode()) <= 7_900 for line in lines)
    heard = [unpack_wakes(line) for line in lines]
    assert {node for node, _ in heard} == {"n" * 26}
    assert dict(wake for _, part in heard for wake in part) == wakes


@pytest.mark.parametrize("line", ["", "node", "node x", "node :1", "node x:", "node x:-1", "node x:y x:²"])
def test_what_cannot_be_read_is_left_out(line: str) -> None:
    assert unpack_wakes(line)[1] == []
    node, wakes = unpack_wakes(f"{line} d:5" if line else "node d:5")
    assert (node, wakes) == ("node", [("d", 5)])
