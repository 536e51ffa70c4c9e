"""The provider: asks the Messages API, and hands over what it says as it says it."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import msgspec

from chatserver import Channel, ChatRequest, Egress, Model, ProviderDelta
from chatserver.upstreams import (
    MAX_ERROR_BYTES,
    ErrorObject,
    EventReader,
    accepted,
    fetch,
    kind_of,
    listen,
    question,
    read_error_object,
    read_retry_after,
    secrets_of,
    unreadable,
)
from chatserver_anthropic.answer import Answer
from chatserver_anthropic.facts import Facts, decode_page, facts_by_name, facts_of, model_of
from chatserver_anthropic.question import MIN_ANSWER_TOKENS, say_format, write_body
from chatserver_anthropic.refusal import refused

VENDOR_URL = "https://api.anthropic.com"
VERSION = "2023-06-01"
"""The version of the API this was written against; the vendor keeps it."""
MAX_PAGES = 20
LIST_S = 15.0
MAX_CONCESSIONS = 3
MAX_REMEMBERED = 1_000

# "input length and `max_tokens` exceed context limit: 197202 + 21333 > 200000, decrease …"
_OVER_WINDOW = re.compile(r"exceed context limit: (\d+) \+ (\d+) > (\d+)")
# "max_tokens: 64000 > 8192, which is the maximum allowed number of output tokens for …"
_OVER_OUTPUT = re.compile(r"max_tokens: (\d+) > (\d+)")
_NEGOTIABLE = ("temperature", "top_p", "top_k", "thinking", "effort", "format", "output_config")
_TURNED_DOWN = ("support", "not permitted", "deprecated", "extra inputs", "cannot both", "not available", "invalid")


class AnthropicProvider:
    """Implements the Provider protocol for the Messages API."""

    name = "anthropic"

    def __init__(self) -> None:
        self._api_key = ""
        self._base_url = VENDOR_URL
        # What the list told of a model, and what was learned by a refusal; both by address and name.
        self._facts: dict[tuple[str, str], Facts] = {}
        self._turned_down: dict[tuple[str, str], set[str]] = {}

    def configure(self, api_key: str, base_url: str) -> None:
        self._api_key = api_key.strip()
        self._base_url = base_url.strip() or VENDOR_URL

    async def discover(self, http: Egress) -> list[Channel]:
        if not self._api_key:
            return []
        return [Channel(self.name, self.name, self._base_url, self._api_key, source="found")]

    async def list_models(self, channel: Channel, http: Egress) -> list[Model]:
        models: dict[str, Model] = {}
        query = "?limit=1000"
        for _ in range(MAX_PAGES):
            body = await self._get(channel, http, f"{_url(channel, '/models')}{query}")
            try:
                page = decode_page(body)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                raise unreadable(channel.name, kind_of(body)) from None
            for listed in page.data:
                if listed.id and listed.lifecycle != "retired":
                    models.setdefault(listed.id, model_of(listed))
                    self._remember(self._facts, (channel.base_url, listed.id), facts_of(listed))
            if not page.has_more or not page.last_id:
                break
            query = f"?limit=1000&after_id={urllib.parse.quote(page.last_id, safe='')}"
        return list(models.values())

    async def chat(self, request: ChatRequest, channel: Channel, http: Egress) -> AsyncIterator[ProviderDelta]:
        place = (channel.base_url, request.model)
        body = write_body(request, self._facts.get(place) or facts_by_name(request.model))
        for name in self._turned_down.get(place, ()):
            _leave_out(body, name, request)
        secrets = secrets_of(request, channel)
        for _ in range(MAX_CONCESSIONS + 1):
            credentials = _credentials(channel)
            asked = question(
                http, channel, _url(channel, "/messages"), body, credentials, accept=accepted(request.stream)
            )
            async with asked as response:
                if 200 <= response.status < 300:
                    answer = Answer(channel, secrets)
                    async with aclosing(listen(response, channel, answer, EventReader())) as deltas:
                        async for delta in deltas:
                            yield delta
                    return
                error = read_error_object(await response.read(MAX_ERROR_BYTES))
                if not self._gives_in(place, body, request, response.status, error):
                    wait_s = read_retry_after(response.headers)
                    raise refused(channel, response.status, error, wait_s, secrets)
        raise refused(channel, 400, ErrorObject(), None, secrets)

    def _gives_in(
        self, place: tuple[str, str], body: dict[str, Any], request: ChatRequest, status: int, error: ErrorObject
    ) -> bool:
        """Is this refusal about something we can do without? Then the body is changed, and what holds for every
        question to this model is remembered."""
        if status != 400:
            return False
        if over := _OVER_WINDOW.search(error.message):
            left = int(over[3]) - int(over[1])
            if not MIN_ANSWER_TOKENS <= left < body["max_tokens"]:
                return False
            body["max_tokens"] = left
            _leave_out(body, "thinking", request)
            return True
        if over := _OVER_OUTPUT.search(error.message):
            most = int(over[2])
            if not 0 < most < body["max_tokens"]:
                return False
            body["max_tokens"] = most
            facts = self._facts.get(place) or facts_by_name(place[1])
            self._remember(self._facts, place, msgspec.structs.replace(facts, max_output_tokens=most))
            return True
        words = error.message.lower()
        if not any(sign in words for sign in _TURNED_DOWN):
            return False
        for name in _NEGOTIABLE:
            if re.search(rf"\b{name}\b", words) and _leave_out(body, name, request):
                if name != "format" or "schema" not in words:  # a schema that was turned down says nothing of others
                    known = self._turned_down.get(place, set())
                    self._remember(self._turned_down, place, known | {name})
                return True
        return False

    def _remember(self, memory: dict[tuple[str, str], Any], place: tuple[str, str], value: Any) -> None:
        if len(memory) >= MAX_REMEMBERED and place not in memory:
            memory.clear()
        memory[place] = value

    async def _get(self, channel: Channel, http: Egress, url: str) -> bytes:
        status, headers, body = await fetch(http, url, _credentials(channel), LIST_S)
        if status != 200:
            raise refused(channel, status, read_error_object(body), read_retry_after(headers), (channel.api_key,))
        return body


def _leave_out(body: dict[str, Any], name: str, request: ChatRequest) -> bool:
    """Take a parameter out of the body; False when it is not in it. What was in `output_config` is named by its own. A
    format is said in words instead."""
    config = body.get("output_config", {})
    has_format = "format" in config
    if name in body:
        del body[name]
    elif name in config:
        del config[name]
        if not config:
            del body["output_config"]
    else:
        return False
    if has_format and "format" not in body.get("output_config", {}):
        say_format(body, request.parameters)
    return True


def _credentials(channel: Channel) -> dict[str, str]:
    key = channel.api_key.strip()
    return {"anthropic-version": VERSION, **({"x-api-key": key} if key else {})}


def _url(channel: Channel, path: str) -> str:
    """The endpoint below the channel's base, which may be written with or without the version at its end."""
    parts = urllib.parse.urlsplit(channel.base_url.strip() or VENDOR_URL)
    base = parts.path.rstrip("/").removesuffix("/messages")
    base = base if base.endswith("/v1") else f"{base}/v1"
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc, base + path, "", ""))
