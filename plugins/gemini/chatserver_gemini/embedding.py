"""Texts to embed, as batchEmbedContents takes them, and what it says of them."""

from __future__ import annotations

from typing import Any

import msgspec

from chatserver import Embedded, EmbedRequest


class Vector(msgspec.Struct):
    values: tuple[float, ...]


class Vectors(msgspec.Struct):
    embeddings: list[Vector]


_decode = msgspec.json.Decoder(Vectors).decode


def write_texts(request: EmbedRequest) -> dict[str, Any]:
    """Each text names the model again."""
    size = request.parameters.get("dimensions")
    more = {"outputDimensionality": size} if size else {}
    model = f"models/{request.model}"
    return {"requests": [{"model": model, "content": {"parts": [{"text": text}]}, **more} for text in request.texts]}


def read_embedded(body: bytes) -> Embedded | None:
    """The vectors in the order of the texts; None for what is not such an answer. Usage is not told."""
    try:
        told = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return Embedded(tuple(one.values for one in told.embeddings))
