"""Sound by the official SDK against a running server: spoken, written down, and refused in the format it reads."""

from __future__ import annotations

import asyncio
import io
import wave
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import openai
import pytest
import pytest_asyncio

from chatserver import (
    ListenRequest,
    Passage,
    Speaker,
    SpeechRequest,
    Transcriber,
    Transcript,
    Voice,
    hookimpl,
)
from chatserver.testing.server import Site, open_site
from chatserver.testing.upstream import FakeUpstream

RECORDING = b"RIFF....WAVE"


class Parrot:
    """Says what it is told as bytes, and hears what it is shown. Its second voice is for others."""

    name = "parrot"
    title = "Parrot"

    def __init__(self) -> None:
        self.said: list[SpeechRequest] = []
        self.heard: list[tuple[ListenRequest, bytes]] = []

    @hookimpl
    def register_voices(self) -> list[Speaker]:
        return [self]

    @hookimpl
    def register_transcribers(self) -> list[Transcriber]:
        return [self]

    async def list_voices(self) -> Sequence[Voice]:
        return [
            Voice("polly", "Polly", formats=("mp3", "wav"), order=1),
            Voice("captain", "Captain", groups=("pirates",), order=0),
        ]

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[bytes, None]:
        self.said.append(request)
        for word in request.text.split():
            yield word.encode()

    async def transcribe(self, request: ListenRequest) -> Transcript:
        self.heard.append((request, await asyncio.to_thread(Path(request.path).read_bytes)))
        return Transcript(
            "Pieces of eight.", "en", 61.5, (Passage(0.0, 1.25, "Pieces"), Passage(1.25, 61.5, "of eight."))
        )


@pytest.fixture(scope="module")
def parrot() -> Parrot:
    return Parrot()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(
    tmp_path_factory: pytest.TempPathFactory, upstream: FakeUpstream, parrot: Parrot
) -> AsyncIterator[openai.AsyncOpenAI]:
    folder = tmp_path_factory.mktemp("sounds")
    async with open_site(
        folder, upstream.base_url, plugins=[("parrot", parrot)], disabled=("voices", "dictation")
    ) as site:
        await site.house.accounts.create("ada@example.org")
        key = await site.make_key("ada@example.org")
        async with openai.AsyncOpenAI(base_url=f"{site.url}/v1", api_key=key, max_retries=0) as client:
            yield client


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_text_is_spoken(client: openai.AsyncOpenAI, parrot: Parrot) -> None:
    answer = await client.audio.speech.create(model="tts-1", voice="default", input="Pieces of eight", speed=1.5)
    assert answer.content == b"Piecesofeight"
    assert answer.response.headers["content-type"] == "audio/mpeg"
    told = parrot.said[-1]
    assert (told.voice.id, told.format, told.speed) == ("polly", "mp3", 1.5)
    await client.audio.speech.create(model="tts-1", voice="alloy", input="Unasked", response_format="wav")
    assert (parrot.said[-1].voice.id, parrot.said[-1].format) == ("polly", "wav")
    async with client.audio.speech.with_streaming_response.create(model="tts-1", voice="polly", input="a b") as stream:
        assert b"".join([chunk async for chunk in stream.iter_bytes()]) == b"ab"


async def test_what_cannot_be_spoken_is_said_as_openai_says_it(client: openai.AsyncOpenAI) -> None:
    asked: list[tuple[dict[str, Any], type[openai.APIStatusError], str | None]] = [
        ({"voice": "captain"}, openai.PermissionDeniedError, "voice_not_allowed"),
        ({"voice": "nobody"}, openai.NotFoundError, "unknown_voice"),
        ({"model": "gpt-9"}, openai.NotFoundError, "model_not_found"),
        ({"input": " "}, openai.BadRequestError, None),
        ({"input": "a" * 5_000}, openai.BadRequestError, None),
        ({"response_format": "opus"}, openai.BadRequestError, "format_not_offered"),
        ({"response_format": "ogg"}, openai.BadRequestError, None),
        ({"speed": 9.0}, openai.BadRequestError, None),
    ]
    for wrong, error, code in asked:
        with pytest.raises(error) as told:
            await client.audio.speech.create(**{"model": "tts-1", "voice": "polly", "input": "a", **wrong})
        assert code is None or told.value.code == code, wrong


async def test_a_recording_is_written_down(client: openai.AsyncOpenAI, parrot: Parrot) -> None:
    file = ("a tape.WAV", RECORDING)
    heard = await client.audio.transcriptions.create(model="whisper-1", file=file, language="en", prompt="pirates")
    assert heard.text == "Pieces of eight."
    request, recording = parrot.heard[-1]
    assert recording == RECORDING
    assert (request.name, request.language, request.prompt) == ("a tape.WAV", "en", "pirates")
    assert request.path.endswith(".WAV") and not await asyncio.to_thread(Path(request.path).exists)
    whole = await client.audio.transcriptions.create(model="parrot", file=file, response_format="verbose_json")
    assert (whole.duration, whole.language, whole.segments[1].text) == (61.5, "en", "of eight.")  # type: ignore[index]
    text = await client.audio.transcriptions.create(model="whisper-1", file=file, response_format="text")
    assert text == "Pieces of eight.\n"
    subtitles = await client.audio.transcriptions.create(model="whisper-1", file=file, response_format="srt")
    assert "00:00:01,250 --> 00:01:01,500\nof eight." in subtitles
    captions = await client.audio.transcriptions.create(model="whisper-1", file=file, response_format="vtt")
    assert captions.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:01.250\nPieces\n")


async def test_what_is_no_recording_is_said_as_openai_says_it(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as empty:
        await client.audio.transcriptions.create(model="whisper-1", file=("a.wav", b""))
    assert empty.value.param == "file"
    with pytest.raises(openai.NotFoundError) as unknown:
        await client.audio.transcriptions.create(model="gpt-9", file=("a.wav", RECORDING))
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError):
        await client.post("/audio/transcriptions", body={"file": "a"}, cast_to=object)


async def test_a_site_without_voices_and_ears_says_so(tmp_path: Path, upstream: FakeUpstream) -> None:
    async with open_site(tmp_path, upstream.base_url, disabled=("voices", "dictation")) as site:
        await site.house.accounts.create("ada@example.org")
        key = await site.make_key("ada@example.org")
        async with openai.AsyncOpenAI(base_url=f"{site.url}/v1", api_key=key, max_retries=0) as client:
            with pytest.raises(openai.NotFoundError) as silent:
                await client.audio.speech.create(model="tts-1", voice="default", input="a")
            assert silent.value.code == "no_voice"
            with pytest.raises(openai.NotFoundError) as deaf:
                await client.audio.transcriptions.create(model="whisper-1", file=("a.wav", RECORDING))
            assert deaf.value.code == "no_transcriber"


async def test_this_machines_own_voice_is_heard(site: Site, key: str) -> None:
    async with openai.AsyncOpenAI(base_url=f"{site.url}/v1", api_key=key, max_retries=0) as client:
        answer = await client.audio.speech.create(
            model="tts-1", voice="espeak", input="Hello there, this is a test.", response_format="wav"
        )
    with wave.open(io.BytesIO(answer.content)) as read:
        assert read.getnframes() / read.getframerate() > 0.8
