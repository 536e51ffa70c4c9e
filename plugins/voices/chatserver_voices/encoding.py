"""Samples as files of sound: WAV and PCM by ourselves, the others by a library or a program where one is installed."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import shutil
import struct
import sys
import wave
from array import array
from typing import Protocol

from chatserver import AudioFormat, UpstreamError

RATE_HZ = 24_000
"""Of all that leaves here: what the API we imitate calls pcm, and what Opus takes."""
PROGRAM_S = 30.0
UNKNOWN = 0xFFFFFFFF
"""The length in the head of a WAV that is sent while it is made, as whoever writes to a pipe says it."""
_LIBRARY = {"mp3": ("MP3", "MPEG_LAYER_III"), "opus": ("OGG", "OPUS"), "flac": ("FLAC", "PCM_16")}
_PROGRAM = {
    "mp3": ("-f", "mp3"),
    "opus": ("-c:a", "libopus", "-f", "ogg"),
    "aac": ("-f", "adts"),
    "flac": ("-f", "flac"),
}


def formats_here() -> tuple[AudioFormat, ...]:
    """What can be made on this machine, what people mostly want first."""
    made: list[AudioFormat] = []
    if importlib.util.find_spec("soundfile") is not None:
        made += ["mp3", "opus", "flac"]
    elif shutil.which("ffmpeg"):
        made += ["mp3", "opus", "aac", "flac"]
    return (*made, "wav", "pcm")


def samples_of(wav: bytes) -> bytes:
    """The samples of a WAV with one channel of 16 bits, at RATE_HZ. Its head may tell a wrong length: it was written to
    a pipe. Raises ValueError."""
    try:
        with wave.open(io.BytesIO(wav)) as read:
            rate_hz, width, channels = read.getframerate(), read.getsampwidth(), read.getnchannels()
    except (wave.Error, EOFError) as error:
        raise ValueError(str(error)) from error
    if (width, channels) != (2, 1):
        raise ValueError("not 16 bits, or not one channel")
    at = wav.find(b"data", 12)
    raw = wav[at + 8 :]
    return resampled(raw[: len(raw) // 2 * 2], rate_hz)


def resampled(raw: bytes, rate_hz: int) -> bytes:
    """By straight lines between the samples, which is enough for speech."""
    if rate_hz == RATE_HZ or not raw:
        return raw
    given = array("h")
    given.frombytes(raw)
    if sys.byteorder == "big":
        given.byteswap()
    last, count = len(given) - 1, len(given) * RATE_HZ // rate_hz
    made = array("h", bytes(2 * count))
    for place in range(count):
        before, rest = divmod(place * rate_hz, RATE_HZ)
        after = min(before + 1, last)
        made[place] = given[before] + (given[after] - given[before]) * rest // RATE_HZ
    if sys.byteorder == "big":
        made.byteswap()
    return made.tobytes()


async def encode(samples: bytes, wanted: AudioFormat) -> bytes:
    """A whole file. Raises UpstreamError when it cannot be made."""
    if wanted == "pcm":
        return samples
    if wanted == "wav":
        return wav_of(samples)
    if importlib.util.find_spec("soundfile") is not None and wanted in _LIBRARY:
        return await asyncio.to_thread(_by_library, samples, wanted)
    return await _by_program(samples, wanted)


class Stream(Protocol):
    """One file in pieces, as its samples come. end: what is left of it."""

    def take(self, samples: bytes) -> bytes: ...
    def end(self) -> bytes: ...


def open_stream(wanted: AudioFormat) -> Stream | None:
    """For formats that can be sent while they are made; None for those that are made whole."""
    if wanted in ("wav", "pcm"):
        return _PlainStream(_wav_head(UNKNOWN, UNKNOWN) if wanted == "wav" else b"")
    if wanted in ("mp3", "opus") and importlib.util.find_spec("soundfile") is not None:
        return _LibraryStream(wanted)
    return None


class _PlainStream:
    def __init__(self, head: bytes) -> None:
        self._head = head

    def take(self, samples: bytes) -> bytes:
        head, self._head = self._head, b""
        return head + samples

    def end(self) -> bytes:
        return b""


class _LibraryStream:
    """By the library, which writes frames and pages one after the other. It goes back once, to tell an MP3's length in
    a head that is long sent: it has the same 64 kbit in each second, and of that players take its length."""

    def __init__(self, wanted: AudioFormat) -> None:
        import soundfile

        kind, subtype = _LIBRARY[wanted]
        self._made = io.BytesIO()
        self._sent = 0
        steady = {"bitrate_mode": "CONSTANT", "compression_level": 0.63} if wanted == "mp3" else {}
        self._file = soundfile.SoundFile(self._made, "w", RATE_HZ, 1, subtype=subtype, format=kind, **steady)

    def take(self, samples: bytes) -> bytes:
        import numpy

        self._file.write(numpy.frombuffer(samples, dtype="<i2"))
        self._file.flush()
        return self._new()

    def end(self) -> bytes:
        self._file.close()
        return self._new()

    def _new(self) -> bytes:
        made = self._made.getvalue()[self._sent :]
        self._sent += len(made)
        return made


def wav_of(samples: bytes) -> bytes:
    return _wav_head(36 + len(samples), len(samples)) + samples


def _wav_head(file_bytes: int, sound_bytes: int) -> bytes:
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        file_bytes,
        b"WAVE",
        b"fmt ",
        16,
        1,
        1,
        RATE_HZ,
        RATE_HZ * 2,
        2,
        16,
        b"data",
        sound_bytes,
    )


def _by_library(samples: bytes, wanted: AudioFormat) -> bytes:
    import numpy
    import soundfile

    kind, subtype = _LIBRARY[wanted]
    out = io.BytesIO()
    soundfile.write(out, numpy.frombuffer(samples, dtype="<i2"), RATE_HZ, format=kind, subtype=subtype)
    return out.getvalue()


async def _by_program(samples: bytes, wanted: AudioFormat) -> bytes:
    program = ("ffmpeg", "-v", "error", "-f", "s16le", "-ar", str(RATE_HZ), "-ac", "1", "-i", "pipe:0")
    return await run(*program, *_PROGRAM[wanted], "pipe:1", given=samples)


async def run(*command: str, given: bytes) -> bytes:
    """What a program writes to its output. Raises UpstreamError when it fails or takes too long."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(PROGRAM_S):
            made, _ = await process.communicate(given)
    except TimeoutError:
        raise UpstreamError(f"{command[0]} took too long.", kind="timeout", retryable=True) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise UpstreamError(f"{command[0]} failed on this text. Try another voice.", kind="server", retryable=False)
    return made
