"""From a name to a connection: every address is judged when it is resolved, and again when it is connected to."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

from aiohttp.abc import AbstractResolver, ResolveResult

from chatserver.gateway import addresses
from chatserver.gateway.mishaps import AddressRefused

Profile = Literal["foreign", "channel"]
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Name and port to addresses, as text. OSError when the name is unknown."""


async def resolve_by_system(host: str, port: int) -> Sequence[str]:
    """Ask the operating system, in its thread."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return [str(sockaddr[0]) for _, _, _, _, sockaddr in found]


class RefusedAtConnect(OSError):
    """The last look, at the moment of connecting, found an address that must not be reached."""


class CheckedResolver(AbstractResolver):
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


def socket_factory(may_reach: Callable[[addresses.Address], bool]) -> Callable[[Any], socket.socket]:
    def make_socket(info: tuple[int, int, int, str, tuple[Any, ...]]) -> socket.socket:
        family, kind, protocol, _, target = info
        address = addresses.parse_address(str(target[0]))
        if address is None or not may_reach(address):
            raise RefusedAtConnect(errno.EACCES, "this address is not connected to")
        return socket.socket(family, kind, protocol)

    return make_socket


def may_serve_channel(address: addresses.Address) -> bool:
    return not addresses.is_metadata(address)
