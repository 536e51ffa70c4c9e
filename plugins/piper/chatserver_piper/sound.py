"""Samples of a voice's own rate as what the house calls sound: 24,000 a second, as PCM or as a file."""

from __future__ import annotations

import io
import struct

import numpy
import soundfile

from chatserver import AudioFormat

RATE_HZ = 24_000
_KINDS = {
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "opus": ("OGG", "OPUS"),
    "flac": ("FLAC", "PCM_16"),
    "wav": ("WAV", "PCM_16"),
}


UNKNOWN = 0xFFFFFFFF
"""The length in the head of a WAV that is written to a pipe."""
_WAV_HEAD = struct.pack(
    "<4sI4s4sIHHIIHH4sI", b"RIFF", UNKNOWN, b"WAVE", b"fmt ", 16, 1, 1, RATE_HZ, RATE_HZ * 2, 2, 16, b"data", UNKNOWN
)


class Stretch:
    """Samples of another rate, by straight lines between them, piece by piece as if they had come at once."""

    def __init__(self, rate_hz: int) -> None:
        self._step = rate_hz / RATE_HZ
        self._taken = 0  # samples that came before this piece
        self._made = 0
        self._last = numpy.zeros(0)

    def take(self, piece: bytes) -> bytes:
        given = numpy.frombuffer(piece, dtype="<i2").astype(numpy.float64)
        if not given.size:
            return b""
        known = numpy.concatenate([self._last, given])
        first = self._taken - self._last.size
        self._taken += given.size
        until = int((self._taken - 1) / self._step) + 1
        at = numpy.arange(self._made, until) * self._step - first
        self._made = until
        self._last = known[-1:]
        return numpy.interp(at, numpy.arange(known.size), known).round().astype("<i2").tobytes()


class Growing:
    """A file that is sent while it is made: PCM as it is, MP3 and Opus by the library, which writes frames and pages
    one after the other, WAV with a head that tells no length. An MP3 has the same 64
    kbit in each second: of that players take its length, which no head tells."""

    def __init__(self, wanted: AudioFormat) -> None:
        self._made = io.BytesIO()
        self._sent = 0
        self._file: soundfile.SoundFile | None = None
        if wanted in ("mp3", "opus"):
            kind, subtype = _KINDS[wanted]
            steady = {"bitrate_mode": "CONSTANT", "compression_level": 0.63} if wanted == "mp3" else {}
            self._file = soundfile.SoundFile(self._made, "w", RATE_HZ, 1, subtype=subtype, format=kind, **steady)
        elif wanted == "wav":
            self._made.write(_WAV_HEAD)

    def take(self, samples: bytes) -> bytes:
        if self._file is None:
            self._made.write(samples)
        else:
            self._file.write(numpy.frombuffer(samples, dtype="<i2"))
            self._file.flush()
        return self._new()

    def end(self) -> bytes:
        if self._file is not None:
            self._file.close()
        return self._new()

    def _new(self) -> bytes:
        made = self._made.getvalue()[self._sent :]
        self._sent += len(made)
        return made


def file_of(samples: bytes, wanted: AudioFormat) -> bytes:
    """A whole file, of any format but PCM."""
    kind, subtype = _KINDS[wanted]
    out = io.BytesIO()
    soundfile.write(out, numpy.frombuffer(samples, dtype="<i2"), RATE_HZ, format=kind, subtype=subtype)
    return out.getvalue()
