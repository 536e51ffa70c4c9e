"""`POST /v1/embeddings`: texts as vectors, through any channel that makes them."""

from __future__ import annotations

import base64
from array import array
from typing import Any, Literal

import msgspec

from chatserver import Context, DirectRequest, EmbeddedDelta
from chatserver_openai_api.failure import Wrong, decode_error
from chatserver_openai_api.sending import Watch, read_body, send_json

TEXTS_MAX = 2048


class Asked(msgspec.Struct):
    """input: a text or a list of them; looked at by itself, because lists of numbers are refused in words."""

    model: str
    input: Any
    dimensions: int | None = None
    encoding_format: Literal["float", "base64"] | None = None


class Vector(msgspec.Struct, frozen=True):
    index: int
    embedding: tuple[float, ...] | str
    object: str = "embedding"


class Meters(msgspec.Struct, frozen=True):
    prompt_tokens: int
    total_tokens: int


class Answer(msgspec.Struct, frozen=True):
    data: list[Vector]
    model: str
    usage: Meters
    object: str = "list"


_encode = msgspec.json.Encoder().encode


_decode = msgspec.json.Decoder(Asked).decode


class Embeddings:
    """The ASGI app."""

    def open(self, ctx: Context) -> None:
        self._calls = ctx.calls

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        try:
            asked = _decode(await read_body(receive))
        except msgspec.MsgspecError as error:
            raise decode_error(error) from None
        if asked.dimensions is not None and asked.dimensions < 1:
            raise Wrong("`dimensions` is at least 1.", "dimensions")
        parameters = {"dimensions": asked.dimensions} if asked.dimensions else {}
        request = DirectRequest("embedding", asked.model, parameters=parameters, texts=_texts(asked.input))
        vectors: tuple[tuple[float, ...], ...] = ()
        call = await self._calls.open(scope["state"]["actor"], request)
        async with call, Watch(receive, call.leave):
            async for delta in call.deltas():
                if isinstance(delta, EmbeddedDelta):
                    vectors = delta.vectors
            pack = _packed if asked.encoding_format == "base64" else _plain
            data = [Vector(at, pack(vector)) for at, vector in enumerate(vectors)]
            await send_json(send, _encode(Answer(data, asked.model, Meters(call.usage.input, call.usage.input))))


def _texts(given: Any) -> tuple[str, ...]:
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise Wrong("`input` is a text or a list of texts; tokens by number are not taken here.", "input")
    if len(texts) > TEXTS_MAX or not all(texts):
        raise Wrong(f"`input` holds one to {TEXTS_MAX} texts, none of them empty.", "input")
    return tuple(texts)


def _plain(vector: tuple[float, ...]) -> tuple[float, ...]:
    return vector


def _packed(vector: tuple[float, ...]) -> str:
    """Little-endian 32-bit floats, which OpenAI's SDK asks for unless told otherwise."""
    packed = array("f", vector)
    return base64.b64encode(packed.tobytes()).decode()
