"""The provider: finds an Ollama, lists what it has, asks it, and hands over what it says as it says it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import msgspec

from chatserver import Channel, ChatRequest, Egress, Embedded, EmbedRequest, Model, ProviderDelta, UpstreamError, Usage
from chatserver.upstreams import (
    MAX_ERROR_BYTES,
    MAX_LIST_BYTES,
    MAX_VECTORS_BYTES,
    ErrorObject,
    LineReader,
    failure,
    fetch,
    kind_of,
    listen,
    question,
    read_error_object,
    read_retry_after,
    secrets_of,
    unreadable,
)
from chatserver_ollama.address import below, read_host
from chatserver_ollama.answer import Answer
from chatserver_ollama.listing import Shown, Tag, decode_shown, decode_tags, model_of
from chatserver_ollama.question import prompt_tokens, window_for, write_body

LOCAL_URL = "http://127.0.0.1:11434"
LOOK_S = 1.0
"""How long we look for an Ollama nobody told us of."""
LIST_S = 10.0
SHOW_S = 5.0
FIRST_TOKEN_S = 300.0
"""A machine at home loads its model before it speaks."""
MAX_MODELS = 500
SHOWN_AT_ONCE = 4
MAX_REMEMBERED = 2_000
_encode = msgspec.json.Encoder().encode


class Vectors(msgspec.Struct):
    embeddings: tuple[tuple[float, ...], ...]
    prompt_eval_count: int = 0


class OllamaProvider:
    """Implements the Provider protocol for Ollama's own API."""

    name = "ollama"

    def __init__(self) -> None:
        self._host = ""
        self._api_key = ""
        self._bound_tokens = 0
        self._was_here = False
        # What was shown of a model, by address and digest; and of the newest of each name.
        self._shown: dict[tuple[str, str], Shown] = {}
        self._known: dict[tuple[str, str], Shown] = {}
        # The largest window asked for, by address and name: a smaller one would load the model anew.
        self._windows: dict[tuple[str, str], int] = {}
        self._thoughtless: set[tuple[str, str]] = set()

    def configure(self, host: str, api_key: str, bound_tokens: int) -> None:
        self._host = read_host(host)
        self._api_key = api_key.strip()
        self._bound_tokens = max(0, bound_tokens)
        self._was_here = False

    async def discover(self, http: Egress) -> list[Channel]:
        """The one that was named; else the one of this machine, from when it first had a model."""
        channel = Channel(
            self.name,
            self.name,
            self._host or LOCAL_URL,
            self._api_key if self._host else "",
            source="found",
            first_token_s=FIRST_TOKEN_S,
        )
        if not self._host and not self._was_here:
            try:
                self._was_here = bool(await self._tags(channel, http, LOOK_S))
            except UpstreamError:
                return []
        return [channel] if self._host or self._was_here else []

    async def list_models(self, channel: Channel, http: Egress) -> list[Model]:
        tags = await self._tags(channel, http, LIST_S)
        places = asyncio.Semaphore(SHOWN_AT_ONCE)
        shown = await asyncio.gather(*(self._show(channel, http, tag, places) for tag in tags))
        made = (model_of(tag, told, self._bound_tokens) for tag, told in zip(tags, shown, strict=True))
        found = {model.id: model for model in made if model is not None}
        return list(found.values())

    async def chat(self, request: ChatRequest, channel: Channel, http: Egress) -> AsyncIterator[ProviderDelta]:
        place = (channel.base_url, request.model)
        known = self._known.get(place, Shown())
        body = write_body(request, thinks=False if place in self._thoughtless else known.thinks)
        if window := self._window(place, request, known):
            body.setdefault("options", {})["num_ctx"] = window
        secrets = secrets_of(request, channel)
        for _ in range(2):
            asked = question(http, channel, below(channel.base_url, "/api/chat"), body, _credentials(channel))
            async with asked as response:
                if 200 <= response.status < 300:
                    answer = Answer(channel, secrets, prompt_tokens(request))
                    reading = listen(response, channel, answer, LineReader(), lambda _response, _first: True)
                    async with aclosing(reading) as deltas:
                        async for delta in deltas:
                            yield delta
                    return
                error = read_error_object(await response.read(MAX_ERROR_BYTES))
                if "think" in body and response.status == 400 and "think" in error.message.lower():
                    del body["think"]
                    self._thoughtless.add(place)
                    continue
                raise _refused(channel, response.status, error, read_retry_after(response.headers), secrets)
        raise failure(channel.name, 400, ErrorObject())

    async def embed(self, request: EmbedRequest, channel: Channel, http: Egress) -> Embedded:
        asked = {"model": request.model, "input": request.texts, **request.parameters}
        body = await self._ask(channel, http, "/api/embed", channel.total_s, _encode(asked), MAX_VECTORS_BYTES)
        try:
            told = msgspec.json.decode(body, type=Vectors)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise unreadable(channel.name, kind_of(body)) from None
        if len(told.embeddings) != len(request.texts):
            raise unreadable(channel.name, "vectors for other texts")
        return Embedded(told.embeddings, Usage(input=told.prompt_eval_count) if told.prompt_eval_count else None)

    def _window(self, place: tuple[str, str], request: ChatRequest, known: Shown) -> int:
        """The window to ask for, 0 to leave it: whoever wrote one down, here or in a Modelfile, has decided."""
        if self._bound_tokens or known.set_tokens:
            return 0
        window = max(window_for(request, known.trained_tokens), self._windows.get(place, 0))
        if window:
            if len(self._windows) >= MAX_REMEMBERED:
                self._windows.clear()
            self._windows[place] = window
        return window

    async def _tags(self, channel: Channel, http: Egress, within_s: float) -> list[Tag]:
        body = await self._ask(channel, http, "/api/tags", within_s)
        try:
            told = decode_tags(body)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise unreadable(channel.name, kind_of(body)) from None
        return [tag for tag in told.models or () if tag.id][:MAX_MODELS]

    async def _show(self, channel: Channel, http: Egress, tag: Tag, places: asyncio.Semaphore) -> Shown:
        """What is known of a model; one that cannot be shown now has only its size."""
        key = (channel.base_url, tag.digest or tag.id)
        shown = self._shown.get(key)
        if shown is None:
            try:
                async with places:
                    body = await self._ask(channel, http, "/api/show", SHOW_S, _encode({"model": tag.id}))
                shown = decode_shown(body)
            except (UpstreamError, msgspec.MsgspecError, UnicodeDecodeError):
                return Shown()
            if len(self._shown) >= MAX_REMEMBERED:
                self._shown.clear()
                self._known.clear()
            self._shown[key] = shown
        self._known[channel.base_url, tag.id] = shown
        return shown

    async def _ask(
        self,
        channel: Channel,
        http: Egress,
        path: str,
        within_s: float,
        body: bytes = b"",
        limit_bytes: int = MAX_LIST_BYTES,
    ) -> bytes:
        url, credentials = below(channel.base_url, path), _credentials(channel)
        status, headers, told = await fetch(http, url, credentials, within_s, body=body, limit_bytes=limit_bytes)
        if status != 200:
            wait_s = read_retry_after(headers)
            raise _refused(channel, status, read_error_object(told), wait_s, (channel.api_key,))
        return told


def _refused(
    channel: Channel, status: int, error: ErrorObject, wait_s: float | None, secrets: tuple[str, ...]
) -> UpstreamError:
    if status == 400 and "does not support tools" in error.message:
        return UpstreamError(
            f"The model of the channel {channel.name} calls no tools. Pick another, or switch the tools off.",
            kind="not_found",
            retryable=False,
            upstream_status=status,
        )
    return failure(channel.name, status, error, retry_after_s=wait_s, secrets=secrets)


def _credentials(channel: Channel) -> dict[str, str]:
    key = channel.api_key.strip()
    return {"Authorization": f"Bearer {key}"} if key else {}
