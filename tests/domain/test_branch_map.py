"""The map of a tree: every message once, side branches to the right, the one looked at lowest and straight."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chatserver.domain.branch_map import COLUMNS, BranchMap, Node, Row, branches_of, draw


def tree(*edges: str) -> list[Node]:
    """`"a", "ab", "ac"`: a is a root, b and c hang below it."""
    return [Node(edge[-1], edge[0] if len(edge) > 1 else None, tokens=10) for edge in edges]


def chain(length: int) -> list[Node]:
    return [Node(f"{at:05}", f"{at - 1:05}" if at else None) for at in range(length)]


def ids(drawn: BranchMap) -> str:
    return " ".join(f"{row.id}+{row.folded}" if row.folded else row.id for row in drawn.rows)


def test_the_branch_looked_at_stays_in_its_column_and_ends_lowest() -> None:
    drawn = draw(tree("a", "ab", "bc", "ad", "de"), "c", 5)
    assert ids(drawn) == "a d e b c"
    assert [row.column for row in drawn.rows] == [0, 1, 1, 0, 0]
    assert [row.above for row in drawn.rows] == [-1, 0, 1, 0, 3]
    assert [row.on_path for row in drawn.rows] == [True, False, False, True, True]
    assert [row.is_tip for row in drawn.rows] == [False, False, False, False, True]
    assert drawn.rows[0].is_fork and drawn.rows[1].versions == 2


def test_a_fork_takes_the_colour_of_the_version() -> None:
    drawn = draw(tree("a", "ab", "ac", "cd"), "d", 5)
    assert {row.id: row.lane for row in drawn.rows} == {"a": 1, "b": 1, "c": 2, "d": 2}


def test_several_roots_are_versions_of_each_other() -> None:
    drawn = draw(tree("a", "b", "bc"), "c", 5)
    assert ids(drawn) == "a b c"
    assert [(row.column, row.above, row.versions) for row in drawn.rows] == [(1, -1, 2), (0, -1, 2), (0, 1, 1)]


def test_a_long_run_is_folded_and_opens() -> None:
    nodes = chain(20)
    drawn = draw(nodes, "00019", 5)
    assert ids(drawn) == "00000 00001 00002+16 00018 00019"
    assert len(draw(nodes, "00019", 5, opened={"00002"}).rows) == 20


def test_the_tip_is_seen_in_the_middle_of_a_run() -> None:
    drawn = draw(chain(40), "00020", 5)
    assert ids(drawn) == "00000 00001 00002+18 00020 00021+17 00038 00039"


def test_branches_are_counted_from_the_root() -> None:
    found = branches_of(tree("a", "ab", "bc", "ad"), "d", 5)
    assert [(one.tip_id, one.start_id, one.messages, one.tokens) for one in found] == [
        ("d", "d", 2, 20),
        ("c", "b", 3, 30),
    ]
    assert [one.is_current for one in found] == [True, False]


def test_ten_thousand_messages_are_a_few_rows() -> None:
    drawn = draw(chain(10_000), "09999", 5)
    assert len(drawn.rows) == 5 and drawn.messages == 10_000


def test_more_rows_than_wanted_are_cut_above_without_a_line_in_the_air() -> None:
    nodes = [Node("a", None), *(Node(f"b{at:03}", "a") for at in range(300))]
    drawn = draw(nodes, "b299", 5, limit=50)
    assert len(drawn.rows) == 50 and drawn.more == 251
    assert drawn.rows[-1].is_tip
    assert all(row.above == -1 or 0 <= row.above < number for number, row in enumerate(drawn.rows))


@given(st.lists(st.integers(0, 40), min_size=1, max_size=60), st.integers(0, 59))
def test_every_message_is_in_the_map_once(parents: list[int], tip: int) -> None:
    """parents: node n hangs below an earlier one, or is a root."""
    nodes = [
        Node(f"{at:03}", None if at == 0 or parent % 7 == 6 else f"{parent % at:03}", tokens=1)
        for at, parent in enumerate(parents)
    ]
    looked_at = f"{tip % len(nodes):03}"
    drawn = draw(nodes, looked_at, 5)
    by_id = {node.id: node for node in nodes}
    assert sum(row.folded or 1 for row in drawn.rows) == len(nodes)
    assert len({row.id for row in drawn.rows}) == len(drawn.rows)
    assert [row.id for row in drawn.rows if row.is_tip] == [looked_at]
    for number, row in enumerate(drawn.rows):
        assert 0 <= row.column < COLUMNS and 1 <= row.lane <= 5
        parent = by_id[row.id].parent_id
        assert (row.above == -1) == (parent is None)
        assert row.above < number
        if parent is not None:
            assert hangs_below(drawn.rows[row.above], parent, by_id)
    assert sum(1 for one in drawn.branches if one.is_current) >= 1
    assert {one.tip_id for one in drawn.branches} == {node.id for node in nodes} - {node.parent_id for node in nodes}


def hangs_below(above: Row, parent: str, by_id: dict[str, Node]) -> bool:
    """The row above is the parent, or the fold it stands in."""
    if not above.folded:
        return above.id == parent
    current: str | None = parent
    for _ in range(above.folded):
        if current == above.id:
            return True
        current = by_id[current].parent_id if current else None
    return False
