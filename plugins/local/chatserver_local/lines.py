"""What the server and the model's process say to each other: one JSON object per line, on the process's own pipes."""

from __future__ import annotations

from typing import Any

import msgspec


class Ask(msgspec.Struct, tag="ask"):
    """Answer this; `body` is a chat-completions request without `stream`."""

    id: int
    body: dict[str, Any]


class Stop(msgspec.Struct, tag="stop"):
    """Nobody listens to this answer any more."""

    id: int


class Ready(msgspec.Struct, tag="ready"):
    """The model is loaded."""


class Piece(msgspec.Struct, tag="piece"):
    id: int
    text: str


class Ended(msgspec.Struct, tag="ended"):
    """The answer is over. finish '': it was stopped. error: in the engine's words, with its status."""

    id: int
    finish: str = ""
    input: int = 0
    cached: int = 0
    output: int = 0
    error: str = ""
    status: int = 0


class Failed(msgspec.Struct, tag="failed"):
    """The model could not be loaded."""

    message: str


encode = msgspec.json.Encoder().encode
decode_order = msgspec.json.Decoder(Ask | Stop).decode
decode_news = msgspec.json.Decoder(Ready | Piece | Ended | Failed).decode
