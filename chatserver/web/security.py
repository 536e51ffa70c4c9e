"""Where a request comes from, and whether it may: the Host rule, the client's address, and no forged requests."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from chatserver.errors import Refused

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
OPERATIONAL_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
"""A probe on the machine itself may ask for these by a loopback name, whatever the public address is."""
Headers = Mapping[bytes, bytes]


class Origin:
    """The one address this server answers to: `public_url`, or without one the loopback names with the bound port."""

    def __init__(self, public_url: str) -> None:
        parts = urlsplit(public_url)
        self.is_https = parts.scheme == "https"
        self.is_public = bool(public_url)
        self.host = parts.netloc.lower()
        self.origin = f"{parts.scheme}://{self.host}" if public_url else ""
        default_port = {"http": ":80", "https": ":443"}.get(parts.scheme, "")
        bare = self.host.removesuffix(default_port) if default_port else self.host
        self._hosts = {bare, bare + default_port} if parts.port is None or bare != self.host else {self.host}
        self.origin = f"{parts.scheme}://{bare}" if public_url else ""

    @property
    def cookie_name(self) -> str:
        """Over https no other host or path can have set it; on plain http only browsers on the machine get that far."""
        return "__Host-sid" if self.is_https else "sid"

    def admits_host(self, host: str, port: int, *, path: str, peer: str) -> bool:
        """Whether this Host header means us. port: the one we are bound to."""
        host = host.lower()
        if self.is_public and host in self._hosts:
            return True
        if self.is_public and not (path in OPERATIONAL_PATHS and is_loopback(peer)):
            return False
        return any(host == f"{name}:{port}" or (port == 80 and host == name) for name in LOOPBACK_NAMES)

    def own_origin(self, scheme: str, host: str) -> str:
        """What a browser on one of our pages sends as Origin. host: a Host header that was admitted."""
        return self.origin or f"{scheme}://{host.lower()}"


def check_same_origin(headers: Headers, own_origin: str) -> None:
    """The first layer: refuse a change that another site asked for, whatever its content type.

    Raises Refused `cross_origin`. Both headers absent is refused as well: programs use keys, not cookies.
    """
    site = headers.get(b"sec-fetch-site")
    if site is not None:
        allowed = site == b"same-origin"
    else:
        allowed = headers.get(b"origin", b"").decode("latin-1").lower() == own_origin
    if not allowed:
        raise Refused(
            "This was not sent from a page of this server. Open the page again and repeat it from there; programs use"
            " an API key.",
            code="cross_origin",
        )


def check_token(given: str, expected: str) -> None:
    """The second layer: the form or the X-CSRF header must carry the session's token. Raises Refused `csrf`."""
    if not expected or not hmac.compare_digest(given.encode(), expected.encode()):
        raise Refused("This page is from an earlier session. Load it again and repeat what you did.", code="csrf")


def is_loopback(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        return parsed.ipv4_mapped.is_loopback
    return parsed.is_loopback


class TrustedProxies:
    """The peers whose X-Forwarded-* headers are believed. Nobody by default."""

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks = [ipaddress.ip_network(network, strict=False) for network in networks]

    def __contains__(self, address: str) -> bool:
        if not self._networks:
            return False
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
            parsed = parsed.ipv4_mapped
        return any(parsed in network for network in self._networks if network.version == parsed.version)

    def client_of(self, peer: str, forwarded_for: str) -> str:
        """The address of who asks: the last in the chain that is no proxy of ours, or the peer itself."""
        if peer not in self:
            return peer
        for hop in reversed([part.strip() for part in forwarded_for.split(",")]):
            try:
                address = str(ipaddress.ip_address(hop.strip("[]")))
            except ValueError:
                return peer
            if address not in self:
                return address
            peer = address
        return peer

    def scheme_of(self, peer: str, scheme: str, forwarded_proto: str) -> str:
        return forwarded_proto if peer in self and forwarded_proto in ("http", "https") else scheme
