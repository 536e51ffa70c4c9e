"""The model's process as the server sees it: started on first use, watched, unloaded when idle, killed when stuck."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec

from chatserver import UpstreamError
from chatserver_local.lines import Ask, Ended, Failed, Piece, Ready, Stop, decode_news, encode

SLOTS = 2
"""Answers computed at once; two slow ones are better than one quick and one silent."""
MAX_WAITING = 16
LOAD_S = 120.0
STOP_S = 15.0
"""How long the engine may take to notice that nobody listens; after it, the process is ended."""
END_S = 2.0
LINE_LIMIT_BYTES = 4_000_000


class ModelProcess:
    """Answers through a child process that holds the model. Belongs to one event loop."""

    def __init__(self, path: Path, context_tokens: int, threads: int, idle_s: float) -> None:
        self._command = [
            sys.executable,
            "-m",
            "chatserver_local.child",
            str(path),
            f"--context={context_tokens}",
            f"--slots={SLOTS}",
            f"--threads={threads or max(1, min(4, (os.cpu_count() or 2) // 2))}",
        ]
        self._idle_s = idle_s
        self._child: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None
        self._starting: asyncio.Task[None] | None = None
        self._answers: dict[int, asyncio.Queue[Piece | Ended | Failed]] = {}
        self._unheard: dict[int, asyncio.TimerHandle] = {}
        self._numbers = itertools.count(1)
        self._slots = asyncio.Semaphore(SLOTS)
        self._waiting = 0
        self._idle_timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child is not None and self._child.returncode is None else None

    def _is_up(self) -> bool:
        child = self._child
        return (
            child is not None
            and child.returncode is None
            and child.stdin is not None
            and not child.stdin.is_closing()
            and (self._starting is None or self._starting.done())
        )

    async def start(self) -> None:
        """Load the model, unless it is loaded. Several callers wait for one start."""
        if self._is_closed:
            raise _fault("The offline model was switched off.")
        if self._is_up():
            return
        if self._starting is None or self._starting.done():
            self._starting = asyncio.create_task(self._start(), name="local-model-start")
        await asyncio.shield(self._starting)

    async def answer(
        self, body: dict[str, object], *, first_token_s: float, gap_s: float
    ) -> AsyncGenerator[Piece | Ended, None]:
        """Pieces as they come, then Ended. Leaving early stops the engine. Raises UpstreamError."""
        if self._waiting >= MAX_WAITING:
            raise UpstreamError(
                "The offline model has too many questions waiting. Try again in a moment.",
                kind="overloaded",
                retryable=True,
                retry_after_s=5.0,
            )
        loop = asyncio.get_running_loop()
        deadline = loop.time() + first_token_s
        self._waiting += 1
        try:
            async with asyncio.timeout_at(deadline):
                await self._slots.acquire()
        except TimeoutError:
            raise _slow() from None
        finally:
            self._waiting -= 1
        number = next(self._numbers)
        heard: asyncio.Queue[Piece | Ended | Failed] = asyncio.Queue()
        is_over = False
        self._cancel_idle()
        try:
            async with asyncio.timeout_at(deadline):
                await self.start()
            self._answers[number] = heard
            self._say(Ask(number, body))
            while True:
                async with asyncio.timeout_at(deadline):
                    news = await heard.get()
                if isinstance(news, Failed):
                    is_over = True
                    raise _fault(news.message)
                if isinstance(news, Ended):
                    is_over = True
                    yield news
                    return
                yield news
                deadline = loop.time() + gap_s
        except TimeoutError:
            raise _slow() from None
        finally:
            if number in self._answers and not is_over:
                self._stop(number)
            else:
                self._answers.pop(number, None)
                self._slots.release()
                self._rest()

    async def close(self) -> None:
        """End the process; it cannot be started again."""
        self._is_closed = True
        self._cancel_idle()
        for timer in self._unheard.values():
            timer.cancel()
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        child = self._child
        if child is not None and child.returncode is None:
            assert child.stdin is not None
            child.stdin.close()
            try:
                async with asyncio.timeout(END_S):
                    await child.wait()
            except TimeoutError:
                self._kill()
                await child.wait()
        if self._listening is not None:
            await asyncio.gather(self._listening, return_exceptions=True)

    async def _start(self) -> None:
        if self._listening is not None:
            await asyncio.gather(self._listening, return_exceptions=True)
        child = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=LINE_LIMIT_BYTES,
            # Ctrl+C in the terminal is for the server, which lets answers end first.
            start_new_session=True,
        )
        self._child = child
        assert child.stdout is not None
        try:
            async with asyncio.timeout(LOAD_S):
                line = await child.stdout.readline()
            news = decode_news(line) if line else Failed(f"its process ended with status {await child.wait()}")
        except (TimeoutError, msgspec.DecodeError, ValueError):
            news = Failed("it did not load in time")
        except asyncio.CancelledError:
            self._kill()
            raise
        if not isinstance(news, Ready):
            self._kill()
            await child.wait()
            raise _fault(f"The offline model cannot be loaded: {getattr(news, 'message', 'no reason given')}.")
        self._listening = asyncio.create_task(self._listen(child), name="local-model")
        self._rest()

    async def _listen(self, child: asyncio.subprocess.Process) -> None:
        assert child.stdout is not None
        try:
            async for line in child.stdout:
                news = decode_news(line)
                if not isinstance(news, (Piece, Ended)):
                    continue
                if isinstance(news, Ended) and news.id in self._unheard:
                    self._unheard.pop(news.id).cancel()
                    self._release(news.id)
                elif news.id in self._answers and news.id not in self._unheard:
                    self._answers[news.id].put_nowait(news)
        except (msgspec.DecodeError, ValueError):
            self._kill()
        finally:
            with contextlib.suppress(ProcessLookupError):
                await child.wait()
            for number, timer in list(self._unheard.items()):
                timer.cancel()
                del self._unheard[number]
                self._release(number)
            for heard in self._answers.values():
                heard.put_nowait(Failed("The offline model's process ended. Ask again to start it anew."))

    def _say(self, order: Ask | Stop) -> None:
        if not self._is_up():
            raise _fault("The offline model's process ended. Ask again to start it anew.")
        assert self._child is not None and self._child.stdin is not None
        self._child.stdin.write(encode(order) + b"\n")

    def _stop(self, number: int) -> None:
        """Tell the engine that nobody listens; its slot is free when it has stopped, or was stopped."""
        try:
            self._say(Stop(number))
        except UpstreamError:
            self._release(number)
            return
        self._unheard[number] = asyncio.get_running_loop().call_later(STOP_S, self._kill)

    def _release(self, number: int) -> None:
        self._answers.pop(number, None)
        self._slots.release()
        self._rest()

    def _kill(self) -> None:
        if self._child is not None and self._child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._child.kill()

    def _rest(self) -> None:
        """Unload after a while without questions."""
        self._cancel_idle()
        if self._idle_s > 0 and not self._answers and not self._waiting and not self._is_closed:
            self._idle_timer = asyncio.get_running_loop().call_later(self._idle_s, self._unload)

    def _cancel_idle(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

    def _unload(self) -> None:
        self._idle_timer = None
        if not self._answers and self._child is not None and self._child.stdin is not None:
            self._child.stdin.close()


def _fault(message: str) -> UpstreamError:
    return UpstreamError(message, kind="server", retryable=True)


def _slow() -> UpstreamError:
    return UpstreamError("The offline model took too long. Ask something shorter.", kind="timeout", retryable=True)
