"""A conversation with one MCP server over streamable HTTP: greeted once, found again when the server forgot us."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec

from chatserver import Egress, EgressResponse, Unavailable, UpstreamError, __version__
from chatserver_mcp.protocol import (
    VERSIONS,
    Answer,
    CallResult,
    EventReader,
    RemoteTool,
    decode_answer,
    decode_greeting,
    decode_result,
    decode_tools,
    encode,
    notification,
    request,
)
from chatserver_mcp.servers import ServerAddress

CALL_S = 40.0
"""Longer than a tool may take, so that the core's own bound speaks first."""
GREET_S = 8.0
BODY_MAX_BYTES = 4_000_000
PAGES_MAX = 10
NO_SUCH_METHOD = -32601


class SessionLost(Exception):
    """The server does not know our session any more."""


class Connection:
    """Requests to one server. Errors are Unavailable with a sentence for the model and the person."""

    def __init__(self, address: ServerAddress, http: Egress) -> None:
        self.address = address
        self._http = http
        self._numbers = itertools.count(1)
        self._session = ""
        self._version = ""
        self._greeting = asyncio.Lock()

    async def tools(self) -> list[RemoteTool]:
        """All tools of the server, over all pages."""
        found: list[RemoteTool] = []
        cursor: str | None = None
        for _ in range(PAGES_MAX):
            told = await self._ask("tools/list", {"cursor": cursor} if cursor else {}, GREET_S)
            page = self._read(decode_tools, told)
            found += page.tools
            cursor = page.next_cursor
            if not cursor:
                break
        return found

    async def call(self, tool: str, arguments: dict[str, Any]) -> CallResult:
        told = await self._ask("tools/call", {"name": tool, "arguments": arguments}, CALL_S)
        return self._read(decode_result, told)

    async def close(self) -> None:
        """Tell the server that the session is over, if there is one; what it says to that does not matter."""
        if not self._session:
            return
        try:
            async with self._send("DELETE", b"", GREET_S):
                pass
        except UpstreamError:
            pass

    async def _ask(self, method: str, params: dict[str, Any], within_s: float) -> msgspec.Raw:
        for is_last in (False, True):
            await self._greet()
            session = self._session
            try:
                return await self._exchange(method, params, within_s)
            except SessionLost:
                if self._session == session:
                    self._session = self._version = ""
                if is_last:
                    raise self._unavailable("does not know the session it just gave") from None
        raise AssertionError("either answered or raised")

    async def _greet(self) -> None:
        async with self._greeting:
            if self._version:
                return
            params = {
                "protocolVersion": VERSIONS[0],
                "capabilities": {},
                "clientInfo": {"name": "chatserver", "version": __version__},
            }
            try:
                told = await self._exchange("initialize", params, GREET_S)
            except SessionLost:
                raise self._unavailable("is not at this address") from None
            version = self._read(decode_greeting, told).protocol_version
            if version not in VERSIONS:
                self._session = ""
                raise self._unavailable(f"speaks version {version[:40]!r} of the protocol, which is not spoken here")
            self._version = version
            await self._tell(notification("notifications/initialized"))

    async def _exchange(self, method: str, params: dict[str, Any], within_s: float) -> msgspec.Raw:
        number = next(self._numbers)
        try:
            async with self._send("POST", request(number, method, params), within_s) as response:
                self._check(response)
                if method == "initialize":
                    self._session = _header(response.headers, "mcp-session-id")
                async for answer in _answers(response):
                    if answer.method:
                        await self._turn_down(answer)
                    elif answer.id == number:
                        return self._result_of(answer)
        except UpstreamError as error:
            raise self._unavailable(f"could not be asked: {error.message}") from error
        except (msgspec.MsgspecError, ValueError) as error:
            raise self._unavailable("said something that cannot be read") from error
        except asyncio.CancelledError:
            if method == "tools/call":
                self._cancel_soon(number)
            raise
        raise self._unavailable("did not answer")

    def _send(self, method: str, body: bytes, within_s: float) -> Any:
        headers = {"Accept": "application/json, text/event-stream"}
        if body:
            headers["Content-Type"] = "application/json"
        if self._version:
            headers["MCP-Protocol-Version"] = self._version
        if self._session:
            headers["Mcp-Session-Id"] = self._session
        if self.address.token:
            headers["Authorization"] = f"Bearer {self.address.token}"
        return self._http.request(
            method,
            self.address.url,
            headers=headers,
            body=body,
            profile="channel",  # the address was written down by who runs this server
            first_byte_s=within_s,
            gap_s=within_s,
            total_s=within_s,
        )

    async def _tell(self, body: bytes) -> None:
        """Send what wants no answer."""
        try:
            async with self._send("POST", body, GREET_S) as response:
                await response.read(BODY_MAX_BYTES)
        except UpstreamError as error:
            raise self._unavailable(f"could not be asked: {error.message}") from error

    async def _turn_down(self, asked: Answer) -> None:
        """A server may ask whether we are there; nothing else is offered to it."""
        if asked.id is None:
            return
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": asked.id}
        if asked.method == "ping":
            answer["result"] = {}
        else:
            answer["error"] = {"code": NO_SUCH_METHOD, "message": "This client does not do that."}
        await self._tell(encode(answer))

    def _cancel_soon(self, number: int) -> None:
        """Nobody waits for this any more: the server is told, by a task of its own, because ours is being cancelled."""
        params = {"requestId": number, "reason": "The turn was stopped."}
        task = asyncio.ensure_future(self._tell(notification("notifications/cancelled", params)))
        _farewells.add(task)
        task.add_done_callback(_let_go)

    def _check(self, response: EgressResponse) -> None:
        if response.status == 404 and self._session:
            raise SessionLost
        if response.status in (401, 403):
            raise self._unavailable("does not accept the token it was given")
        if not 200 <= response.status < 300:
            raise self._unavailable(f"answered with the status {response.status}")

    def _result_of(self, answer: Answer) -> msgspec.Raw:
        if answer.error is not None:
            raise self._unavailable(f"says: {answer.error.message[:500]}")
        return answer.result

    def _read(self, decode: Any, told: msgspec.Raw) -> Any:
        try:
            return decode(told)
        except (msgspec.MsgspecError, ValueError) as error:
            raise self._unavailable("said something that cannot be read") from error

    def _unavailable(self, what: str) -> Unavailable:
        text = f"The MCP server {self.address.name} {what}"
        token = self.address.token
        return Unavailable((text.replace(token, "…") if token else text).rstrip(".") + ".", code="mcp_server")


_farewells: set[asyncio.Future[None]] = set()


def _let_go(task: asyncio.Future[None]) -> None:
    _farewells.discard(task)
    if not task.cancelled():
        task.exception()


def _header(headers: Mapping[str, str], wanted: str) -> str:
    return next((value for name, value in headers.items() if name.lower() == wanted), "")


async def _answers(response: EgressResponse) -> AsyncIterator[Answer]:
    """Every message of a response, whichever of the two forms it has."""
    if not _header(response.headers, "content-type").startswith("text/event-stream"):
        yield decode_answer(await response.read(BODY_MAX_BYTES))
        return
    reader = EventReader()
    async for chunk in response.chunks():
        for data in reader.feed(chunk):
            yield decode_answer(data)
