"""The only way out of the house: one HTTP client that checks every address it connects to."""

from __future__ import annotations

import asyncio
import io
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import cast

import aiohttp
from aiohttp.hdrs import AUTHORIZATION
from multidict import CIMultiDict
from yarl import URL

from chatserver.errors import UpstreamError
from chatserver.gateway import addresses
from chatserver.gateway.dialling import (
    CheckedResolver,
    Profile,
    RefusedAtConnect,
    Resolve,
    may_serve_channel,
    resolve_by_system,
    socket_factory,
)
from chatserver.gateway.mishaps import (
    CONNECTION_LOST,
    AddressRefused,
    place_of,
    tell_os,
    tell_ssl,
    too_slow,
    unreachable,
)
from chatserver.gateway.response import FOREIGN_LIMIT_BYTES, Response

FOREIGN_CONNECT_S = 5.0
FOREIGN_TOTAL_S = 30.0
FOREIGN_PORTS = frozenset({80, 443})
CHANNEL_CONNECT_S = 10.0
CHANNEL_LIMIT_BYTES = 500_000_000
MAX_REDIRECTS = 3
DNS_CACHE_S = 30
READ_BUFFER_BYTES = 65_536
LARGE_BODY_BYTES = 500_000
"""Above this aiohttp warns of bytes and wants a file."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_KEPT_ACROSS_ORIGINS = frozenset({"accept", "accept-language", "user-agent"})


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
        for _ in range(5):  # a closed transport lets go of its socket some turns of the loop later
            await asyncio.sleep(0)

    def session(self, profile: Profile) -> aiohttp.ClientSession:
        """The profile's connection pool, made on first use because it belongs to the running loop."""
        session = self._sessions.get(profile)
        if session is None or session.closed:
            may_reach = addresses.is_foreign if profile == "foreign" else may_serve_channel
            connector = aiohttp.TCPConnector(
                resolver=CheckedResolver(self._resolve, may_reach, profile),
                socket_factory=socket_factory(may_reach),
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
            raise unreachable(url, "the connection was not made in time") from None
        except TimeoutError:
            raise too_slow(url, "did not begin to answer in time") from None
        except aiohttp.ClientSSLError as error:
            raise unreachable(url, tell_ssl(error)) from None
        except aiohttp.ClientConnectorDNSError:
            raise unreachable(url, "the name is not known") from None
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, RefusedAtConnect):
                raise AddressRefused(f"{url.raw_host} leads to an address that is not connected to.") from None
            raise unreachable(url, tell_os(error.os_error)) from None
        except (aiohttp.InvalidURL, ValueError):
            raise UpstreamError(
                f"The request to {place_of(url)} could not be written; check its address and key for stray characters.",
                kind="bad_request",
                retryable=True,
            ) from None
        except (aiohttp.ClientError, *CONNECTION_LOST, OSError):
            raise unreachable(url, "the connection was closed before an answer came") from None
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
                raise AddressRefused(f"{place_of(url)} redirects to something that is not an address.") from None
            target = self._client.check_url(target, self._profile)
            is_same_origin = target.origin() == url.origin()
            if self._profile == "channel" and not is_same_origin:
                raise AddressRefused(
                    f"{place_of(url)} redirects to {place_of(target)};"
                    " set the channel's base_url to where it really is.",
                    retryable=True,
                )
            if self._profile == "foreign":
                if answer.status == 303 or (answer.status in (301, 302) and method == "POST"):
                    method, body = ("HEAD" if method == "HEAD" else "GET"), b""
                if not is_same_origin:
                    if body:
                        raise AddressRefused(f"{place_of(url)} redirects what was sent to {place_of(target)}.")
                    headers = CIMultiDict(
                        (name, value) for name, value in headers.items() if name.lower() in _KEPT_ACROSS_ORIGINS
                    )
            url = target
        raise AddressRefused(f"{place_of(url)} was reached through more than {MAX_REDIRECTS} redirects.")
