"""The provider: asks generateContent, and hands over what it says as it says it."""

from __future__ import annotations

import urllib.parse
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

import msgspec

from chatserver import Channel, ChatRequest, Egress, Embedded, EmbedRequest, Model, ProviderDelta, UpstreamError
from chatserver.upstreams import (
    MAX_ERROR_BYTES,
    ErrorObject,
    EventReader,
    accepted,
    fetch,
    fetch_vectors,
    kind_of,
    listen,
    question,
    read_retry_after,
    secrets_of,
    unreadable,
)
from chatserver_gemini.answer import Answer
from chatserver_gemini.embedding import read_embedded, write_texts
from chatserver_gemini.listing import decode_page, model_of
from chatserver_gemini.question import can_think, write_body
from chatserver_gemini.refusal import read_refusal, refused

VENDOR_URL = "https://generativelanguage.googleapis.com"
VERSION = "v1beta"
"""The version whose models think and take schemas."""
MAX_PAGES = 20
LIST_S = 15.0
MAX_REMEMBERED = 1_000


class GeminiProvider:
    """Implements the Provider protocol for the Gemini API."""

    name = "gemini"

    def __init__(self) -> None:
        self._api_key = ""
        self._base_url = VENDOR_URL
        # Whether a model thinks, by address and name: told by the list, or learned by a refusal.
        self._thinks: dict[tuple[str, str], bool] = {}
        # Models that take no degree of thought, or not the one that was asked for.
        self._no_degree: set[tuple[str, str]] = set()

    def configure(self, api_key: str, base_url: str) -> None:
        self._api_key = api_key.strip()
        self._base_url = base_url.strip() or VENDOR_URL

    async def discover(self, http: Egress) -> list[Channel]:
        if not self._api_key:
            return []
        return [Channel(self.name, self.name, self._base_url, self._api_key, source="found")]

    async def list_models(self, channel: Channel, http: Egress) -> list[Model]:
        models: dict[str, Model] = {}
        query = "?pageSize=1000"
        for _ in range(MAX_PAGES):
            body = await self._get(channel, http, f"{_url(channel, 'models')}{query}")
            try:
                page = decode_page(body)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                raise unreadable(channel.name, kind_of(body)) from None
            for listed in page.models:
                if listed.can_chat or listed.embeds:
                    models.setdefault(listed.id, model_of(listed))
                    self._remember((channel.base_url, listed.id), listed.thinks)
            if not page.next_page_token:
                break
            query = f"?pageSize=1000&pageToken={urllib.parse.quote(page.next_page_token, safe='')}"
        return list(models.values())

    async def chat(self, request: ChatRequest, channel: Channel, http: Egress) -> AsyncIterator[ProviderDelta]:
        place = (channel.base_url, request.model)
        body = write_body(request, thinks=self._thinks.get(place, can_think(request.model)))
        if place in self._no_degree:
            _ask_no_degree(body)
        method = "streamGenerateContent?alt=sse" if request.stream else "generateContent"
        secrets = secrets_of(request, channel)
        for _ in range(3):
            credentials = _credentials(channel)
            asked = question(
                http,
                channel,
                _url(channel, f"models/{urllib.parse.quote(request.model, safe='')}:{method}"),
                body,
                credentials,
                accept=accepted(request.stream),
            )
            async with asked as response:
                if 200 <= response.status < 300:
                    answer = Answer(channel, secrets)
                    async with aclosing(listen(response, channel, answer, EventReader())) as deltas:
                        async for delta in deltas:
                            yield delta
                    return
                _, error, wait_s = read_refusal(await response.read(MAX_ERROR_BYTES))
                if not self._gives_in(place, body, response.status, error):
                    told_s = read_retry_after(response.headers)
                    raise refused(channel, response.status, error, wait_s if told_s is None else told_s, secrets)
        raise refused(channel, 400, ErrorObject(), None, secrets)

    async def embed(self, request: EmbedRequest, channel: Channel, http: Egress) -> Embedded:
        place = f"models/{urllib.parse.quote(request.model, safe='')}:batchEmbedContents"
        asked = question(http, channel, _url(channel, place), write_texts(request), _credentials(channel))

        def refuse(status: int, headers: Mapping[str, str], told: bytes, secrets: tuple[str, ...]) -> UpstreamError:
            _, error, wait_s = read_refusal(told)
            told_s = read_retry_after(headers)
            return refused(channel, status, error, wait_s if told_s is None else told_s, secrets)

        return await fetch_vectors(asked, channel, request, read_embedded, refuse)

    def _gives_in(self, place: tuple[str, str], body: dict[str, Any], status: int, error: ErrorObject) -> bool:
        """Is this refusal about thinking? Then it is asked without a degree, and without thoughts when that is too
        much still; and that is remembered."""
        if status != 400 or "think" not in error.message.lower():
            return False
        if _ask_no_degree(body):
            self._no_degree.add(place)
            return True
        config = body.get("generationConfig", {})
        if config.pop("thinkingConfig", None) is None:
            return False
        self._remember(place, False)
        return True

    def _remember(self, place: tuple[str, str], thinks: bool) -> None:
        if len(self._thinks) >= MAX_REMEMBERED and place not in self._thinks:
            self._thinks.clear()
            self._no_degree.clear()
        self._thinks[place] = thinks

    async def _get(self, channel: Channel, http: Egress, url: str) -> bytes:
        status, _, body = await fetch(http, url, _credentials(channel), LIST_S)
        if status != 200:
            _, error, wait_s = read_refusal(body)
            raise refused(channel, status, error, wait_s, (channel.api_key,))
        return body


def _ask_no_degree(body: dict[str, Any]) -> bool:
    """Leave the degree of thought to the model; False when none was asked for."""
    thinking = body.get("generationConfig", {}).get("thinkingConfig", {})
    return any([thinking.pop("thinkingLevel", None) is not None, thinking.pop("thinkingBudget", None) is not None])


def _credentials(channel: Channel) -> dict[str, str]:
    """In a header: addresses end up in logs."""
    key = channel.api_key.strip()
    return {"x-goog-api-key": key} if key else {}


def _url(channel: Channel, path: str) -> str:
    """Below the channel's base; one without a version is taken to serve this one."""
    parts = urllib.parse.urlsplit(channel.base_url.strip() or VENDOR_URL)
    base = parts.path.rstrip("/").removesuffix("/models").removesuffix("/openai")
    if not base.rpartition("/")[2].startswith(("v1", "v2")):
        base = f"{base}/{VERSION}"
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc, base, "", "")) + "/" + path
