"""The microphone in the message box, and the address its recordings go to."""

from __future__ import annotations

import asyncio
import binascii
import tempfile
from base64 import b64decode
from pathlib import Path
from typing import Any

import msgspec

from chatserver import Actor, BadInput, Context, ListenRequest, PageFiles, Refused, Route

HERE = Path(__file__).parent
FILES = PageFiles(str(HERE / "templates"), str(HERE / "static"))
BODY_MOST = 1_048_576
_encode = msgspec.json.Encoder().encode


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
        return [Route("/hear", self.hear, methods=("POST",))]

    def render(self) -> str:
        return str(self._ctx.pages.render("button.html"))

    async def hear(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """POST {audio, language?}: what was said."""
        actor = scope["state"].get("actor")
        if not isinstance(actor, Actor):
            raise Refused("Sign in first.", code="not_signed_in", status=401)
        try:
            told = msgspec.json.decode(await _body(receive), type=Recording)
            audio = b64decode(told.audio, validate=True)
        except (msgspec.MsgspecError, binascii.Error, UnicodeDecodeError) as error:
            raise BadInput(f"The request cannot be read: {error}.", status=422) from None
        if not audio:
            raise BadInput("The recording is empty.", code="no_recording", status=422)
        with tempfile.NamedTemporaryFile(suffix=".audio") as file:
            await asyncio.to_thread(_fill, file, audio)
            request = ListenRequest(file.name, "recording", len(audio), told.language[:8])
            heard = await self._ctx.speech.transcribe(actor, request, name="whisper")
        body = _encode(Heard(heard.text, heard.language, heard.seconds))
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def _body(receive: Any) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > BODY_MOST:
            raise BadInput(
                "This recording is too long. Say it in pieces of three minutes.", code="too_large", status=413
            )
        if not message.get("more_body"):
            return body


def _fill(file: Any, content: bytes) -> None:
    file.write(content)
    file.flush()
