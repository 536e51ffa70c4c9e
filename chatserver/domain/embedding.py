"""Texts as vectors: what a provider that can embed is asked, and what it answers."""

from __future__ import annotations

from typing import Any

import msgspec

from chatserver.domain.calls import Usage


class EmbedRequest(msgspec.Struct, frozen=True):
    """One request to one channel; `model` is the name the upstream knows. parameters: `dimensions`, or nothing."""

    model: str
    texts: tuple[str, ...]
    parameters: dict[str, Any] = {}


class Embedded(msgspec.Struct, frozen=True):
    """A vector for each text, in their order. usage None: the upstream did not say."""

    vectors: tuple[tuple[float, ...], ...]
    usage: Usage | None = None


class EmbeddedDelta(msgspec.Struct, frozen=True):
    """All vectors of a call at once."""

    vectors: tuple[tuple[float, ...], ...]
