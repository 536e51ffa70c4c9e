"""The tree at a glance: rows from root to tips, the columns they stand in, and the lines between them. No pictures."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec

from chatserver.domain.messages import MessageState, Role

KEPT_ENDS = 2
"""How many messages of a long run without forks are shown at either end of it."""
SHORTEST_RUN = 3
"""A run is folded when at least so many rows go with it: less is quicker read than opened."""
COLUMNS = 6
"""Branches side by side; deeper ones share the last column."""


class Node(msgspec.Struct, frozen=True):
    """A message without its content. tokens: what its turn used, 0 for none."""

    id: str
    parent_id: str | None
    role: Role = "user"
    state: MessageState = "done"
    model: str = ""
    created_at: int = 0
    tokens: int = 0


class Row(msgspec.Struct, frozen=True):
    """A message, or the fold of several: `folded` says how many stand behind it, and id is the first of those.

    column: from 0. lane: the colour, as on the rail of the chat. on_path: of the branch that is looked at. above: the
    row its line comes from, -1 for none. versions: how many siblings there are, itself included.
    """

    id: str
    column: int
    lane: int
    on_path: bool
    above: int
    is_tip: bool = False
    is_fork: bool = False
    versions: int = 1
    folded: int = 0


class Branch(msgspec.Struct, frozen=True):
    """A leaf. start: the first message below the last fork above it. messages, tokens: from root to leaf. is_current:
    it is what is looked at, or the newest below that."""

    tip_id: str
    start_id: str
    messages: int
    tokens: int
    lane: int
    is_current: bool


class BranchMap(msgspec.Struct, frozen=True):
    """rows: at most as many as were asked for; more: how many are not among them. branches: the newest first."""

    rows: tuple[Row, ...]
    more: int
    branches: tuple[Branch, ...]
    messages: int


def draw(
    nodes: Sequence[Node], tip_id: str | None, lanes: int, *, opened: Collection[str] = (), limit: int = 400
) -> BranchMap:
    """The map of a tree, seen from a tip. nodes: in order of creation. opened: folds that are shown whole, by id."""
    below = children_of(nodes)
    parents = {node.id: node.parent_id for node in nodes}
    path = path_of(parents, tip_id)
    colours = _colours(below, lanes)
    rows: list[Row] = []
    # (where a run begins, the row above it, its column)
    waiting: list[tuple[str, int, int]] = []

    def wait_for(parent: str | None, above: int, column: int) -> None:
        """Side branches are drawn before the one that goes on, which so ends lowest; it keeps the column."""
        children = below.get(parent, [])
        going_on = next((child for child in children if child in path), children[0] if children else None)
        aside = [child for child in children if child != going_on]
        waiting.extend(
            (child, above, column if child == going_on else min(column + 1, COLUMNS - 1))
            for child in reversed([*aside, *([going_on] if going_on else [])])
        )

    wait_for(None, -1, 0)
    while waiting:
        start, above, column = waiting.pop()
        run = _run_from(start, below)
        for id_, folded in _folded(run, path, tip_id, opened):
            siblings = below[parents[id_]]
            rows.append(
                Row(
                    id=id_,
                    column=column,
                    lane=colours[id_],
                    on_path=id_ in path,
                    above=above,
                    is_tip=id_ == tip_id,
                    is_fork=len(below.get(id_, ())) > 1,
                    versions=len(siblings),
                    folded=folded,
                )
            )
            above = len(rows) - 1
        wait_for(run[-1], above, column)
    shown = _within(rows, limit)
    return BranchMap(tuple(shown), len(rows) - len(shown), branches_of(nodes, tip_id, lanes), len(nodes))


def children_of(nodes: Sequence[Node]) -> dict[str | None, list[str]]:
    below: dict[str | None, list[str]] = {}
    for node in nodes:
        below.setdefault(node.parent_id, []).append(node.id)
    return below


def path_of(parents: Mapping[str, str | None], tip_id: str | None) -> set[str]:
    """The ids from a tip up to its root."""
    path: set[str] = set()
    current = tip_id if tip_id in parents else None
    while current is not None and current not in path:
        path.add(current)
        current = parents.get(current)
    return path


def branches_of(nodes: Sequence[Node], tip_id: str | None, lanes: int) -> tuple[Branch, ...]:
    """Every leaf, the one that is looked at first, then the newest."""
    below = children_of(nodes)
    colours = _colours(below, lanes)
    by_id = {node.id: node for node in nodes}
    found: list[Branch] = []
    # (id, first message of its branch, messages and tokens so far)
    waiting = [(root, root, 0, 0) for root in reversed(below.get(None, []))]
    while waiting:
        id_, start, messages, tokens = waiting.pop()
        messages, tokens = messages + 1, tokens + by_id[id_].tokens
        children = below.get(id_, [])
        if not children:
            found.append(Branch(id_, start, messages, tokens, colours[id_], False))
        for child in reversed(children):
            waiting.append((child, child if len(children) > 1 else start, messages, tokens))
    beneath = _at_and_below(below, tip_id)
    current = max((branch.tip_id for branch in found if branch.tip_id in beneath), default="")
    marked = [msgspec.structs.replace(branch, is_current=branch.tip_id == current) for branch in found]
    return tuple(sorted(marked, key=lambda branch: (branch.is_current, branch.tip_id), reverse=True))


def _at_and_below(below: Mapping[str | None, list[str]], top: str | None) -> set[str]:
    found: set[str] = set()
    waiting = [top] if top is not None else []
    while waiting:
        found.add(waiting[-1])
        waiting += below.get(waiting.pop(), [])
    return found


def _colours(below: Mapping[str | None, list[str]], lanes: int) -> dict[str, int]:
    """A fork changes the colour, to that of the version; everything below keeps it until the next fork."""
    colours: dict[str, int] = {}
    waiting: list[tuple[str | None, int]] = [(None, 1)]
    while waiting:
        parent, lane = waiting.pop()
        children = below.get(parent, [])
        for place, child in enumerate(children):
            colours[child] = 1 + place % lanes if len(children) > 1 else lane
            waiting.append((child, colours[child]))
    return colours


def _run_from(start: str, below: Mapping[str | None, list[str]]) -> list[str]:
    """A message and those below it, down to the next fork or leaf."""
    run = [start]
    while len(children := below.get(run[-1], [])) == 1:
        run.append(children[0])
    return run


def _folded(
    run: Sequence[str], path: Collection[str], tip_id: str | None, opened: Collection[str]
) -> list[tuple[str, int]]:
    """A run as (id, how many stand behind it): its ends, and one fold for what lies between."""
    first, last = KEPT_ENDS, len(run) - KEPT_ENDS
    if last - first < SHORTEST_RUN or run[first] in opened:
        return [(id_, 0) for id_ in run]
    folds = [(first, last)]
    if tip_id in run:  # the tip itself is always to be seen, also in the middle of a branch
        at = run.index(tip_id)
        folds = [(first, min(last, at)), (max(first, at + 1), last)]
    shown: list[tuple[str, int]] = []
    position = 0
    for begin, end in folds:
        if end - begin < SHORTEST_RUN or run[begin] in opened:
            continue
        shown += [(id_, 0) for id_ in run[position:begin]]
        shown.append((run[begin], end - begin))
        position = end
    return shown + [(id_, 0) for id_ in run[position:]]


def _within(rows: list[Row], limit: int) -> list[Row]:
    """The last rows down to the one that is looked at, and what follows: whole lines, none that hangs in the air."""
    if len(rows) <= limit:
        return rows
    tip = next((number for number, row in enumerate(rows) if row.is_tip), len(rows) - 1)
    end = min(len(rows), max(limit, tip + 1 + limit // 4))
    begin = max(0, end - limit)
    return [
        msgspec.structs.replace(row, above=row.above - begin if row.above >= begin else -1) for row in rows[begin:end]
    ]
