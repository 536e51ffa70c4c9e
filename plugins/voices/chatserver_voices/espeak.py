"""The voice of this machine: espeak-ng, called as a program where it is installed. It knows a hundred languages."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator, Sequence

from chatserver import Context, Setting, SpeechRequest, UpstreamError, Voice
from chatserver import gettext as _
from chatserver_voices import encoding
from chatserver_voices.spoken import passages_of

SETTINGS = [Setting("espeak", "Whether espeak-ng reads aloud where it is installed", kind="boolean", default="true")]
WORDS_PER_MINUTE = 165
AT_ONCE = 2
_NAMES = {"zh": "cmn"}


class Espeak:
    name = "espeak"

    def __init__(self) -> None:
        self._program = shutil.which("espeak-ng")
        self._room = asyncio.Semaphore(AT_ONCE)
        self._formats = encoding.formats_here()
        self._is_wanted = True

    def open(self, ctx: Context) -> None:
        self._is_wanted = bool(ctx.settings["espeak"])

    async def list_voices(self) -> Sequence[Voice]:
        if self._program is None or not self._is_wanted:
            return []
        return [Voice("espeak", _("This machine's voice"), formats=self._formats, order=900)]

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[bytes, None]:
        """Passage by passage, each in its language; FLAC and AAC come whole, and so does a text of one passage."""
        kept = bytearray()
        passages = passages_of(request.text)
        stream = encoding.open_stream(request.format) if len(passages) > 1 else None
        for passage in passages:
            samples = await self._say(passage.text, request.language or passage.language, request.speed)
            if stream is not None:
                yield await asyncio.to_thread(stream.take, samples)
            else:
                kept += samples
        if stream is not None:
            yield await asyncio.to_thread(stream.end)
        elif kept:
            yield await encoding.encode(bytes(kept), request.format)

    async def _say(self, text: str, language: str, speed: float) -> bytes:
        assert self._program is not None
        pace = str(max(80, min(450, round(WORDS_PER_MINUTE * speed))))
        language = _NAMES.get(language, language) or "en"
        command = (self._program, "-b", "1", "-s", pace, "--stdin", "--stdout", "-v")
        async with self._room:
            try:
                wav = await encoding.run(*command, language, given=text.encode())
            except UpstreamError:
                if language == "en":
                    raise
                wav = await encoding.run(*command, "en", given=text.encode())  # a language it was installed without
            try:
                return await asyncio.to_thread(encoding.samples_of, wav)
            except ValueError as error:
                raise UpstreamError("espeak-ng said nothing.", kind="server", retryable=False) from error
