"""Text as speech and speech as text: what whoever speaks or listens is asked, and what they answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Literal, Protocol, runtime_checkable

import msgspec

AudioFormat = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]
"""pcm: 16-bit little-endian samples, one channel, 24,000 a second, without a head. opus: in an Ogg."""

MEDIA_TYPES: dict[AudioFormat, str] = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
DEFAULT_VOICE = "default"
"""What stands for the site's default voice wherever a voice is named."""


class Voice(msgspec.Struct, frozen=True):
    """Something that speaks. id: unique in the house, plain ASCII. languages: as `en`, `zh`; empty for any.

    formats: what it can be heard in, the best first. groups: the accounts it is for, empty for everybody; others see it
    and may not use it. picture: an address on this server. order: the site's default voice is the lowest of those an
    account may use.
    """

    id: str
    title: str
    languages: tuple[str, ...] = ()
    formats: tuple[AudioFormat, ...] = ("wav",)
    groups: tuple[str, ...] = ()
    picture: str = ""
    order: int = 100

    def is_for(self, groups: Sequence[str]) -> bool:
        return not self.groups or any(group in self.groups for group in groups)


class SpeechRequest(msgspec.Struct, frozen=True):
    """What is to be said. format: one of the voice's own. language: '' when it is to be told from the text. speed: 1.0
    as the voice speaks."""

    voice: Voice
    text: str
    format: AudioFormat
    speed: float = 1.0
    language: str = ""


class Speaker(Protocol):
    """Brings voices. list_voices is asked often and must be quick. speak: pieces of the sound as they are made, which
    joined are a file of the format; raises UpstreamError or another error with a sentence."""

    name: str

    async def list_voices(self) -> Sequence[Voice]: ...
    def speak(self, request: SpeechRequest) -> AsyncGenerator[bytes, None]: ...


class ListenRequest(msgspec.Struct, frozen=True):
    """A recording to write down. path: a file that is there until the answer. language: '' when it is to be heard.
    prompt: words that are likely in it."""

    path: str
    name: str
    size_bytes: int
    language: str = ""
    prompt: str = ""


class Passage(msgspec.Struct, frozen=True):
    """A piece of a recording, in seconds from its beginning."""

    start_s: float
    end_s: float
    text: str


class Transcript(msgspec.Struct, frozen=True):
    """What was said, in which language, and how long the recording is."""

    text: str
    language: str = ""
    seconds: float = 0.0
    passages: tuple[Passage, ...] = ()


class Transcriber(Protocol):
    """Writes down what was said. Raises BadInput for what is no recording, UpstreamError."""

    name: str
    title: str

    async def transcribe(self, request: ListenRequest) -> Transcript: ...


@runtime_checkable
class Readying(Protocol):
    """What a transcriber may say besides: whether it can be asked now. Asked often, so it must be quick; one that says
    nothing always can."""

    async def is_ready(self) -> bool: ...
