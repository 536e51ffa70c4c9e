"""A whole server for the browser: the real app on a real socket, in a thread, with a model that follows a script."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, expect

from chatserver.clock import monotonic_s
from chatserver.domain.access import Account
from chatserver.domain.calls import Usage
from chatserver.domain.extend import ChatRequest, Egress, Finish, ProviderDelta, UsageReport
from chatserver.domain.messages import text_of
from chatserver.domain.models import Channel, Model, ModelAlias
from chatserver.domain.tools import Tool, ToolUse
from chatserver.domain.turns import ReasoningDelta, TextDelta, ToolCallDelta
from chatserver.errors import UpstreamError
from chatserver.hookspecs import hookimpl
from chatserver.house import House
from chatserver.testing.server import open_site

PIECE = 7
"""Characters a scripted delta carries, so that words, fences and tables are cut where it hurts."""


class Actor:
    """A provider that plays. The model's name says how; `answers` maps a question to its answer, `tool_rounds` to what
    it wants done first. tools: what every model is offered."""

    name = "actor"

    def __init__(self) -> None:
        self.answers: dict[str, str] = {}
        self.held = threading.Event()
        self.tool_rounds: dict[str, list[list[ToolCallDelta]]] = {}
        self.tools: list[Tool] = []
        self.requests: list[ChatRequest] = []
        self.pause_s = 0.002
        self.holds_at = PIECE * 2

    async def discover(self, http: Egress) -> list[Channel]:
        aliases = tuple(
            ModelAlias(name, name) for name in ("swift", "thinker", "waiter", "silent", "broken", "refused")
        )
        return [Channel("stage", "actor", models=aliases)]

    async def list_models(self, channel: Channel, http: Egress) -> list[Model]:
        return [
            Model("swift", "Swift", 8192),
            Model("thinker", "Thinker", 131072, abilities=("reasoning",), lacks=("images",)),
            Model("waiter", "Waiter", 8192),
            Model("silent", "Silent"),
            Model("broken", "Broken"),
            Model("refused", "Refused"),
        ]

    async def chat(self, request: ChatRequest, channel: Channel, http: Egress) -> AsyncIterator[ProviderDelta]:
        self.requests.append(request)
        asked = max((at for at, one in enumerate(request.messages) if one.role == "user"), default=0)
        question = text_of(request.messages[asked].parts) if request.messages else ""
        is_title = question.startswith("user: ")
        answer = "A fine title" if is_title else self.answers.get(question, f"You said: {question}")
        if request.model == "refused":
            raise UpstreamError("The vendor refused the key.", kind="key_refused", retryable=False, upstream_status=401)
        if request.model == "silent":
            while not self.held.is_set():
                await asyncio.sleep(0.01)
        if request.model == "thinker":
            for word in ("They ", "ask ", "me ", "this.\n\n", "So ", "be it."):
                yield ReasoningDelta(word)
                await asyncio.sleep(self.pause_s)
        number = sum(message.role == "tool" for message in request.messages[asked:])
        wanted = self.tool_rounds.get(question, [])[number : number + 1]
        if wanted:
            yield TextDelta("One moment.")
            for call in wanted[0]:
                yield call
            yield Finish("tool_calls")
            return
        for start in range(0, len(answer), PIECE):
            yield TextDelta(answer[start : start + PIECE])
            await asyncio.sleep(self.pause_s)
            if request.model == "broken" and start >= len(answer) // 2:
                raise UpstreamError("The connection broke.", kind="cut", retryable=True)
            if request.model == "waiter" and start >= self.holds_at:
                while not self.held.is_set():
                    await asyncio.sleep(0.01)
        yield UsageReport(Usage(input=12, output=max(1, len(answer) // 4)))
        yield Finish("stop")


class Stage:
    """The plugin that brings the actor."""

    def __init__(self, actor: Actor) -> None:
        self.actor = actor

    @hookimpl()
    def register_providers(self) -> list[Any]:
        return [self.actor]

    @hookimpl()
    def offer_tools(self, use: ToolUse) -> list[Tool]:
        return self.actor.tools


class Site:
    """A running server. `call` runs a coroutine on its loop and hands back the answer."""

    def __init__(self, folder: Path, *, has_models: bool = True) -> None:
        self.folder = folder
        self.actor = Actor()
        self.has_models = has_models
        self.port = 0
        self.house: House
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._ended: asyncio.Event
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="site", daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Site:
        self._thread.start()
        self._ready.wait(30)
        if self._error is not None:
            raise self._error
        return self

    def __exit__(self, *exc: object) -> None:
        self.actor.held.set()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(20)

    def call(self, make: Callable[[], Any], timeout_s: float = 20.0) -> Any:
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(make(), self._loop).result(timeout_s)

    def account(self, email: str = "ada@example.org", name: str = "Ada Grove", role: str = "admin") -> Account:
        return self.call(lambda: self.house.accounts.create(email, name=name, role=role))  # type: ignore[arg-type]

    def cookie(self, account: Account) -> dict[str, str]:
        """A signed-in browser's cookie, as Playwright takes it."""
        value = self.call(lambda: self.house.accounts.open_session(account, "test"))
        return {"name": "sid", "value": value, "url": self.url}

    def talk(self, page: Page, count: int) -> None:
        """Many more exchanges below the page's branch, without the page."""
        actor = self.call(lambda: self.house.accounts.actor_of_cookie(page.context.cookies()[0]["value"]))
        conversation, tip = page.url.split("/")[-2:]

        async def talk() -> None:
            nonlocal tip
            for number in range(1, count + 1):
                sent = await self.house.sending.send(actor, conversation, tip, f"Question {number}", "swift")
                tip = sent.reply_id
                while (await self.house.readers.turn(actor, sent.turn_id)).state == "running":
                    await asyncio.sleep(0.005)

        self.call(talk, 60)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._error = error
            self._ready.set()

    async def _serve(self) -> None:
        extra = [("stage", Stage(self.actor))] if self.has_models else []
        async with open_site(self.folder, plugins=extra) as site:
            self.house, self.port = site.house, site.port
            self._loop = asyncio.get_running_loop()
            self._ended = asyncio.Event()
            self._ready.set()
            await self._ended.wait()


def wait_until(question: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Poll until it is so; fail when it never is."""
    deadline = monotonic_s() + timeout_s
    pause = threading.Event()
    while not question():
        assert monotonic_s() < deadline, "this never came to pass"
        pause.wait(0.02)


# --- what people do, by the names they see --------------------------------------------------------------------------


def write(page: Page, text: str) -> None:
    page.get_by_role("textbox", name="Message").fill(text)


def ask(page: Page, text: str) -> None:
    write(page, text)
    page.get_by_role("button", name="Send").click()


def ask_and_wait(page: Page, text: str) -> None:
    """Ask, and wait until the answer is there and kept."""
    before = replies(page).count()
    ask(page, text)
    expect(replies(page)).to_have_count(before + 2)
    expect(replies(page).last).to_have_attribute("data-state", "done")


def pick(page: Page, model: str) -> None:
    page.get_by_role("button", name=re.compile("^Model")).click()
    page.get_by_role("option", name=re.compile(f"^{model}")).click()


def replies(page: Page) -> Locator:
    return page.get_by_role("log", name="Conversation").get_by_role("article")
