"""A tree written down from top to bottom: which message stands where, and what each one answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from chatserver.domain.continued import as_one, goes_on
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


class AsRead:
    """Items in order, a continuation joined to the reply it goes on from, and all numbered anew; where another version
    goes on from the same reply, each stands for itself."""

    def __init__(self) -> None:
        self._held: TranscriptItem | None = None
        self._numbers = {0: 0}
        self._last = 0

    def take(self, item: TranscriptItem) -> list[TranscriptItem]:
        """What is whole now that the next one is known."""
        held, place = self._held, item.place
        if held is not None and place.versions == 1 and goes_on(held.message, item.message):
            self._numbers[place.number] = self._last
            self._held = TranscriptItem(held.place, as_one(held.message, item.message), item.feedback)
            return []
        self._last += 1
        self._numbers[place.number] = self._last
        place = msgspec.structs.replace(place, number=self._last, below=self._numbers.get(place.below, 0))
        self._held = msgspec.structs.replace(item, place=place)
        return [held] if held is not None else []

    def close(self) -> list[TranscriptItem]:
        return [self._held] if self._held is not None else []


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
