"""Voices and who listens, brought by plugins: each text spoken and each recording heard is one metered call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path

import msgspec
import pytest

from chatserver import (
    ListenRequest,
    Speaker,
    SpeechRequest,
    Transcriber,
    Transcript,
    UpstreamError,
    Usage,
    Voice,
    hookimpl,
)
from chatserver.domain.access import Actor
from chatserver.errors import BadInput, NotFound, Refused
from chatserver.testing.upstream import FakeUpstream
from tests.chat.conftest import Person, Place, close_house, open_house, until


class Row(msgspec.Struct):
    kind: str
    model: str
    state: str
    usage: str


class Choir:
    """Two voices, one of them for singers only; and an ear."""

    name = "choir"
    title = "The choir's ear"

    def __init__(self) -> None:
        self.breaks_after = -1
        self.is_lost = self.holds = False
        self.said: list[SpeechRequest] = []

    @hookimpl
    def register_voices(self) -> list[Speaker]:
        return [self]

    @hookimpl
    def register_transcribers(self) -> list[Transcriber]:
        return [self]

    async def list_voices(self) -> Sequence[Voice]:
        if self.is_lost:
            raise RuntimeError("the choir is lost")
        return [
            Voice("alto", "Alto", formats=("wav", "mp3")),
            Voice("bass", "Bass", groups=("singers",), order=10),
        ]

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[bytes, None]:
        self.said.append(request)
        for at, word in enumerate(request.text.split()):
            if at == self.breaks_after:
                raise UpstreamError("The voice broke.", kind="server", retryable=True)
            yield word.encode()
            if self.holds:
                await asyncio.Event().wait()

    async def transcribe(self, request: ListenRequest) -> Transcript:
        if request.size_bytes == 0:
            raise BadInput("There is nothing to hear.")
        return Transcript("la la la", "en", seconds=2.5)


@pytest.fixture
async def choir(place: Place, fake_upstream: FakeUpstream) -> AsyncIterator[tuple[Choir, Person]]:
    choir = Choir()
    house = await open_house(place, fake_upstream, plugins=[("choir", choir)])
    yield choir, Person(house, Actor(await house.accounts.create("eve@example.org"), "web"))
    await close_house(house)


async def ended_calls(person: Person, count: int) -> list[tuple[str, str, str, Usage]]:
    async def read() -> list[tuple[str, str, str, Usage]]:
        await person.house.speeches.stop()
        rows = await person.house.db.read(
            lambda tx: tx.all(Row, "SELECT kind, model, state, usage FROM calls ORDER BY id")
        )
        return [
            (row.kind, row.model, row.state, msgspec.json.decode(row.usage, type=Usage))
            for row in rows
            if row.state != "running"
        ]

    found = await read()
    assert len(found) == count
    return found


async def hear(person: Person, text: str, **wanted: object) -> bytes:
    async with await person.house.speeches.speak(person.actor, text, **wanted) as speech:  # type: ignore[arg-type]
        return b"|".join([piece async for piece in speech.pieces()])


async def test_a_text_is_spoken_and_its_characters_are_metered(choir: tuple[Choir, Person]) -> None:
    voices, eve = choir
    assert await hear(eve, "la la", speed=1.5, formats=("opus", "mp3")) == b"la|la"
    assert (voices.said[0].voice.id, voices.said[0].format, voices.said[0].speed) == ("alto", "mp3", 1.5)
    assert await ended_calls(eve, 1) == [("speech", "alto", "done", Usage(characters=5, calls=1))]


async def test_what_was_not_heard_is_not_charged(choir: tuple[Choir, Person]) -> None:
    voices, eve = choir
    voices.breaks_after = 0
    with pytest.raises(UpstreamError):
        await hear(eve, "la la")
    async with await eve.house.speeches.speak(eve.actor, "never listened to"):
        pass
    voices.breaks_after = 1
    with pytest.raises(UpstreamError):
        await hear(eve, "la la")
    assert await ended_calls(eve, 3) == [
        ("speech", "alto", "failed", Usage()),
        ("speech", "alto", "stopped", Usage()),
        ("speech", "alto", "interrupted", Usage(characters=5, calls=1)),
    ]


async def test_a_voice_for_others_is_seen_and_may_not_be_used(choir: tuple[Choir, Person]) -> None:
    _, eve = choir
    assert [(one.voice.id, one.is_mine) for one in await eve.house.speeches.voices(eve.actor)] == [
        ("bass", False),
        ("alto", True),
    ]
    with pytest.raises(Refused) as told:
        await hear(eve, "la", voice_id="bass")
    assert told.value.code == "voice_not_allowed"
    with pytest.raises(NotFound) as unknown:
        await hear(eve, "la", voice_id="tenor")
    assert unknown.value.code == "unknown_voice"
    with pytest.raises(BadInput) as odd:
        await hear(eve, "la", voice_id="alto", formats=("flac",))
    assert odd.value.code == "format_not_offered"
    assert await ended_calls(eve, 0) == []


async def test_a_speaker_that_fails_is_a_house_without_its_voices(choir: tuple[Choir, Person]) -> None:
    voices, eve = choir
    voices.is_lost = True
    with pytest.raises(NotFound) as told:
        await hear(eve, "la")
    assert told.value.code == "no_voice"


async def test_a_recording_is_metered_by_its_length(choir: tuple[Choir, Person], tmp_path: Path) -> None:
    _, eve = choir
    heard = await eve.house.speeches.transcribe(eve.actor, ListenRequest(str(tmp_path / "a.wav"), "a.wav", 9))
    assert heard.text == "la la la"
    with pytest.raises(BadInput):
        await eve.house.speeches.transcribe(eve.actor, ListenRequest(str(tmp_path / "b.wav"), "b.wav", 0))
    assert await ended_calls(eve, 2) == [
        ("transcription", "choir", "done", Usage(seconds_ms=2500, calls=1)),
        ("transcription", "choir", "failed", Usage()),
    ]


async def test_a_voice_stops_when_its_listener_is_suspended(choir: tuple[Choir, Person]) -> None:
    voices, eve = choir
    voices.holds = True
    listening = asyncio.create_task(hear(eve, "la la"))
    await until(lambda: len(eve.house.directs.watched) == 1)
    await eve.house.accounts.update(eve.actor.account_id, state="suspended")
    await eve.house.directs.check()
    with pytest.raises(Refused) as told:
        await asyncio.wait_for(listening, 10)
    assert told.value.code == "shut"
    assert eve.house.directs.watched == set()
    ((_, _, state, usage),) = await ended_calls(eve, 1)
    assert (state, usage) == ("stopped", Usage(characters=5, calls=1))


async def test_a_house_without_voices_or_ears_says_so(ann: Person, tmp_path: Path) -> None:
    with pytest.raises(NotFound) as silent:
        await hear(ann, "la")
    assert silent.value.code == "no_voice"
    with pytest.raises(NotFound) as deaf:
        await ann.house.speeches.transcribe(ann.actor, ListenRequest(str(tmp_path / "a.wav"), "a.wav", 9))
    assert deaf.value.code == "no_transcriber"
