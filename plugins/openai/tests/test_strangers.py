"""Against fakes written by strangers: what llmock breaks on purpose we notice, and the date Werkzeug writes we read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from chatserver_openai.provider import OpenAIProvider
from werkzeug.exceptions import TooManyRequests
from werkzeug.serving import make_server

from chatserver import Channel, Provider
from chatserver.testing.provider import ask, collect, open_egress
from chatserver.testing.strangers import StrangersSchemaContract


class TestOpenAIAmongStrangers(StrangersSchemaContract):
    vendor, model = "openai", "gpt-4o"

    def make_provider(self) -> Provider:
        return OpenAIProvider()


@pytest.fixture
def busy() -> Iterator[str]:
    """A server that has no room for the next minutes, and says so as a date: none of the fakes of models writes one."""

    def app(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        until = datetime.now(UTC) + timedelta(minutes=3)
        return TooManyRequests(retry_after=until).get_response(environ)(environ, start)

    server = make_server("127.0.0.1", 0, app)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()


async def test_a_wait_told_as_a_date_is_read(busy: str) -> None:
    async with open_egress() as http:
        _, error = await collect(OpenAIProvider(), ask("m"), Channel("busy", "openai", busy, "sk-test"), http)
    assert error is not None and error.kind == "rate_limit"
    assert error.retry_after_s is not None and 60 < error.retry_after_s <= 180
