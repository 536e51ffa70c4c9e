"""A reply that was cut off and continued is read as one: the words move down into what goes on from it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import msgspec

from chatserver.domain.messages import CitationPart, Message, text_of


def goes_on(above: Message, message: Message) -> bool:
    """Whether the words of a message follow those above in the same breath. A model that was told nothing of what
    stands above began anew."""
    return message.continues and message.parent_id == above.id and not above.cleared_after


def texts_above(path: Sequence[Message]) -> dict[str, str]:
    """Of each reply on a path that goes on from the one above it: the words before its own, as they came, by its id."""
    texts: dict[str, str] = {}
    for above, message in itertools.pairwise(path):
        if goes_on(above, message):
            texts[message.id] = texts.get(above.id, "") + text_of(above.parts)
    return texts


def moved_down(path: Sequence[Message]) -> frozenset[str]:
    """The replies whose words are read in the one below."""
    return frozenset(above.id for above, message in itertools.pairwise(path) if goes_on(above, message))


def as_one(above: Message, message: Message) -> Message:
    """Two messages as the one that is read: it stands where the first does, and ends as the second. A source that both
    were given is named once."""
    again = {part.id or part.number for part in message.parts if isinstance(part, CitationPart)}
    kept = tuple(
        part for part in above.parts if not (isinstance(part, CitationPart) and (part.id or part.number) in again)
    )
    return msgspec.structs.replace(
        message, parent_id=above.parent_id, parts=(*kept, *message.parts), model=above.model, continues=above.continues
    )
