"""The voices of a folder, each text spoken by a process of its own: `python -m piper`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import msgspec

from chatserver import AudioFormat, SpeechRequest, UpstreamError, Voice

FORMATS: tuple[AudioFormat, ...] = ("mp3", "opus", "flac", "wav", "pcm")
AT_ONCE = 2
FIRST_S = 30.0
GAP_S = 30.0
PIECE_BYTES = 16_384
WHOLE_CHARS = 400
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C.UTF-8"}
_NOT_PLAIN = re.compile(r"[^a-z0-9_.-]+")


class _Audio(msgspec.Struct, frozen=True):
    sample_rate: int


class _Espeak(msgspec.Struct, frozen=True):
    voice: str = ""


class _Language(msgspec.Struct, frozen=True):
    code: str = ""


class _Config(msgspec.Struct, frozen=True):
    """What we read of a voice's own .onnx.json."""

    audio: _Audio
    espeak: _Espeak = _Espeak()
    language: _Language = _Language()


class _Model(msgspec.Struct, frozen=True):
    voice: Voice
    path: str
    rate_hz: int


CHANCE: tuple[str, ...] = ()
"""How much chance is in the speech, as Piper's own options; none given: as much as it likes."""


class PiperSpeaker:
    """Passages are spoken by at most two processes at once."""

    name = "piper"

    def __init__(self) -> None:
        self._models: dict[str, _Model] = {}
        self._room = asyncio.Semaphore(AT_ONCE)

    async def open(self, folder: str, order: int) -> list[tuple[str, str]]:
        """Look through the folder; the files that are no voices, each with the reason."""
        found, refused = await asyncio.to_thread(_look_through, folder, order) if folder else ([], [])
        self._models = {model.voice.id: model for model in found}
        return refused

    async def list_voices(self) -> Sequence[Voice]:
        return [model.voice for model in self._models.values()]

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[bytes, None]:
        """Sentence by sentence; FLAC whole, and WAV, whose head tells its length, when the text is short."""
        # With numpy: 15 MB nobody needs before a word is spoken.
        from chatserver_piper.sound import Growing, Stretch, file_of

        model = self._models[request.voice.id]
        stretch = Stretch(model.rate_hz)
        is_whole = request.format == "flac" or (request.format == "wav" and len(request.text) <= WHOLE_CHARS)
        growing = None if is_whole else Growing(request.format)
        kept = bytearray()
        async with self._room, contextlib.aclosing(_samples(model, request)) as samples:
            async for piece in samples:
                made = stretch.take(piece)
                if growing is None:
                    kept += made
                elif sent := await asyncio.to_thread(growing.take, made):
                    yield sent
        if growing is None:
            yield await asyncio.to_thread(file_of, bytes(kept), request.format)
        elif rest := await asyncio.to_thread(growing.end):
            yield rest


async def _samples(model: _Model, request: SpeechRequest) -> AsyncGenerator[bytes, None]:
    """As piper prints them, 16 bits at the voice's own rate. Raises UpstreamError; leaving ends the process."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "piper", "-m", model.path, "--output-raw"),
        *("--sentence-silence", "0.2", "--length-scale", f"{1 / request.speed:.3f}"),
        *CHANCE,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=ENVIRONMENT,
        cwd="/",
        start_new_session=True,
    )
    assert process.stdin is not None and process.stdout is not None
    saying = asyncio.create_task(_say(process.stdin, request.text))
    patience_s, half = FIRST_S, b""
    try:
        while True:
            async with asyncio.timeout(patience_s):
                piece = await process.stdout.read(PIECE_BYTES)
            if not piece:
                break
            patience_s = GAP_S
            whole = half + piece
            even = len(whole) // 2 * 2
            half = whole[even:]
            yield whole[:even]
        if await process.wait() != 0:
            raise UpstreamError("Piper failed on this text. Try another voice.", kind="server", retryable=False)
    except TimeoutError:
        raise UpstreamError("Piper took too long. Try a shorter text.", kind="timeout", retryable=True) from None
    finally:
        saying.cancel()
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await asyncio.shield(process.wait())


async def _say(stdin: asyncio.StreamWriter, text: str) -> None:
    """One line each paragraph, which is how piper reads."""
    with contextlib.suppress(ConnectionError):
        stdin.write("".join(f"{line.strip()}\n" for line in text.splitlines() if line.strip()).encode())
        await stdin.drain()
        stdin.close()


def _look_through(folder: str, order: int) -> tuple[list[_Model], list[tuple[str, str]]]:
    found: list[_Model] = []
    refused: list[tuple[str, str]] = []
    paths = sorted(Path(folder).glob("*.onnx"))
    if not paths:
        refused.append((folder, "there is no .onnx file in this folder"))
    for path in paths:
        try:
            config = msgspec.json.decode(path.with_name(f"{path.name}.json").read_bytes(), type=_Config)
        except (OSError, msgspec.MsgspecError) as error:
            refused.append((str(path), str(error)))
            continue
        code = config.language.code or config.espeak.voice
        language = re.split(r"[-_]", code)[0].lower()
        name = f"piper-{_NOT_PLAIN.sub('-', path.stem.lower())}"
        voice = Voice(name, path.stem, languages=(language,) if language else (), formats=FORMATS, order=order)
        found.append(_Model(voice, str(path.resolve()), config.audio.sample_rate))
    return found, refused
