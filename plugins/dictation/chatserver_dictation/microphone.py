"""The microphone in the message box, and the address its recordings go to."""

from __future__ import annotations

import asyncio
import binascii
import tempfile
from base64 import b64decode
from pathlib import Path
from typing import Any

import msgspec

from chatserver import ApiAnswer, ApiVisit, BadInput, Context, ListenRequest, PageFiles, Route

HERE = Path(__file__).parent
FILES = PageFiles(str(HERE / "templates"), str(HERE / "static"))


class Recording(msgspec.Struct):
    """audio: in base64, in any form a browser records. language: '' to be heard."""

    audio: str
    language: str = ""


class Heard(msgspec.Struct, frozen=True):
    text: str
    language: str
    seconds: float


class Microphone:
    def open(self, ctx: Context) -> None:
        self._ctx = ctx

    def routes(self) -> list[Route]:
        return [Route("/hear", api=self.hear, methods=("POST",))]

    async def render(self) -> str | None:
        """The button, where somebody can write down what is said."""
        return str(self._ctx.pages.render("button.html")) if await self._ctx.speech.transcribers() else None

    async def hear(self, visit: ApiVisit) -> ApiAnswer:
        """POST {audio, language?}: what was said."""
        told = visit.read(Recording)
        try:
            audio = b64decode(told.audio, validate=True)
        except (binascii.Error, ValueError):
            raise BadInput("The recording is not in base64.", code="bad_input", status=422) from None
        if not audio:
            raise BadInput("The recording is empty.", code="no_recording", status=422)
        with tempfile.NamedTemporaryFile(suffix=".audio") as file:
            await asyncio.to_thread(_fill, file, audio)
            request = ListenRequest(file.name, f"recording.{ending_of(audio)}", len(audio), told.language[:8])
            heard = await self._ctx.speech.transcribe(visit.actor, request)
        return ApiAnswer(Heard(heard.text, heard.language, heard.seconds))


def ending_of(audio: bytes) -> str:
    """What a browser's recording is called by those who go by names."""
    if audio.startswith(b"OggS"):
        return "ogg"
    if audio.startswith(b"RIFF"):
        return "wav"
    return "mp4" if audio[4:8] == b"ftyp" else "webm"


def _fill(file: Any, content: bytes) -> None:
    file.write(content)
    file.flush()
