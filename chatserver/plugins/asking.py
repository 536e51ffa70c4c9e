"""One implementation of one hook: asked within its time, and its answer checked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from chatserver.errors import SetupError
from chatserver.plugins.answers import describe, fits
from chatserver.plugins.hooks import Implementation, Spec
from chatserver.plugins.threads import Threads


class Asker:
    """Plain functions are asked in threads, coroutines in tasks of their own."""

    def __init__(self) -> None:
        self._threads = Threads()

    async def ask(self, one: Implementation, arguments: dict[str, Any], known: Any = None) -> Any:
        """The checked answer of one implementation within its time; raises what it raises, TimeoutError, TypeError."""
        values = tuple(arguments[name] for name in one.arguments)
        waiting: asyncio.Future[Any]
        if one.is_async:
            waiting = asyncio.get_running_loop().create_task(_without_exit(one.function(*values)))
        else:
            waiting = self._threads.run(one.function, values)
        try:
            await _wait(waiting, one.spec.rule.timeout_s)
        except asyncio.CancelledError:
            waiting.cancel()
            raise
        if not waiting.done():
            # Not awaited: a coroutine may refuse to be cancelled, and then only the watchdog can tell of it.
            waiting.cancel()
            waiting.add_done_callback(_look_away)
            raise TimeoutError(f"no answer within {one.spec.rule.timeout_s:g} s")
        if waiting.cancelled():
            raise RuntimeError("it cancelled itself")
        answer = waiting.result()
        _check_answer(one.spec, answer, known)
        return answer


async def ask_all(asks: Iterable[Awaitable[Any]]) -> list[Any]:
    """All answers in order. When one raises, the others are cancelled first: nothing is left running behind a no."""
    asks = list(asks)
    if len(asks) < 2:
        return [await ask for ask in asks]
    tasks = [asyncio.ensure_future(ask) for ask in asks]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


async def _wait(future: asyncio.Future[Any], timeout_s: float) -> None:
    """Until it is done or the time is over, and no more than that: asyncio.wait takes three times as long, and every
    question of every visitor asks a dozen hooks."""
    loop = asyncio.get_running_loop()
    over = loop.create_future()

    def end(_: object = None) -> None:
        if not over.done():
            over.set_result(None)

    future.add_done_callback(end)
    timer = loop.call_later(timeout_s, end)
    try:
        await over
    finally:
        timer.cancel()
        future.remove_done_callback(end)


async def _without_exit(answer: Awaitable[Any]) -> Any:
    """A task that raises SystemExit ends the whole loop, and with it the server: from a plugin it is one more fault."""
    try:
        return await answer
    except (SystemExit, KeyboardInterrupt) as error:
        raise RuntimeError(f"{type(error).__name__} raised in a hook") from error


def _look_away(future: asyncio.Future[Any]) -> None:
    """Fetch the late outcome nobody waits for, so that it is not reported as never retrieved."""
    if not future.cancelled():
        future.exception()


def ask_plainly(plugin: str, spec: Spec, function: Callable[..., Any]) -> list[Any]:
    """What a hook that is asked at the start answers, as a list. Raises SetupError naming plugin and hook."""
    try:
        answer = function()
        _check_answer(spec, answer)
    except Exception as error:
        raise SetupError(f"The plugin {plugin} failed in {spec.name}: {type(error).__name__}: {error}") from error
    return list(answer or ())


def _check_answer(spec: Spec, answer: Any, known: Any = None) -> None:
    if answer is None or spec.rule.mode == "notify":
        return
    if not fits(answer, spec.returns, known):
        raise TypeError(f"{spec.name} answers {describe(spec.returns)}, and this is {_brief(answer)}")


def _brief(answer: Any) -> str:
    """The shape of a wrong answer. Never its text: that may be somebody's message."""
    if isinstance(answer, (list, tuple)):
        return f"a {type(answer).__name__} of {', '.join(sorted({type(one).__name__ for one in answer})) or 'nothing'}"
    return f"of type {type(answer).__name__}"
