"""What an endpoint says of texts it was to embed."""

from __future__ import annotations

import msgspec

from chatserver import Embedded
from chatserver_openai.answer import read_usage


class Vector(msgspec.Struct):
    embedding: tuple[float, ...]
    index: int = 0


class Vectors(msgspec.Struct):
    data: list[Vector]
    usage: msgspec.Raw = msgspec.Raw()


_decode = msgspec.json.Decoder(Vectors).decode


def read_embedded(body: bytes) -> Embedded | None:
    """The vectors in the order of the texts; None for what is not such an answer."""
    try:
        told = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    ordered = sorted(told.data, key=lambda one: one.index)
    return Embedded(tuple(one.embedding for one in ordered), read_usage(told.usage))
