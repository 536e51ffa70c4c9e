"""`POST /v1/audio/transcriptions`: what was said in a recording, by whoever listens on this site."""

from __future__ import annotations

import asyncio
import io
import os
import re
import tempfile
from typing import Any

import msgspec
from multipart import MultipartError, MultipartParser, parse_options_header

from chatserver import Context, ListenRequest, NotFound, Passage, Transcript
from chatserver_openai_api.failure import Wrong
from chatserver_openai_api.listing import check_model
from chatserver_openai_api.sending import read_body, send_json

MODELS = ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe")
FIELD_MOST = 10_000
FORMATS = ("json", "text", "verbose_json", "srt", "vtt")
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}$")
_encode = msgspec.json.Encoder().encode


class Form(msgspec.Struct):
    """The fields of the form, and the recording."""

    fields: dict[str, str]
    name: str
    recording: bytes


class Segment(msgspec.Struct, frozen=True):
    id: int
    start: float
    end: float
    text: str


class Plain(msgspec.Struct, frozen=True):
    text: str


class Verbose(msgspec.Struct, frozen=True):
    language: str
    duration: float
    text: str
    segments: list[Segment]
    task: str = "transcribe"


class Transcriptions:
    """The ASGI app."""

    def open(self, ctx: Context) -> None:
        self._speech = ctx.speech

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        content_type = dict(scope["headers"]).get(b"content-type", b"").decode("latin-1")
        form = read_form(await read_body(receive), content_type)
        model = form.fields.get("model", MODELS[0])
        wanted = form.fields.get("response_format", "json")
        if wanted not in FORMATS:
            raise Wrong(f"`response_format` is one of {', '.join(FORMATS)}.", "response_format")
        transcribers = await self._speech.transcribers()
        if not transcribers:
            raise NotFound(
                "Nobody here writes down what was said. An admin can install a plugin that does.", code="no_transcriber"
            )
        names = tuple(one.name for one in transcribers)
        check_model(scope["state"]["actor"], model, (*MODELS, *names))
        found = _SUFFIX.search(form.name)
        with tempfile.NamedTemporaryFile(suffix=found[0] if found else ".audio") as file:
            await asyncio.to_thread(_fill, file, form.recording)
            request = ListenRequest(
                file.name,
                os.path.basename(form.name),
                len(form.recording),
                form.fields.get("language", ""),
                form.fields.get("prompt", ""),
            )
            name = model if model in names else ""
            heard = await self._speech.transcribe(scope["state"]["actor"], request, name=name)
        if wanted in ("json", "verbose_json"):
            await send_json(send, _encode(_verbose(heard) if wanted == "verbose_json" else Plain(heard.text)))
            return
        text = heard.text + "\n" if wanted == "text" else subtitles(heard, wanted)
        headers = [(b"content-type", b"text/plain; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": text.encode()})


def read_form(body: bytes, content_type: str) -> Form:
    """Raises Wrong."""
    kind, options = parse_options_header(content_type)
    if kind != "multipart/form-data" or not options.get("boundary"):
        raise Wrong("This takes a form with a `file`, as multipart/form-data.", "file")
    fields: dict[str, str] = {}
    name, recording = "", None
    try:
        parser = MultipartParser(
            io.BytesIO(body),
            options["boundary"],
            content_length=len(body),
            memory_limit=len(body) + 1,
            spool_limit=len(body) + 1,
        )
        for part in parser:
            if part.name == "file":
                name, recording = part.filename or "recording", part.raw
            elif part.size <= FIELD_MOST:
                fields[part.name] = part.value
    except (MultipartError, UnicodeDecodeError) as error:
        raise Wrong(f"The form cannot be read: {error}.", "file") from None
    if recording is None:
        raise Wrong("The form has no `file`.", "file")
    if not recording:
        raise Wrong("The file is empty.", "file")
    return Form(fields, name, recording)


def subtitles(heard: Transcript, wanted: str) -> str:
    """SubRip or WebVTT."""
    passages = heard.passages or (Passage(0.0, heard.seconds, heard.text),)
    mark = "," if wanted == "srt" else "."
    made = ["WEBVTT\n"] if wanted == "vtt" else []
    for number, one in enumerate(passages, 1):
        head = f"{number}\n" if wanted == "srt" else ""
        made.append(f"{head}{_clock(one.start_s, mark)} --> {_clock(one.end_s, mark)}\n{one.text.strip()}\n")
    return "\n".join(made)


def _clock(seconds: float, mark: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{mark}{rest % 1000:03}"


def _verbose(heard: Transcript) -> Verbose:
    segments = [Segment(at, one.start_s, one.end_s, one.text) for at, one in enumerate(heard.passages)]
    return Verbose(heard.language, heard.seconds, heard.text, segments)


def _fill(file: Any, recording: bytes) -> None:
    file.write(recording)
    file.flush()
