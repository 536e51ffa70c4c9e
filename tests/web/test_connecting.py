"""The first page of whoever runs the server: from an empty box to a model that answers, without a restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chatserver.testing.server import Site, open_site
from chatserver.testing.upstream import FakeUpstream

KEY = "sk-canary-91ab77"
OTHER = "vLLM, llama.cpp, LiteLLM, new-api …"


@pytest.fixture
async def empty(tmp_path: Path) -> AsyncIterator[Site]:
    """A server nobody has given a model."""
    async with open_site(tmp_path) as site:
        yield site


def form(upstream: FakeUpstream, key: str = KEY) -> dict[str, str]:
    return {"service": OTHER, "address": upstream.base_url, "key": key}


async def test_from_an_empty_box_to_an_answer(empty: Site, fake_upstream: FakeUpstream) -> None:
    ada = await empty.sign_up("ada@example.org", role="admin")
    assert 'href="/welcome"' in (await ada.get("/")).text
    page = await ada.post("/welcome/connect", data=form(fake_upstream))
    assert page.status_code == 200 and "is connected." in page.text and KEY not in page.text
    trial = await ada.post("/welcome/test", data={"model": "fake"})
    assert trial.status_code == 200 and "the first word came after" in trial.text
    assert (await ada.post("/welcome/begin", data={"model": "fake"})).headers["location"] == "/"
    new = (await ada.get("/")).text
    assert 'href="/welcome"' not in new and '<option value="fake" selected>' in new
    assert (await ada.post("/send", data={"text": "Hello"})).status_code == 303


async def test_the_services_of_every_vendor_are_offered(empty: Site) -> None:
    ada = await empty.sign_up("ada@example.org", role="admin")
    page = (await ada.get("/welcome")).text
    places = [page.find(f'value="{title}"') for title in ("Anthropic", "Google Gemini", "OpenAI", OTHER, "Ollama")]
    assert -1 not in places and places == sorted(places)
    assert page.count('value="Ollama"') == 1


async def test_what_goes_wrong_is_said_and_what_was_typed_is_kept(empty: Site, fake_upstream: FakeUpstream) -> None:
    ada = await empty.sign_up("ada@example.org", role="admin")
    for data, said in (
        ({"service": "Nobody's"}, "Pick a service from the list."),
        ({"service": "OpenAI", "key": " "}, "Paste the key of OpenAI."),
        ({**form(fake_upstream), "address": ""}, "Type the address of the service"),
        ({**form(fake_upstream), "address": "chat.example.org"}, "The address must look like"),
        ({**form(fake_upstream), "address": "http://127.0.0.1:1/v1"}, "Not connected"),
        (form(fake_upstream, "one\ntwo"), "That is no key"),
    ):
        page = await ada.post("/welcome/connect", data=data)
        assert 400 <= page.status_code < 500 and said in page.text, page.text
        assert data.get("address", "") in page.text and KEY not in page.text
    assert (await ada.post("/welcome/begin", data={"model": "nope"})).status_code == 422
    assert "It did not answer" in (await ada.post("/welcome/test", data={"model": "nope"})).text


async def test_an_upstream_that_refuses_the_key_is_quoted_without_it(empty: Site) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b'{"error": {"message": "Incorrect key %s."}}' % KEY.encode()
        writer.write(b"HTTP/1.1 401 No\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()

    ada = await empty.sign_up("ada@example.org", role="admin")
    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        data = {"service": OTHER, "key": KEY, "address": f"http://127.0.0.1:{port}/v1"}
        page = await ada.post("/welcome/connect", data=data)
    assert page.status_code == 422 and "Not connected" in page.text and KEY not in page.text
    assert ada.actor is not None and await empty.house.channels.lines(ada.actor) == []


async def test_it_can_be_declined_and_found_again(empty: Site) -> None:
    ada = await empty.sign_up("ada@example.org", role="admin")
    assert (await ada.post("/welcome/skip", data={})).headers["location"] == "/"
    assert "Paste a key" in (await ada.get("/welcome")).text


async def test_what_was_connected_is_disconnected(empty: Site, fake_upstream: FakeUpstream) -> None:
    ada = await empty.sign_up("ada@example.org", role="admin")
    await ada.post("/welcome/connect", data=form(fake_upstream))
    assert ada.actor is not None
    (line,) = await empty.house.channels.lines(ada.actor)
    assert (await ada.post("/welcome/disconnect", data={"channel_id": line.kept_id})).status_code == 303
    assert await empty.house.channels.lines(ada.actor) == []


async def test_members_get_none_of_it(empty: Site, fake_upstream: FakeUpstream) -> None:
    bob = await empty.sign_up("bob@example.org")
    assert 'href="/welcome"' not in (await bob.get("/")).text
    assert (await bob.get("/welcome")).status_code == 403
    for what in ("connect", "test", "begin", "skip", "disconnect"):
        assert (await bob.post(f"/welcome/{what}", data=form(fake_upstream))).status_code == 403
    assert (await empty.browser().get("/welcome")).status_code == 303
