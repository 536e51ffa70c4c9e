"""A fake upstream: a model's vendor over real HTTP that behaves as the model's name says, and costs next to nothing.

    python -m chatserver.testing.upstream --port 9100        # base_url http://127.0.0.1:9100/v1

It speaks the common chat-completions format. A model's name is any word followed by options joined by dashes:

    n200       200 tokens of text (20)              wait50     the first token after 50 ms
    gap10      10 ms between tokens                 pad64      each token at least 64 bytes
    think5     5 tokens of reasoning first          thought5   the same in the other common field, `reasoning`
    stamp      every token is `@<monotonic ns>@ `   unicode    tokens of two, three and four bytes a character
    echo       says the last user message again     length     ends for length; `filter` ends for content
    tool       ends with one tool call              cached7    7 of the prompt's tokens were cached
    nousage    never tells usage                    plain      ignores `stream` and answers whole
    crlf       lines end in CR LF                   split      every byte in a chunk of its own
    beat       comments every 10 ms while waiting   tight      refuses `max_tokens` with a 400 that names its successor
    err429     answers that status                  retry3     with Retry-After: 3; `dated3` as a date
    leak       an error repeats key and question
    p30        faults hit 30 % of the requests      hang       accepts and never answers
    cut5       drops the connection after 5 tokens  stall5     falls silent after 5 tokens
    short5     ends the body cleanly after 5        oops5      an error object in the stream after 5 tokens
    garbage    lines that are not JSON in between   nodone     no [DONE]; `nofinish` no finish reason
    html       a page instead of an answer          toolong    400, the prompt is over the model's window

    fake-n100-gap20-cut5, fake-err429-retry2-p50, fake-think5-usage

POST /control {"rules": [{"key": "sk-1", "model": "*", "options": "err500-p50", "answer": "# Some text"}],
"models": [{"id": "a"}]} adds options to every request with that key and model, or says what is said; an empty list
heals. GET /control tells counters, requests (bodies and headers) and connections with their times.
POST /control/reset forgets.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import email.utils
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, cast

import httptools
import msgspec

from chatserver import clock

KEPT_REQUESTS = 10_000
BURST_TOKENS = 64
"""How many tokens are written at once when there is no gap."""
SLOW_READER_S = 0.005
BEAT_S = 0.01

_OPTION = re.compile(r"([a-z]+)(\d*)$")
_WIDE = ("é ", "漢字", "🌳 ", "ß", "🇨🇭 ", "日本語 ")
_encode = msgspec.json.Encoder().encode


class ToolAsk(msgspec.Struct, frozen=True):
    """A call that a model of `FakeUpstream.tool_rounds` asks for. There each model has a list of rounds, each a list of
    calls: it asks for those of the round it is in, told by the calls since the last question, and then it answers."""

    name: str
    arguments: str = "{}"
    id: str = "call_1"


class Rule(msgspec.Struct, frozen=True):
    """Options added to the requests that carry this key and name this model; `*` is any. answer: what is said."""

    key: str = "*"
    model: str = "*"
    options: str = ""
    answer: str = ""


class Seen(msgspec.Struct, frozen=True):
    """A request as it arrived. at_ns: monotonic. headers in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at_ns: int

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body) if self.body else None

    @property
    def key(self) -> str:
        return self.headers.get("authorization", "").removeprefix("Bearer ")


class Connection(msgspec.Struct):
    """One TCP connection. closed_ns 0: still open. is_hung_up: the other side left in the middle of an answer."""

    opened_ns: int
    closed_ns: int = 0
    requests: int = 0
    is_hung_up: bool = False
    model: str = ""
    sent_tokens: int = 0


class Counters(msgspec.Struct):
    requests: int = 0
    streams: int = 0
    finished: int = 0
    hung_up: int = 0
    faults: int = 0
    tokens: int = 0


class Control(msgspec.Struct):
    """The body of POST /control; what is absent stays."""

    rules: list[Rule] | None = None
    models: list[dict[str, Any]] | None = None


class _Ask(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


def parse_options(text: str) -> dict[str, int]:
    """`fake-n20-cut5` -> {"n": 20, "cut": 5}; an option without a number is 1. Words that are no option do nothing."""
    options: dict[str, int] = {}
    for word in text.split("-"):
        match = _OPTION.match(word)
        if match:
            options[match[1]] = int(match[2]) if match[2] else 1
    return options


def now_ns() -> int:
    return int(clock.monotonic_s() * 1_000_000_000)


class Question(NamedTuple):
    """What a fake upstream makes of a chat request, whatever its format. limit: tokens the answer may have, 0: any."""

    model: str
    texts: list[str]
    messages: Sequence[Any]
    is_stream: bool
    wants_usage: bool
    limit: int


class Dialect:
    """How requests are read and answers written: here the common format. Another vendor's is a subclass of this and of
    `Script`, in the tests of the plugin that speaks it."""

    @property
    def script(self) -> type[Script]:
        return Script

    def key(self, headers: dict[str, str]) -> str:
        return headers.get("authorization", "").removeprefix("Bearer ")

    def is_chat(self, method: str, path: str) -> bool:
        return method == "POST" and path.endswith("/chat/completions")

    def is_list(self, method: str, path: str) -> bool:
        return path.endswith("/models")

    def question(self, path: str, body: dict[str, Any]) -> Question:
        messages = [message for message in body.get("messages", ()) if isinstance(message, dict)]
        return Question(
            str(body.get("model", "")),
            [text_of(message) for message in messages],
            messages,
            bool(body.get("stream")),
            bool((body.get("stream_options") or {}).get("include_usage")),
            body.get("max_completion_tokens") or body.get("max_tokens") or 0,
        )

    def round_of(self, messages: Sequence[Any]) -> int:
        """How often tools were called since the last question."""
        number = 0
        for message in messages:
            if isinstance(message, dict):
                number = 0 if message.get("role") == "user" else number + bool(message.get("tool_calls"))
        return number

    def models(self, models: list[dict[str, Any]]) -> dict[str, Any]:
        return {"object": "list", "data": models}

    def error(self, status: int, code: str, message: str) -> dict[str, Any]:
        return {"error": {"message": message, "type": code, "code": code}}


class FakeUpstream:
    """`async with FakeUpstream() as upstream:` serves on a free port of 127.0.0.1; `upstream.base_url` ends in /v1.

    `requests`, `connections` and `counters` say what happened; `rules` and `models` may be set at any time; `until`
    waits for something to have happened.
    """

    def __init__(self, dialect: Dialect | None = None) -> None:
        self.dialect = dialect or Dialect()
        self.rules: list[Rule] = []
        self.tool_rounds: dict[str, list[list[ToolAsk]]] = {}
        self.models: list[dict[str, Any]] = [{"id": "fake", "object": "model"}, {"id": "fake-echo", "object": "model"}]
        self.requests: deque[Seen] = deque(maxlen=KEPT_REQUESTS)
        self.connections: deque[Connection] = deque(maxlen=KEPT_REQUESTS)
        self.counters = Counters()
        self.host = "127.0.0.1"
        self.port = 0
        self._server: asyncio.Server | None = None
        self._open: set[_Wire] = set()
        self._changed = threading.Condition()
        self._waiters: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._fault_number = 0

    @property
    def base_url(self) -> str:
        return f"http://{self.host}:{self.port}/v1"

    async def __aenter__(self) -> FakeUpstream:
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Wire(self, loop), host, port, backlog=4096)
        self.host, self.port = self._server.sockets[0].getsockname()[:2]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            for wire in list(self._open):
                wire.abort()
            await self._server.wait_closed()
            self._server = None

    def reset(self) -> None:
        self.rules = []
        self.requests.clear()
        self.connections.clear()
        self.counters = Counters()

    async def until(self, is_true: Callable[[FakeUpstream], bool], timeout_s: float = 5.0) -> None:
        """Wait until it is true of this upstream, on whatever loop it runs; TimeoutError when it does not become so."""
        waiter = (asyncio.get_running_loop(), asyncio.Event())
        self._waiters.add(waiter)
        try:
            async with asyncio.timeout(timeout_s):
                while not is_true(self):
                    waiter[1].clear()
                    if not is_true(self):
                        await waiter[1].wait()
        finally:
            self._waiters.discard(waiter)

    def wait(self, is_true: Callable[[FakeUpstream], bool], timeout_s: float = 5.0) -> None:
        """`until` for tests that are not async, with the upstream in a thread."""
        with self._changed:
            if not self._changed.wait_for(lambda: is_true(self), timeout_s):
                raise TimeoutError("it did not become true of the fake upstream")

    def chats(self) -> list[Seen]:
        """The chat requests received, in order."""
        return [seen for seen in list(self.requests) if self.dialect.is_chat(seen.method, seen.path)]

    @classmethod
    @contextlib.contextmanager
    def in_thread(cls, port: int = 0, dialect: Dialect | None = None) -> Iterator[FakeUpstream]:
        """Serve from a thread with a loop of its own, for tests that are not async."""
        ready = threading.Event()
        finish: list[Callable[[], None]] = []
        made: list[FakeUpstream] = []

        async def serve() -> None:
            loop, done = asyncio.get_running_loop(), asyncio.Event()
            finish.append(lambda: _wake(loop, done))
            upstream = cls(dialect)
            try:
                await upstream.start(port=port)
                made.append(upstream)
            finally:
                ready.set()
            await done.wait()
            await upstream.stop()

        thread = threading.Thread(target=asyncio.run, args=(serve(),), name="fake-upstream", daemon=True)
        thread.start()
        ready.wait(10)
        assert made, "the fake upstream did not start"
        try:
            yield made[0]
        finally:
            finish[0]()
            thread.join(10)

    def notice(self) -> None:
        """Something happened: whoever waits looks again."""
        for loop, event in list(self._waiters):
            loop.call_soon_threadsafe(event.set)
        with self._changed:
            self._changed.notify_all()

    def options_for(self, model: str, key: str) -> tuple[dict[str, int], str]:
        options, answer = parse_options(model), ""
        for rule in self.rules:
            if rule.key in ("*", key) and rule.model in ("*", model):
                options.update(parse_options(rule.options))
                answer = rule.answer or answer
        return options, answer

    def asks_of(self, model: str, messages: Sequence[Any]) -> list[ToolAsk]:
        """The calls of the round a request is in."""
        number = self.dialect.round_of(messages)
        rounds = self.tool_rounds.get(model, [])
        return rounds[number] if number < len(rounds) else []

    def is_faulty(self, options: dict[str, int]) -> bool:
        """Faults are spread evenly, without chance: p25 hits every fourth request."""
        percent = options.get("p", 100)
        self._fault_number += 1
        return self._fault_number * percent // 100 != (self._fault_number - 1) * percent // 100

    def report(self) -> bytes:
        return _encode(
            {
                "counters": self.counters,
                "connections": list(self.connections),
                "requests": [
                    {
                        "method": seen.method,
                        "path": seen.path,
                        "headers": seen.headers,
                        "body": seen.body.decode("utf-8", "replace"),
                        "at_ns": seen.at_ns,
                    }
                    for seen in self.requests
                ],
            }
        )


def _wake(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    loop.call_soon_threadsafe(event.set)


class _Wire(asyncio.Protocol):
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
        self._stream: _Stream | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.upstream._open.add(self)
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
        self.upstream._open.discard(self)
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
            options = {
                name: value
                for name, value in options.items()
                if name not in ("err", "hang", "cut", "stall", "short", "oops", "html")
            }
        elif options.keys() & {"err", "hang", "cut", "stall", "short", "oops", "html"}:
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
            self._stream = _Stream(self, script)
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


def text_of(message: dict[str, Any]) -> str:
    """The text of one message of a request, whichever of the two forms its content has."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")


class Script:
    """What one answer will say: its tokens, how it ends, and the bytes of each. A dialect has its own `opening`,
    `token_event`, `closing`, `oops` and `whole`."""

    media_type = "text/event-stream"

    def __init__(self, question: Question, options: dict[str, int], answer: str, asks: Sequence[ToolAsk] = ()) -> None:
        self.model = model = question.model
        self.asks = asks
        self.options = options
        self.words = re.findall(r"\s*\S+|\s+$", answer)
        self.thoughts = options.get("think", 0) or options.get("thought", 0)
        count = len(self.words) if answer else options.get("n", 20)
        limit = question.limit
        self.is_bounded = bool(limit) and count > limit
        self.count = min(count, limit) if limit else count
        self.total = self.count + self.thoughts
        self.wants_usage = question.wants_usage and "nousage" not in options
        self.prompt_tokens = sum(len(text) for text in question.texts) // 4 + 1
        self.thought_field = "reasoning" if "thought" in options else "reasoning_content"
        self.line_end = "\r\n" if "crlf" in options else "\n"
        self._padding = options.get("pad", 0)
        self._is_stamped = "stamp" in options
        self._is_wide = "unicode" in options
        base = _encode({"id": "fake-1", "object": "chat.completion.chunk", "created": 1, "model": model})
        self._base = b"data: " + base[:-1] + b',"choices":'
        self._ending = (self.line_end * 2).encode()
        self._text_base = self._base + b'[{"index":0,"finish_reason":null,"delta":{"content":'
        self._thought_base = (
            self._base + b'[{"index":0,"finish_reason":null,"delta":{"' + self.thought_field.encode() + b'":'
        )
        self._close = b"}}]}" + self._ending

    def token(self, index: int) -> str:
        if self._is_stamped:
            word = f"@{now_ns()}@ "
        elif self.words and index >= self.thoughts:
            return str(self.words[index - self.thoughts])
        elif self._is_wide:
            word = _WIDE[index % len(_WIDE)]
        else:
            word = f"t{index} "
        return word.ljust(self._padding, "x") if self._padding else word

    def token_event(self, index: int) -> bytes:
        base = self._thought_base if index < self.thoughts else self._text_base
        return base + _encode(self.token(index)) + self._close

    def event(self, choices: list[dict[str, Any]], usage: dict[str, Any] | None = None) -> bytes:
        tail = b',"usage":' + _encode(usage) if usage else b""
        return self._base + _encode(choices) + tail + b"}" + self._ending

    def raw(self, text: str) -> bytes:
        return text.encode() + self._ending

    def reason(self) -> str:
        options = self.options
        if self.asks:
            return "tool_calls"
        if "length" in options or self.is_bounded:
            return "length"
        return "content_filter" if "filter" in options else "stop"

    def usage(self) -> dict[str, Any]:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.total,
            "total_tokens": self.prompt_tokens + self.total,
            "prompt_tokens_details": {"cached_tokens": min(self.options.get("cached", 0), self.prompt_tokens)},
            "completion_tokens_details": {"reasoning_tokens": self.thoughts},
        }

    def opening(self) -> bytes:
        return self.event([{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}])

    def tool_calls(self) -> list[dict[str, Any]]:
        return [
            {"id": ask.id, "type": "function", "function": {"name": ask.name, "arguments": ask.arguments}}
            for ask in self.asks
        ]

    def closing(self) -> bytes:
        """The last events: tool calls in three pieces each, the reason, usage, [DONE]; as the options allow."""
        out = []
        for index, whole in enumerate(self.tool_calls()):
            name, text = whole["function"]["name"], whole["function"]["arguments"]
            first = {**whole, "index": index, "function": {"name": name, "arguments": ""}}
            halves = (text[:6], text[6:])
            pieces = [first, *({"index": index, "function": {"arguments": half}} for half in halves)]
            out += [self.event([{"index": 0, "delta": {"tool_calls": [piece]}}]) for piece in pieces]
        if "nofinish" not in self.options:
            out.append(self.event([{"index": 0, "delta": {}, "finish_reason": self.reason()}]))
        if self.wants_usage:
            out.append(self.event([], self.usage()))
        if "nodone" not in self.options:
            out.append(self.raw("data: [DONE]"))
        return b"".join(out)

    def oops(self) -> bytes:
        """An error in the middle of the answer."""
        error = {"error": {"message": "The fake upstream broke.", "type": "server_error", "code": 500}}
        return self.raw("data: " + _encode(error).decode())

    def whole(self) -> bytes:
        message: dict[str, Any] = {
            "role": "assistant",
            "content": "".join(self.token(index) for index in range(self.thoughts, self.total)),
        }
        if self.thoughts:
            message[self.thought_field] = "".join(f"t{index} " for index in range(self.thoughts))
        if self.asks:
            message["tool_calls"] = self.tool_calls()
        answer: dict[str, Any] = {
            "id": "fake-1",
            "object": "chat.completion",
            "created": 1,
            "model": self.model,
            "choices": [{"index": 0, "message": message, "finish_reason": self.reason()}],
        }
        if "nousage" not in self.options:
            answer["usage"] = self.usage()
        return _encode(answer)


class _Stream:
    """One streamed answer on an absolute schedule, so that load does not make it drift."""

    __slots__ = ("_gap_s", "_handle", "_index", "_next_at", "_opening", "_script", "_wire", "is_over")

    def __init__(self, wire: _Wire, script: Script) -> None:
        self._wire = wire
        self._script = script
        self._index = 0
        self._gap_s = script.options.get("gap", 0) / 1000
        self._next_at = wire.loop.time() + script.options.get("wait", 0) / 1000
        self._handle: asyncio.Handle | None = None
        self._opening = True
        self.is_over = False

    def start(self) -> None:
        if "beat" in self._script.options:
            self._write_head()
            self._beat()
        else:
            self._handle = self._wire.loop.call_at(self._next_at, self._tick)

    def stop(self) -> None:
        self.is_over = True
        if self._handle is not None:
            self._handle.cancel()

    def _write_head(self) -> None:
        self._opening = False
        assert self._wire.transport is not None
        self._wire.transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nCache-Control: no-store\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n%b"
            % (self._script.media_type.encode(), self._frame(opening) if (opening := self._script.opening()) else b"")
        )

    def _beat(self) -> None:
        if self.is_over or self._wire.transport is None:
            return
        loop = self._wire.loop
        if loop.time() >= self._next_at:
            return self._tick()
        self._wire.transport.write(self._frame(self._script.raw(": still here")))
        self._handle = loop.call_at(min(self._next_at, loop.time() + BEAT_S), self._beat)

    def _frame(self, data: bytes) -> bytes:
        if "split" in self._script.options:
            return b"".join(b"1\r\n%c\r\n" % byte for byte in data)
        return b"%x\r\n%b\r\n" % (len(data), data)

    def _tick(self) -> None:
        wire, script, options = self._wire, self._script, self._script.options
        transport = wire.transport
        if self.is_over or transport is None or transport.is_closing():
            return
        if wire.is_paused:
            self._next_at = wire.loop.time() + SLOW_READER_S
            self._handle = wire.loop.call_at(self._next_at, self._tick)
            return
        if self._opening:
            self._write_head()
        stop_at = script.total
        ending = ""
        for name in ("cut", "stall", "short", "oops"):
            if name in options and options[name] <= stop_at:
                stop_at, ending = options[name], name
        left = stop_at - self._index
        burst = min(1 if self._gap_s else BURST_TOKENS, left)
        out = []
        for _ in range(burst):
            if "garbage" in options:
                out.append(self._frame(script.raw("data: {this is not JSON") + script.raw(": a comment")))
            out.append(self._frame(script.token_event(self._index)))
            self._index += 1
        wire.connection.sent_tokens += burst
        wire.upstream.counters.tokens += burst
        if self._index < stop_at:
            transport.write(b"".join(out))
            if self._gap_s:
                self._next_at += self._gap_s
                self._handle = wire.loop.call_at(self._next_at, self._tick)
            else:
                self._handle = wire.loop.call_soon(self._tick)
            return
        self._end(ending, out, transport)

    def _end(self, ending: str, out: list[bytes], transport: asyncio.Transport) -> None:
        if ending == "stall":
            transport.write(b"".join(out))
            self._wire.upstream.notice()
            return
        self.is_over = True
        if ending == "cut":
            transport.write(b"".join(out))
            transport.close()
            return
        if ending == "oops":
            out.append(self._frame(self._script.oops()))
        elif ending != "short":
            out.append(self._frame(self._script.closing()))
            self._wire.upstream.counters.finished += 1
        out.append(b"0\r\n\r\n")
        transport.write(b"".join(out))
        self._wire.finish()


async def serve(host: str, port: int) -> None:
    upstream = FakeUpstream()
    await upstream.start(host, port)
    print(upstream.base_url, flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9100)
    options = parser.parse_args()
    with contextlib.suppress(ImportError):
        import uvloop

        uvloop.install()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(options.host, options.port))


if __name__ == "__main__":
    main()
