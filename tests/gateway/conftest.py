"""A small website, a canary nobody may wake, and a resolver that says what it is told."""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from chatserver.gateway import addresses
from chatserver.gateway.egress import EgressClient
from chatserver.testing.website import Names, Website

PUBLIC = "127.0.0.2"
"""Stands for an address of the public internet: on Linux all of 127/8 answers."""


@dataclass(frozen=True)
class Street:
    """A website outside, and who listens inside on the same port."""

    outside: Website
    inside: list[Website]

    async def open(self) -> None:
        """Raises OSError when somebody on this machine uses the port on one of the addresses."""
        await self.outside.start()
        for one in self.inside:
            await one.start(self.outside.port)

    async def close(self) -> None:
        for one in (self.outside, *self.inside):
            await one.stop()


@pytest.fixture
async def street() -> AsyncIterator[Street]:
    inside = ["127.0.0.1", "::1"] if has_ipv6() else ["127.0.0.1"]
    for _ in range(20):  # another program may just now be using the port that is free outside
        made = Street(Website(PUBLIC), [Website(host) for host in inside])
        try:
            await made.open()
        except OSError as error:
            await made.close()
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            break
    else:
        raise AssertionError("twenty ports in a row were taken")
    yield made
    await made.close()


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.fixture
def site(street: Street) -> Website:
    """A website at the address that stands for the public internet."""
    return street.outside


@pytest.fixture
def canary(street: Street) -> list[Website]:
    """Listens inside, on the website's port; no test of the foreign profile may make it hear anything."""
    return street.inside


@pytest.fixture
def names() -> Names:
    made = Names()
    made.known["public.test"] = [[PUBLIC]]
    return made


@pytest.fixture
async def http(site: Website, names: Names, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EgressClient]:
    """The way out, believing that PUBLIC is public and that the website's port is an allowed one."""
    judge = addresses.is_foreign
    monkeypatch.setattr(addresses, "is_foreign", lambda address: str(address) == PUBLIC or judge(address))
    client = EgressClient(resolve=names, foreign_ports={80, 443, site.port})
    yield client
    await client.close()
