"""A tree written down from top to bottom: which message stands where, and what each one answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from chatserver.domain.feedback import Feedback
from chatserver.domain.messages import Message
from chatserver.domain.shares import branch_of, versions_in
from chatserver.domain.tree import Edge

TranscriptScope = Literal["path", "tree"]


class Place(msgspec.Struct, frozen=True):
    """Where a message stands. number: from one. below: the number of what it hangs on, 0 for nothing. version and
    versions: its place among those that hang there too."""

    id: str
    number: int
    below: int
    version: int = 1
    versions: int = 1

    @property
    def follows(self) -> bool:
        """Whether what it hangs on stands right above."""
        return self.below == self.number - 1


class TranscriptItem(msgspec.Struct, frozen=True):
    """feedback: what its owner said of it."""

    place: Place
    message: Message
    feedback: Feedback | None = None


def places_on_path(edges: Sequence[Edge], tip_id: str) -> list[Place]:
    """The branch down to a tip; as if there were no other."""
    return [Place(id, number, number - 1) for number, id in enumerate(branch_of(edges, tip_id), 1)]


def places_in_tree(edges: Sequence[Edge]) -> list[Place]:
    """Every message: each version with all that hangs below it, before the next version."""
    below = versions_in(edges)
    places: list[Place] = []
    waiting: list[tuple[str, int, int, int]] = [
        (id, 0, at, len(below[None])) for at, id in reversed(list(enumerate(below.get(None, ()), 1)))
    ]
    while waiting:
        id, above, version, versions = waiting.pop()
        number = len(places) + 1
        places.append(Place(id, number, above, version, versions))
        children = below.get(id, ())
        waiting += [(child, number, at, len(children)) for at, child in reversed(list(enumerate(children, 1)))]
    return places
