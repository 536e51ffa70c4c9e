"""Samples of a voice's own rate as what the house calls sound: 24,000 a second, as PCM or as a file."""

from __future__ import annotations

import io

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


def file_of(samples: bytes, wanted: AudioFormat) -> bytes:
    """A whole file, of any format but PCM."""
    kind, subtype = _KINDS[wanted]
    out = io.BytesIO()
    soundfile.write(out, numpy.frombuffer(samples, dtype="<i2"), RATE_HZ, format=kind, subtype=subtype)
    return out.getvalue()
