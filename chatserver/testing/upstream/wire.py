"""One connection to a fake upstream."""

from __future__ import annotations

import asyncio
import email.utils
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import httptools
import msgspec

from chatserver import clock
from chatserver.testing.upstream.orders import Control, ToolAsk
from chatserver.testing.upstream.script import Script
from chatserver.testing.upstream.seen import Connection, Seen, now_ns
from chatserver.testing.upstream.stream import Stream

if TYPE_CHECKING:
    from chatserver.testing.upstream.server import FakeUpstream

FAULTS = {"err", "hang", "cut", "stall", "short", "oops", "html"}
_encode = msgspec.json.Encoder().encode


class _Ask(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Wire(asyncio.Protocol):
    """One connection: requests one after another, each answered whole or as a stream."""

    def __init__(self, upstream: FakeUpstream, loop: asyncio.AbstractEventLoop) -> None:
        self.upstream = upstream
        self.loop = loop
        self.transport: asyncio.Transport | None = None
        self.is_paused = False
        self.connection = Connection(now_ns())
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[_Ask] = deque()
        self._is_busy = False
        self._stream: Stream | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.upstream.wires.add(self)
        self.upstream.connections.append(self.connection)

    def connection_lost(self, error: Exception | None) -> None:
        self.connection.closed_ns = now_ns()
        if self._is_busy and (self._stream is None or not self._stream.is_over):
            self.connection.is_hung_up = True
            self.upstream.counters.hung_up += 1
        if self._stream is not None:
            self._stream.stop()
        if self._timer is not None:
            self._timer.cancel()
        self.transport = None
        self.upstream.wires.discard(self)
        self.upstream.notice()

    def pause_writing(self) -> None:
        self.is_paused = True

    def resume_writing(self) -> None:
        self.is_paused = False

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.abort()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    # what the parser calls
    def on_message_begin(self) -> None:
        self._url = b""
        self._body: list[bytes] = []
        self._headers: dict[str, str] = {}

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        method = self._parser.get_method().decode()
        path = self._url.decode("latin-1").partition("?")[0]
        self._waiting.append(_Ask(method, path, self._headers, b"".join(self._body)))
        if not self._is_busy:
            self._next()

    def finish(self) -> None:
        """This answer is over; the connection is free for the next request."""
        self._stream = None
        self._is_busy = False
        self.upstream.notice()
        if self._waiting:
            self._next()

    def _next(self) -> None:
        self._is_busy = True
        ask = self._waiting.popleft()
        if ask.path.startswith("/control"):
            return self._control(ask)
        self.connection.requests += 1
        self.upstream.counters.requests += 1
        self.upstream.requests.append(Seen(ask.method, ask.path, ask.headers, ask.body, now_ns()))
        self.upstream.notice()
        if self.upstream.dialect.is_chat(ask.method, ask.path):
            return self._chat(ask)
        if ask.path.endswith("/embeddings") and ask.method == "POST":
            return self._embeddings(ask)
        if self.upstream.dialect.is_list(ask.method, ask.path):
            return self._models(ask)
        self._refuse(404, "There is no such path here.")

    def _control(self, ask: _Ask) -> None:
        if ask.method == "POST" and ask.path == "/control/reset":
            self.upstream.reset()
        elif ask.method == "POST":
            try:
                control = msgspec.json.decode(ask.body, type=Control)
            except msgspec.DecodeError as error:
                return self._refuse(400, str(error))
            if control.rules is not None:
                self.upstream.rules = control.rules
            if control.models is not None:
                self.upstream.models = control.models
        self._answer(200, self.upstream.report())

    def _models(self, ask: _Ask) -> None:
        options, _ = self.upstream.options_for("models", self.upstream.dialect.key(ask.headers))
        if "err" in options:
            return self._refuse(options["err"], "The list is not for you.", options)
        self._answer(200, _encode(self.upstream.dialect.models(self.upstream.models)))

    def _chat(self, ask: _Ask) -> None:
        try:
            body = msgspec.json.decode(ask.body, type=dict[str, Any])
        except msgspec.DecodeError:
            return self._refuse(400, "The body is not a JSON object.")
        key = self.upstream.dialect.key(ask.headers)
        question = self.upstream.dialect.question(ask.path, body)
        model, said = question.model, question.texts
        self.connection.model = model
        self.connection.sent_tokens = 0
        options, answer = self.upstream.options_for(model, key)
        is_faulty = self.upstream.is_faulty(options)
        if not is_faulty:
            options = {name: value for name, value in options.items() if name not in FAULTS}
        elif options.keys() & FAULTS:
            self.upstream.counters.faults += 1
        if "hang" in options:
            return
        if "err" in options:
            told = ""
            if "leak" in options:
                told = f"Not for Bearer {key}: {' '.join(said)[:80]}"
            return self._later(options, lambda: self._refuse(options["err"], told, options))
        if "toolong" in options:
            return self._refuse(400, "This model's maximum context length is 10 tokens.", options)
        if "tight" in options and "max_tokens" in body:
            return self._refuse(
                400, "Unsupported parameter: 'max_tokens' is not supported, use 'max_completion_tokens' instead."
            )
        if "html" in options:
            return self._answer(200, b"<!doctype html><title>Sign in</title>", "text/html")
        asks = self.upstream.asks_of(model, question.messages)
        if "tool" in options:
            asks = [ToolAsk("lookup", '{"q": "trees"}')]
        answer = answer or (said[-1] if "echo" in options and said else "")
        script = self.upstream.dialect.script(question, options, answer, asks)
        if question.is_stream and "plain" not in options:
            self.upstream.counters.streams += 1
            self._stream = Stream(self, script)
            self._stream.start()
        else:
            whole_ms = options.get("wait", 0) + options.get("gap", 0) * script.total
            self._later({"wait": whole_ms}, lambda: self._whole(script))

    def _embeddings(self, ask: _Ask) -> None:
        """Three numbers a text: its length, its words, its place."""
        body = msgspec.json.decode(ask.body, type=dict[str, Any])
        options, _ = self.upstream.options_for(
            str(body.get("model", "")), ask.headers.get("authorization", "").removeprefix("Bearer ")
        )
        if "err" in options:
            return self._refuse(options["err"], "", options)
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        data = [
            {"object": "embedding", "index": place, "embedding": [len(text), len(text.split()), place]}
            for place, text in enumerate(texts)
        ]
        tokens = sum(len(text.split()) for text in texts)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        self._answer(200, _encode({"object": "list", "data": data, "usage": usage}))

    def _later(self, options: dict[str, int], act: Callable[[], None]) -> None:
        if options.get("wait"):
            self._timer = self.loop.call_later(options["wait"] / 1000, act)
        else:
            act()

    def _whole(self, script: Script) -> None:
        self.upstream.counters.tokens += script.total
        self.upstream.counters.finished += 1
        self._answer(200, script.whole())

    def _refuse(self, status: int, message: str, options: dict[str, int] | None = None) -> None:
        options = options or {}
        extra = ""
        if "retry" in options:
            extra = f"Retry-After: {options['retry']}\r\n"
        elif "dated" in options:
            at_s = clock.now_us() / 1_000_000 + options["dated"]
            extra = f"Retry-After: {email.utils.formatdate(at_s, usegmt=True)}\r\n"
        kinds = {401: "invalid_api_key", 403: "permission_denied", 404: "model_not_found", 429: "rate_limit_exceeded"}
        code = "context_length_exceeded" if "toolong" in options else kinds.get(status, f"fake_{status}")
        error = self.upstream.dialect.error(status, code, message or f"The fake upstream was told to answer {status}.")
        self._answer(status, _encode(error), extra=extra)

    def _answer(self, status: int, body: bytes, kind: str = "application/json", extra: str = "") -> None:
        if self.transport is None:
            return
        head = f"HTTP/1.1 {status} Fake\r\nContent-Type: {kind}\r\n{extra}Content-Length: {len(body)}\r\n\r\n"
        self.transport.write(head.encode("latin-1") + body)
        self.finish()
