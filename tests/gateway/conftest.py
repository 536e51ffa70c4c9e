"""A small website, a canary nobody may wake, and a resolver that says what it is told."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from chatserver.gateway import addresses
from chatserver.gateway.egress import EgressClient
from chatserver.testing.website import Names, Website

PUBLIC = "127.0.0.2"
"""Stands for an address of the public internet: on Linux all of 127/8 answers."""


@pytest.fixture
async def site() -> AsyncIterator[Website]:
    """A website at the address that stands for the public internet."""
    made = Website(PUBLIC)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def canary(site: Website) -> AsyncIterator[list[Website]]:
    """Listens inside, on the website's port; no test of the foreign profile may make it hear anything."""
    inside = [Website("127.0.0.1")]
    with contextlib.suppress(OSError):
        probe = Website("::1")
        await probe.start(site.port)
        inside.append(probe)
    await inside[0].start(site.port)
    yield inside
    for one in inside:
        await one.stop()


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
