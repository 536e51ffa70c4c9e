"""The provider: asks an OpenAI-compatible endpoint, and hands over what it says as it says it."""

from __future__ import annotations

import ipaddress
import re
import urllib.parse
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

import msgspec

from chatserver import (
    Channel,
    ChatRequest,
    Egress,
    Embedded,
    EmbedRequest,
    Model,
    ProviderDelta,
    UpstreamError,
)
from chatserver.upstreams import (
    MAX_ERROR_BYTES,
    ErrorObject,
    EventReader,
    accepted,
    failure,
    fetch,
    fetch_vectors,
    kind_of,
    listen,
    question,
    read_error_object,
    read_retry_after,
    secrets_of,
    unreadable,
)
from chatserver_openai.embedding import read_embedded
from chatserver_openai.hearing import Hearing
from chatserver_openai.listing import read_details, read_models, read_props, read_told
from chatserver_openai.question import write_body

VENDOR_URL = "https://api.openai.com/v1"
LIST_S = 15.0
DETAIL_S = 5.0
PRIVATE_FIRST_TOKEN_S = 300.0
"""A machine at home loads its model before it speaks."""
MAX_CONCESSIONS = 4
"""How many parameters an endpoint may turn down before we give up."""
MAX_REMEMBERED = 1_000

_NEGOTIABLE = (
    "stream_options",
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "frequency_penalty",
    "presence_penalty",
    "seed",
    "stop",
    "reasoning_effort",
    "verbosity",
    "parallel_tool_calls",
)
_TURNED_DOWN = ("support", "unknown", "unrecognized", "unexpected", "not permitted", "extra", "not allowed", "invalid")


class OpenAIProvider:
    """Implements the Provider protocol for any endpoint that speaks the chat-completions format."""

    name = "openai"

    def __init__(self) -> None:
        self._api_key = ""
        self._base_url = ""
        # What an endpoint turned down for a model: parameter -> what to send instead ('' for nothing).
        self._concessions: dict[tuple[str, str], dict[str, str]] = {}
        # Where sizes might have been told, and there is nothing: asked once and not with every list.
        self._nowhere: set[str] = set()

    def configure(self, api_key: str, base_url: str) -> None:
        self._api_key = api_key.strip()
        self._base_url = base_url.strip()

    async def discover(self, http: Egress) -> list[Channel]:
        """The endpoint named in the environment: a key alone means the vendor's, an address alone needs no key."""
        if not self._api_key and not self._base_url:
            return []
        base_url = self._base_url or VENDOR_URL
        return [
            Channel(
                name="openai",
                provider=self.name,
                base_url=base_url,
                api_key=self._api_key,
                source="found",
                first_token_s=PRIVATE_FIRST_TOKEN_S if _is_at_home(base_url) else 60.0,
            )
        ]

    async def list_models(self, channel: Channel, http: Egress) -> list[Model]:
        status, told = await self._get(channel, http, _url(channel, "/models"), LIST_S)
        if status != 200:
            raise failure(channel.name, status, read_error_object(told), secrets=(channel.api_key,))
        models = read_models(told, knows_vendor=_is_vendor(channel))
        if models or isinstance(told, (dict, list)):
            return await self._with_details(channel, http, told, models)
        raise unreadable(channel.name)

    async def chat(self, request: ChatRequest, channel: Channel, http: Egress) -> AsyncIterator[ProviderDelta]:
        body = write_body(request)
        place = (channel.base_url, request.model)
        if _is_vendor(channel):
            _concede(body, "max_tokens", "max_completion_tokens")
        for name, instead in self._concessions.get(place, {}).items():
            _concede(body, name, instead)
        for _ in range(MAX_CONCESSIONS + 1):
            credentials = _credentials(channel)
            asked = question(
                http, channel, _url(channel, "/chat/completions"), body, credentials, accept=accepted(request.stream)
            )
            async with asked as response:
                if 200 <= response.status < 300:
                    hearing = Hearing(channel, secrets_of(request, channel))
                    async with aclosing(listen(response, channel, hearing, EventReader())) as deltas:
                        async for delta in deltas:
                            yield delta
                    return
                error = read_error_object(await response.read(MAX_ERROR_BYTES))
                if not self._gives_in(place, body, response.status, error):
                    raise failure(
                        channel.name,
                        response.status,
                        error,
                        retry_after_s=read_retry_after(response.headers),
                        secrets=secrets_of(request, channel),
                    )
        raise failure(channel.name, 400, ErrorObject())

    async def embed(self, request: EmbedRequest, channel: Channel, http: Egress) -> Embedded:
        body = {"model": request.model, "input": request.texts, "encoding_format": "float", **request.parameters}
        asked = question(http, channel, _url(channel, "/embeddings"), body, _credentials(channel))

        def refuse(status: int, headers: Mapping[str, str], told: bytes, secrets: tuple[str, ...]) -> UpstreamError:
            wait_s = read_retry_after(headers)
            return failure(channel.name, status, read_error_object(told), retry_after_s=wait_s, secrets=secrets)

        return await fetch_vectors(asked, channel, request, read_embedded, refuse)

    def _gives_in(self, place: tuple[str, str], body: dict[str, Any], status: int, error: ErrorObject) -> bool:
        """Is this refusal about a parameter we can do without? Then the body is changed, and the change remembered."""
        if status not in (400, 422):
            return False
        words = f"{error.param} {error.message}"
        if not any(sign in words.lower() or sign in error.code.lower() for sign in _TURNED_DOWN):
            return False
        for name in _NEGOTIABLE:
            if name in body and re.search(rf"\b{name}\b", words):
                instead = "max_completion_tokens" if name == "max_tokens" and "max_completion_tokens" in words else ""
                if name == "max_tokens" and not instead:
                    continue
                _concede(body, name, instead)
                if len(self._concessions) >= MAX_REMEMBERED:
                    self._concessions.clear()
                self._concessions.setdefault(place, {})[name] = instead
                return True
        return False

    async def _with_details(self, channel: Channel, http: Egress, told: Any, models: list[Model]) -> list[Model]:
        """Sizes some servers tell elsewhere; a server that does not answer there is left with what it said."""
        if not models or _is_vendor(channel):
            return models
        root = _url(channel, "").removesuffix("/v1")
        items = told.get("data") if isinstance(told, dict) else told
        owners = {str(item.get("owned_by", "")) for item in items if isinstance(item, dict)} if items else set()
        if "llamacpp" in owners and len(models) == 1:
            _, props = await self._try_get(channel, http, f"{root}/props")
            if size := read_props(props):
                return [msgspec.structs.replace(models[0], context_tokens=size)]
        if not any(model.context_tokens for model in models) and "library" not in owners:
            _, info = await self._try_get(channel, http, f"{root}/model/info")
            details = read_details(info)
            return [read_told(model, details.get(model.id)) for model in models]
        return models

    async def _try_get(self, channel: Channel, http: Egress, url: str) -> tuple[int, Any]:
        if url in self._nowhere:
            return 404, None
        try:
            status, told = await self._get(channel, http, url, DETAIL_S)
        except UpstreamError:
            return 0, None
        if status == 404:
            self._remember_nowhere(url)
        return (status, told) if status == 200 else (status, None)

    def _remember_nowhere(self, url: str) -> None:
        if len(self._nowhere) >= MAX_REMEMBERED:
            self._nowhere.clear()
        self._nowhere.add(url)

    async def _get(self, channel: Channel, http: Egress, url: str, within_s: float) -> tuple[int, Any]:
        status, _, body = await fetch(http, url, _credentials(channel), within_s)
        try:
            return status, msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            if status == 200:
                raise unreadable(channel.name, kind_of(body)) from None
            return status, body


def _concede(body: dict[str, Any], name: str, instead: str) -> None:
    value = body.pop(name, None)
    if value is not None and instead:
        body[instead] = value


def _credentials(channel: Channel) -> dict[str, str]:
    key = channel.api_key.strip()
    return {"Authorization": f"Bearer {key}"} if key else {}


def _url(channel: Channel, path: str) -> str:
    """The endpoint below the channel's base; a bare host is taken to serve at /v1, as nearly all do."""
    parts = urllib.parse.urlsplit(channel.base_url.strip() or VENDOR_URL)
    base = parts.path.rstrip("/").removesuffix("/chat/completions") or "/v1"
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc, base + path, parts.query, ""))


def _is_vendor(channel: Channel) -> bool:
    return (urllib.parse.urlsplit(channel.base_url or VENDOR_URL).hostname or "") == "api.openai.com"


def _is_at_home(base_url: str) -> bool:
    try:
        host = urllib.parse.urlsplit(base_url).hostname or ""
    except ValueError:
        return False
    if host == "localhost" or host.endswith((".local", ".lan", ".home.arpa", ".internal")):
        return True
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host
