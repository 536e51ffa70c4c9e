"""Addresses outside /x/ that plugins speak at: only a key opens them, and they say what is wrong in their own words."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chatserver import Context, DirectRequest, Endpoint, PromptMessage, TextDelta, TextPart, WrittenError, hookimpl
from chatserver.errors import BadInput, ChatserverError, SetupError
from chatserver.testing.server import open_site
from chatserver.testing.upstream import FakeUpstream
from chatserver.web.endpoints import Endpoints


def write_error(error: ChatserverError, request_id: str) -> WrittenError:
    assert request_id
    return WrittenError(error.status, b'{"oops": "%s"}' % error.code.encode())


class Oracle:
    """Answers any question with what a model says to it."""

    path = "/oracle/v2/ask"

    @hookimpl
    def register_endpoints(self) -> list[Endpoint]:
        return [
            Endpoint(self.path, self.answer, write_error, key_header="x-oracle", body_max_bytes=50),
            Endpoint("/oracle/", self.fail, write_error, methods=("GET",), permission="chat.use"),
        ]

    @hookimpl
    async def startup(self, ctx: Context) -> None:
        self.calls = ctx.calls

    async def answer(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        question = (await receive())["body"].decode()
        if not question:
            raise BadInput("Ask something.")
        asked = DirectRequest("chat", "fake-echo", (PromptMessage("user", (TextPart(question),)),))
        async with await self.calls.open(scope["state"]["actor"], asked) as call:
            said = [delta.text async for delta in call.deltas() if isinstance(delta, TextDelta)]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": "".join(said).encode()})

    async def fail(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        raise RuntimeError("the oracle slept")


async def test_a_plugin_speaks_at_an_address_of_its_own(tmp_path: Path, fake_upstream: FakeUpstream) -> None:
    async with open_site(tmp_path, fake_upstream.base_url, plugins=[("oracle", Oracle())]) as site:
        ada = await site.sign_up("ada@example.org")
        key = await site.make_key("ada@example.org")
        client = site.api(key)
        assert (await client.post(Oracle.path, content=b"why")).text == "why"
        nobody = site.browser()
        assert (await nobody.post(Oracle.path, content=b"why", headers={"x-oracle": key})).text == "why"
        for stranger in (ada, nobody):
            refused = await stranger.post(Oracle.path, content=b"why")
            assert (refused.status_code, refused.json()) == (401, {"oops": "not_signed_in"})
        assert (await client.post(Oracle.path)).json() == {"oops": "bad_input"}
        assert (await client.post(Oracle.path, content=b"x" * 60)).json() == {"oops": "too_large"}
        assert (await client.get(Oracle.path)).json() == {"oops": "method_not_allowed"}
        slept = await client.get("/oracle/anything")
        assert (slept.status_code, slept.json()) == (500, {"oops": "internal_error"})
        narrow = site.api(await site.make_key("ada@example.org", scopes=("keys.manage",)))
        assert (await narrow.post(Oracle.path, content=b"why")).json() == {"oops": "not_allowed"}


def test_the_house_keeps_its_own_addresses() -> None:
    oracle = Oracle()
    oracle.path = "/api/account"
    house = SimpleNamespace(
        plugins=SimpleNamespace(brought=lambda hook: [("oracle", one) for one in oracle.register_endpoints()])
    )
    with pytest.raises(SetupError, match="may not speak"):
        Endpoints(house)  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ["/events", "/sign-in", "/sign-in/", "/healthz", "/pulse", "/pulse/today"])
def test_an_address_that_is_taken_stops_the_start(path: str) -> None:
    oracle = Oracle()
    oracle.path = path
    house = SimpleNamespace(
        plugins=SimpleNamespace(brought=lambda hook: [("oracle", one) for one in oracle.register_endpoints()])
    )
    endpoints = Endpoints(house)  # type: ignore[arg-type]
    with pytest.raises(SetupError, match=f"oracle may not speak at '{path}'"):
        endpoints.check(["/", "/events", "/sign-in", "/healthz"], lambda one: one.startswith("/pulse"))
