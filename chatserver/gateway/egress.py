"""The only way out of the house: one HTTP client that checks every address it connects to."""

from __future__ import annotations

import asyncio
import errno
import io
import socket
import ssl
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, cast

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.hdrs import AUTHORIZATION
from multidict import CIMultiDict
from yarl import URL

from chatserver.errors import UpstreamError
from chatserver.gateway import addresses

Profile = Literal["foreign", "channel"]
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Name and port to addresses, as text. OSError when the name is unknown."""

FOREIGN_CONNECT_S = 5.0
FOREIGN_TOTAL_S = 30.0
FOREIGN_LIMIT_BYTES = 20_000_000
FOREIGN_PORTS = frozenset({80, 443})
CHANNEL_CONNECT_S = 10.0
CHANNEL_LIMIT_BYTES = 500_000_000
MAX_REDIRECTS = 3
DNS_CACHE_S = 30
READ_BUFFER_BYTES = 65_536
INFLATE_STEP_BYTES = 65_536
SECOND_LOOK_S = 0.05
LARGE_BODY_BYTES = 500_000
"""Above this aiohttp warns of bytes and wants a file."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_KEPT_ACROSS_ORIGINS = frozenset({"accept", "accept-language", "user-agent"})
_CONNECTION_LOST = (
    aiohttp.ClientConnectionError,
    aiohttp.ClientPayloadError,
    aiohttp.http_exceptions.HttpProcessingError,
)


class AddressRefused(UpstreamError):
    """The URL names a place this profile never connects to."""

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message, kind="bad_request", retryable=retryable)
        self.code = "address_refused"


async def resolve_by_system(host: str, port: int) -> Sequence[str]:
    """Ask the operating system, in its thread."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return [str(sockaddr[0]) for _, _, _, _, sockaddr in found]


class EgressClient:
    """Implements domain.extend.Egress on aiohttp: no proxy from the environment, no cookies, no retries of its own.

    Profile `foreign` refuses any URL that leads inward: every resolved address is checked, the connection goes to
    exactly what was checked, ports 80 and 443 (or `foreign_ports`), at most 3 redirects each checked anew, 30 s and
    20 MB decoded in all. Profile `channel` goes anywhere but to cloud metadata, with the caller's times, and follows a
    redirect only within the same origin. resolve: how names become addresses; tests bring their own.
    """

    def __init__(
        self,
        *,
        resolve: Resolve = resolve_by_system,
        foreign_ports: Iterable[int] = FOREIGN_PORTS,
        user_agent: str = "chatserver",
    ) -> None:
        self._resolve = resolve
        self._foreign_ports = frozenset(foreign_ports)
        self._user_agent = user_agent
        self._sessions: dict[Profile, aiohttp.ClientSession] = {}
        self._outcomes: Counter[tuple[Profile, str]] = Counter()

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        profile: str = "foreign",
        first_byte_s: float = 30.0,
        gap_s: float = 30.0,
        total_s: float = 30.0,
    ) -> Request:
        """One request. first_byte_s: until the first byte of the answer's body, gap_s: between bytes."""
        if profile == "foreign":
            total_s = min(total_s, FOREIGN_TOTAL_S)
        elif profile != "channel":
            raise ValueError(f"there is no egress profile {profile!r}")
        chosen = cast(Profile, profile)
        return Request(self, method.upper(), url, dict(headers or {}), body, chosen, first_byte_s, gap_s, total_s)

    def count(self, profile: Profile, outcome: str) -> None:
        self._outcomes[profile, outcome] += 1

    def outcomes(self) -> list[tuple[dict[str, str], float]]:
        """How many requests there were since the start, by profile and by how they went: `answered` or an error."""
        return [({"profile": profile, "outcome": how}, many) for (profile, how), many in self._outcomes.items()]

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()
        await asyncio.sleep(0)  # a closed transport lets go of its socket on the loop's next turn

    def session(self, profile: Profile) -> aiohttp.ClientSession:
        """The profile's connection pool, made on first use because it belongs to the running loop."""
        session = self._sessions.get(profile)
        if session is None or session.closed:
            may_reach = addresses.is_foreign if profile == "foreign" else _may_serve_channel
            connector = aiohttp.TCPConnector(
                resolver=_CheckedResolver(self._resolve, may_reach, profile),
                socket_factory=_socket_factory(may_reach),
                limit=0,
                use_dns_cache=profile == "channel",
                ttl_dns_cache=DNS_CACHE_S,
                force_close=profile == "foreign",
            )
            session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(
                    total=None, connect=FOREIGN_CONNECT_S if profile == "foreign" else CHANNEL_CONNECT_S
                ),
                headers={
                    "User-Agent": self._user_agent,
                    "Accept-Encoding": "gzip, deflate" if profile == "foreign" else "identity",
                },
                auto_decompress=False,
                trust_env=False,
                read_bufsize=READ_BUFFER_BYTES,
            )
            self._sessions[profile] = session
        return session

    def check_url(self, text: str | URL, profile: Profile) -> URL:
        """The URL parsed, or AddressRefused: scheme, port, user info, and an address written out are judged here."""
        try:
            url = URL(text) if isinstance(text, str) else text
            host, port = url.raw_host, url.port
        except ValueError:
            host, port = None, None
        if not host or port is None or url.scheme not in ("http", "https"):
            raise AddressRefused("This is not a web address: it must begin with http:// or https:// and name a host.")
        try:
            address = addresses.parse_address(host)
        except ValueError:
            raise AddressRefused(f"{host} is neither a name nor a complete IP address.") from None
        if profile == "foreign":
            if url.raw_user is not None or url.raw_password is not None:
                raise AddressRefused("An address with a user name or password in it is not fetched.")
            if port not in self._foreign_ports:
                raise AddressRefused(f"Port {port} is not fetched from; only the usual web ports are.")
            if address is not None and not addresses.is_foreign(address):
                raise AddressRefused(f"{host} is not an address of the public internet.")
        elif address is not None and addresses.is_metadata(address):
            raise AddressRefused(f"{host} belongs to the machine's cloud and serves no models.", retryable=True)
        return url


class Request:
    """One request under way; leaving it closes the connection at once unless the answer was read to its end."""

    __slots__ = (
        "_body",
        "_client",
        "_first_byte_s",
        "_gap_s",
        "_headers",
        "_method",
        "_profile",
        "_response",
        "_total_s",
        "_url",
    )

    def __init__(
        self,
        client: EgressClient,
        method: str,
        url: str,
        headers: dict[str, str],
        body: bytes,
        profile: Profile,
        first_byte_s: float,
        gap_s: float,
        total_s: float,
    ) -> None:
        self._client = client
        self._method = method
        self._url = url
        self._headers = headers
        self._body = body
        self._profile: Profile = profile
        self._first_byte_s = first_byte_s
        self._gap_s = gap_s
        self._total_s = total_s
        self._response: Response | None = None

    async def __aenter__(self) -> Response:
        try:
            response = await self._begin()
        except UpstreamError as error:
            self._client.count(self._profile, "refused" if isinstance(error, AddressRefused) else error.kind)
            raise
        self._client.count(self._profile, "answered")
        return response

    async def _begin(self) -> Response:
        now = asyncio.get_running_loop().time()
        first_at, total_at = now + self._first_byte_s, now + self._total_s
        url = self._client.check_url(self._url, self._profile)
        try:
            async with asyncio.timeout_at(min(first_at, total_at)):
                answer = await self._follow(url)
        except UpstreamError:
            raise
        except aiohttp.ConnectionTimeoutError:
            raise _unreachable(url, "the connection was not made in time") from None
        except TimeoutError:
            raise _too_slow(url, "did not begin to answer in time") from None
        except aiohttp.ClientSSLError as error:
            raise _unreachable(url, _tell_ssl(error)) from None
        except aiohttp.ClientConnectorDNSError:
            raise _unreachable(url, "the name is not known") from None
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, _RefusedAtConnect):
                raise AddressRefused(f"{url.raw_host} leads to an address that is not connected to.") from None
            raise _unreachable(url, _tell_os(error.os_error)) from None
        except (aiohttp.InvalidURL, ValueError):
            raise UpstreamError(
                f"The request to {_place(url)} could not be written; check its address and key for stray characters.",
                kind="bad_request",
                retryable=True,
            ) from None
        except (aiohttp.ClientError, *_CONNECTION_LOST, OSError):
            raise _unreachable(url, "the connection was closed before an answer came") from None
        limit_bytes = FOREIGN_LIMIT_BYTES if self._profile == "foreign" else CHANNEL_LIMIT_BYTES
        self._response = Response(answer, first_at, self._gap_s, total_at, limit_bytes)
        return self._response

    async def __aexit__(self, *error: object) -> None:
        if self._response is not None:
            self._response.close()

    async def _follow(self, url: URL) -> aiohttp.ClientResponse:
        """Send, and send again where redirects lead, as far as the profile allows."""
        session = self._client.session(self._profile)
        method, headers, body = self._method, CIMultiDict(self._headers), self._body
        for _ in range(MAX_REDIRECTS + 1):
            if AUTHORIZATION in headers and url.raw_user is not None:
                url = url.with_user(None)
            answer = await session.request(
                method,
                url,
                headers=headers,
                data=io.BytesIO(body) if len(body) > LARGE_BODY_BYTES else body or None,
                allow_redirects=False,
            )
            location = answer.headers.get("Location") if answer.status in _REDIRECTS else None
            if location is None:
                return answer
            answer.close()
            try:
                target = url.join(URL(location))
            except ValueError:
                raise AddressRefused(f"{_place(url)} redirects to something that is not an address.") from None
            target = self._client.check_url(target, self._profile)
            is_same_origin = target.origin() == url.origin()
            if self._profile == "channel" and not is_same_origin:
                raise AddressRefused(
                    f"{_place(url)} redirects to {_place(target)}; set the channel's base_url to where it really is.",
                    retryable=True,
                )
            if self._profile == "foreign":
                if answer.status == 303 or (answer.status in (301, 302) and method == "POST"):
                    method, body = ("HEAD" if method == "HEAD" else "GET"), b""
                if not is_same_origin:
                    if body:
                        raise AddressRefused(f"{_place(url)} redirects what was sent to {_place(target)}.")
                    headers = CIMultiDict(
                        (name, value) for name, value in headers.items() if name.lower() in _KEPT_ACROSS_ORIGINS
                    )
            url = target
        raise AddressRefused(f"{_place(url)} was reached through more than {MAX_REDIRECTS} redirects.")


class Response:
    """What came back, under the gap and total rules. One timer watches a whole answer, not one for each chunk."""

    __slots__ = (
        "_answer",
        "_gap_s",
        "_heard_at",
        "_is_suspect",
        "_is_waiting",
        "_limit_bytes",
        "_loop",
        "_next_at",
        "_timer",
        "_total_at",
        "headers",
        "status",
    )

    def __init__(
        self, answer: aiohttp.ClientResponse, first_at: float, gap_s: float, total_at: float, limit_bytes: int
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._answer = answer
        self._gap_s = gap_s
        self._total_at = total_at
        self._limit_bytes = limit_bytes
        self._is_waiting = False
        self._is_suspect = False
        self._heard_at = 0.0
        self._next_at = first_at
        self._timer: asyncio.TimerHandle | None = self._loop.call_at(min(first_at, total_at), self._watch)
        self.status: int = answer.status
        self.headers: Mapping[str, str] = answer.headers

    async def chunks(self) -> AsyncIterator[bytes]:
        """Bytes as they arrive, decoded. UpstreamError: timeout, cut (the connection broke), server (too large)."""
        content = self._answer.content
        inflate = _decoder(self.headers.get("Content-Encoding", ""), _place(self._answer.url))
        time = self._loop.time
        total_bytes = 0
        broken: UpstreamError | None = None
        try:
            while broken is None:
                self._is_waiting = True
                try:
                    data = await content.readany()
                except UpstreamError as error:
                    data, broken = _left_over(content), error
                except _CONNECTION_LOST:
                    data, broken = _left_over(content), _cut(self._answer.url, self.status)
                self._is_waiting = False
                if not data:
                    break
                if not self._heard_at:
                    self._heard_at = time()
                    self._watch_anew()
                if inflate is None:
                    total_bytes += len(data)
                    if total_bytes > self._limit_bytes:
                        raise self._too_large()
                    yield data
                else:
                    for piece in inflate(data):
                        total_bytes += len(piece)
                        if total_bytes > self._limit_bytes:
                            raise self._too_large()
                        yield piece
                self._heard_at = time()
        finally:
            self._is_waiting = False
        if broken is not None:
            raise broken

    async def read(self, limit_bytes: int = FOREIGN_LIMIT_BYTES) -> bytes:
        """The whole body, decoded; UpstreamError when it is longer than the limit."""
        self._limit_bytes = min(self._limit_bytes, limit_bytes)
        return b"".join([chunk async for chunk in self.chunks()])

    def close(self) -> None:
        """Give the connection back when all was read, else cut it now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._answer.content.at_eof():
            self._answer.release()
        else:
            self._answer.close()

    def _watch_anew(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._watch()

    def _watch(self) -> None:
        now = self._loop.time()
        if now >= self._total_at:
            return self._break("took longer than allowed for a whole answer")
        if self._heard_at:
            # A reader that is slow itself is no silence of the upstream.
            self._next_at = (self._heard_at if self._is_waiting else now) + self._gap_s
        if now >= self._next_at and self._is_suspect:
            return self._break("fell silent" if self._heard_at else "did not begin to answer in time")
        # When it was our own loop that stood still, what arrived meanwhile is read before anybody is blamed.
        self._is_suspect = now >= self._next_at
        wake_at = now + SECOND_LOOK_S if self._is_suspect else self._next_at
        self._timer = self._loop.call_at(min(wake_at, self._total_at), self._watch)

    def _break(self, what: str) -> None:
        self._timer = None
        self._answer.content.set_exception(_too_slow(self._answer.url, what, self.status))
        self._answer.close()

    def _too_large(self) -> UpstreamError:
        return UpstreamError(
            f"{_place(self._answer.url)} answered with more than {self._limit_bytes // 1_000_000} MB.",
            kind="server",
            retryable=False,
            upstream_status=self.status,
        )


class _RefusedAtConnect(OSError):
    """The last look, at the moment of connecting, found an address that must not be reached."""


class _CheckedResolver(AbstractResolver):
    """Resolves a name, judges every address found, and hands the connector exactly those."""

    def __init__(self, resolve: Resolve, may_reach: Callable[[addresses.Address], bool], profile: Profile) -> None:
        self._resolve = resolve
        self._may_reach = may_reach
        self._profile = profile

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        results: list[ResolveResult] = []
        for text in await self._resolve(host, port):
            address = addresses.parse_address(text)
            if address is None or not self._may_reach(address):
                raise AddressRefused(
                    f"{host} leads to an address that is not connected to.", retryable=self._profile == "channel"
                )
            results.append(
                ResolveResult(
                    hostname=host,
                    host=text,
                    port=port,
                    family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                    proto=socket.IPPROTO_TCP,
                    flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
                )
            )
        if not results:
            raise OSError(errno.ENOENT, "the name has no address")
        return results

    async def close(self) -> None:
        return None


def _socket_factory(may_reach: Callable[[addresses.Address], bool]) -> Callable[[Any], socket.socket]:
    def make_socket(info: tuple[int, int, int, str, tuple[Any, ...]]) -> socket.socket:
        family, kind, protocol, _, target = info
        address = addresses.parse_address(str(target[0]))
        if address is None or not may_reach(address):
            raise _RefusedAtConnect(errno.EACCES, "this address is not connected to")
        return socket.socket(family, kind, protocol)

    return make_socket


def _may_serve_channel(address: addresses.Address) -> bool:
    return not addresses.is_metadata(address)


def _decoder(encoding: str, place: str) -> Callable[[bytes], Iterable[bytes]] | None:
    """Inflates in steps, so that a bomb is noticed before it has gone off; None for a body that is not compressed."""
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return None
    if name not in ("gzip", "x-gzip", "deflate"):
        raise UpstreamError(f"{place} answered in an encoding nobody asked for.", kind="server", retryable=False)
    inflater: Any = None

    def inflate(data: bytes) -> Iterable[bytes]:
        nonlocal inflater
        try:
            while data:
                if inflater is None:
                    is_raw = name == "deflate" and (data[0] & 0x0F) != 8
                    inflater = zlib.decompressobj(-zlib.MAX_WBITS if is_raw else zlib.MAX_WBITS | 32)
                piece = inflater.decompress(data, INFLATE_STEP_BYTES)
                if piece:
                    yield piece
                data = inflater.unconsumed_tail
                if inflater.eof:
                    data, inflater = inflater.unused_data, None
                    if name == "deflate" or not data.startswith(b"\x1f\x8b"):
                        return
        except zlib.error:
            raise UpstreamError(
                f"{place} answered with a body that cannot be decoded.", kind="server", retryable=False
            ) from None

    return inflate


def _left_over(content: aiohttp.StreamReader) -> bytes:
    """What had arrived when the connection broke: received is received, though aiohttp's readers raise first."""
    return b"".join(getattr(content, "_buffer", ()))


def _cut(url: URL, status: int) -> UpstreamError:
    return UpstreamError(
        f"{_place(url)} closed the connection in the middle of its answer.",
        kind="cut",
        retryable=True,
        upstream_status=status,
    )


def _place(url: URL) -> str:
    """Host and port alone: a path, query or user name may hold a secret."""
    host = url.raw_host or "?"
    return f"[{host}]:{url.port}" if ":" in host else f"{host}:{url.port}"


def _unreachable(url: URL, why: str) -> UpstreamError:
    return UpstreamError(f"{_place(url)} could not be reached: {why}.", kind="connect", retryable=True)


def _too_slow(url: URL, what: str, status: int = 0) -> UpstreamError:
    return UpstreamError(f"{_place(url)} {what}.", kind="timeout", retryable=True, upstream_status=status)


def _tell_ssl(error: aiohttp.ClientSSLError) -> str:
    inner = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else None
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        certificate = error.certificate_error
        if isinstance(certificate, ssl.SSLCertVerificationError):
            return f"its certificate was not accepted ({certificate.verify_message})"
        return "its certificate was not accepted"
    return f"no secure connection could be made{' (' + inner.reason + ')' if isinstance(inner, ssl.SSLError) else ''}"


def _tell_os(error: OSError) -> str:
    if error.errno == errno.ECONNREFUSED:
        return "nothing listens there"
    return (error.strerror or "the connection failed").lower().rstrip(".")
