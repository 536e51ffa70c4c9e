"""What the server and the listening process say to each other: one JSON object per line, on the process's own pipes."""

from __future__ import annotations

import msgspec


class Hear(msgspec.Struct, frozen=True, tag="hear"):
    """Write down this file. most_s: a longer recording is refused. language: '' when it is to be heard."""

    path: str
    most_s: float
    language: str = ""
    prompt: str = ""


class Said(msgspec.Struct, frozen=True):
    """A piece of the recording, in seconds from its beginning."""

    start_s: float
    end_s: float
    text: str


class Heard(msgspec.Struct, frozen=True, tag="heard"):
    """The whole recording."""

    language: str
    seconds: float
    pieces: tuple[Said, ...]


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The model is loaded."""


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """reason: unreadable | silent | long for the recording, model for the model; told: in the library's own words."""

    reason: str
    told: str = ""


encode = msgspec.json.Encoder().encode
decode_order = msgspec.json.Decoder(Hear).decode
decode_news = msgspec.json.Decoder(Ready | Heard | Failed).decode
