"""The server below the app: half-open requests, stuck readers, too many connections, and a polite end."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from chatserver.testing.server import Site, open_site
from chatserver.testing.upstream import FakeUpstream
from chatserver.web import server
from chatserver.web.headers import DEFAULTS
from tests.running import NO_LIMITS, RunningServer

HEAD = b"POST /sign-in HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nSec-Fetch-Site: same-origin\r\n"


async def connect(site: Site) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", site.port)


async def answer_to(site: Site, *pieces: bytes, pause_s: float = 0.0) -> tuple[int, bytes, float]:
    """Status, everything that came until the server closed, and how long that took."""
    reader, writer = await connect(site)
    began = time.monotonic()
    try:
        async with asyncio.timeout(10):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                if pause_s:
                    await asyncio.sleep(pause_s)
            raw = await reader.read()
    except ConnectionError:
        raw = b""
    finally:
        writer.close()
    found = re.match(rb"HTTP/1\.1 (\d+)", raw)
    return int(found[1]) if found else 0, raw, time.monotonic() - began


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rules with shorter times."""
    monkeypatch.setattr(server, "HEAD_S", 0.4)
    monkeypatch.setattr(server, "BODY_FREE_S", 0.4)
    monkeypatch.setattr(server, "KEEP_ALIVE_S", 1)
    monkeypatch.setattr(server, "WRITE_STALL_S", 0.5)


def test_the_times_are_what_is_promised() -> None:
    assert (server.HEAD_S, server.BODY_FREE_S, server.BODY_MIN_BYTES_PER_S) == (10, 10, 1024)
    assert (server.KEEP_ALIVE_S, server.WRITE_STALL_S, server.HEAD_MAX_BYTES) == (5, 60, 16_384)
    assert server.SEND_BUFFER_BYTES == 65_536


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [b"GET"],
        [b"GET / HTTP/1.1\r\n"],
        [b"GET / HTTP/1.1\r\nHost: x\r\n"],
        [b"\r\n"],
        [b"GET / HTTP/1.1\r\nHost:", b" ", b"a", b"b", b"c"],
    ],
)
async def test_a_head_that_does_not_come_is_cut(impatient: None, site: Site, pieces: list[bytes]) -> None:
    status, raw, elapsed_s = await answer_to(site, *pieces, pause_s=0.15 if len(pieces) > 2 else 0)
    assert elapsed_s < 5
    if status == 0 and len(pieces) > 2:
        return  # cut while we were still writing: the system threw the answer away
    assert status == 408
    for name, value in DEFAULTS:
        assert name + b": " + value in raw


async def test_a_body_that_does_not_come_is_cut(impatient: None, site: Site) -> None:
    head = HEAD % site.port + b"Content-Length: 100000\r\n\r\n"
    assert (await answer_to(site, head))[0] == 408
    assert (await answer_to(site, head, b"a", b"b", b"c", b"d", pause_s=0.3))[0] in (0, 408)
    chunked = HEAD % site.port + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
    assert (await answer_to(site, chunked))[0] == 408


async def test_a_second_request_on_a_connection_is_timed_as_well(impatient: None, site: Site) -> None:
    good = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % site.port
    status, raw, _ = await answer_to(site, good + b"GET / HT")
    assert status == 200
    assert b"HTTP/1.1 408" in raw
    status, raw, _ = await answer_to(site, good, b"\r\n", pause_s=0.2)
    assert (status, raw.count(b"HTTP/1.1")) in ((200, 1), (200, 2))


async def test_an_idle_connection_is_closed(impatient: None, site: Site) -> None:
    good = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % site.port
    status, raw, _ = await answer_to(site, good)
    assert (status, raw.count(b"HTTP/1.1")) == (200, 1)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"y" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(3000)) + b"\r\n", 431),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", 400),
    ],
)
async def test_what_is_not_http_is_answered_and_closed(site: Site, raw: bytes, status: int) -> None:
    got, text, _ = await answer_to(site, raw)
    assert got == status
    for name, value in DEFAULTS:
        assert name + b": " + value in text
    assert b"\r\nserver:" not in text.lower()
    (request_id,) = re.findall(rb"\r\nx-request-id: ([0-9a-z]{26})\r\n", text)
    assert text.endswith((b'"request_id":"%s"}}' % request_id, b"</html>")), text[-200:]
    assert (await site.browser().get("/healthz")).status_code == 200


async def test_a_reader_who_takes_nothing_is_dropped(
    impatient: None, tmp_path: Path, fake_upstream: FakeUpstream
) -> None:
    async with open_site(tmp_path, fake_upstream.base_url, models=["fake-n60000-pad200"]) as site:
        await site.sign_up("ada@example.org")
        key = await site.make_key("ada@example.org")
        program = site.api(key)
        conversation = (await program.post("/api/conversations", json={})).json()["id"]
        body = {"parent_id": None, "text": "x", "model": "fake-n60000-pad200"}
        turn = (await program.post(f"/api/conversations/{conversation}/messages", json=body)).json()["turn_id"]
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port, limit=1024)
        writer.write(
            b"GET /api/turns/%s/events HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAuthorization: Bearer %s\r\n\r\n"
            % (turn.encode(), site.port, key.encode())
        )
        assert b"200" in await reader.readline()
        async with asyncio.timeout(20):
            while len(site.app.state.streams):
                await asyncio.sleep(0.05)
        writer.close()
        await program.post(f"/api/turns/{turn}/stop")


async def test_one_address_has_only_so_many_connections(tmp_path: Path) -> None:
    async with open_site(tmp_path, limits={"connections_per_address": 5}) as site:
        held = [await connect(site) for _ in range(5)]
        status, raw, _ = await answer_to(site, b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % site.port)
        assert (status, b'"code":"connections_per_address"' in raw, b"retry-after" in raw) == (429, True, True)
        for _, writer in held:
            writer.close()
        async with asyncio.timeout(5):
            while (await answer_to(site, b"BYE\r\n\r\n"))[0] != 400:
                pass


@pytest.fixture
def launch(tmp_path: Path, fake_upstream: FakeUpstream) -> Iterator[Callable[..., tuple[RunningServer, httpx.Client]]]:
    """Start a server process with a model, and a program with a key to it; both are gone after the test."""
    made: list[RunningServer] = []
    clients: list[httpx.Client] = []

    def launch(model: str, toml: str = "") -> tuple[RunningServer, httpx.Client]:
        process = RunningServer(tmp_path, fake_upstream.base_url, models=[model], limits=NO_LIMITS)
        process.config.write_text(f"{toml}\n{process.config.read_text()}")
        made.append(process.start())
        key = process.account("ada@example.org", password="a quiet horse reads maps")
        client = httpx.Client(base_url=process.url, headers={"authorization": f"Bearer {key}"}, timeout=20)
        clients.append(client)
        return process, client

    yield launch
    for client in clients:
        client.close()
    for process in made:
        process.kill()


def ask(client: httpx.Client, model: str) -> tuple[str, str]:
    """A conversation and the turn that answers in it."""
    conversation = client.post("/api/conversations", json={}).json()["id"]
    body = {"parent_id": None, "text": "x", "model": model}
    sent = client.post(f"/api/conversations/{conversation}/messages", json=body)
    return conversation, sent.json()["turn_id"]


Launch = Callable[..., tuple[RunningServer, httpx.Client]]


def test_a_polite_end_with_an_open_stream_has_exit_code_0_and_no_traceback(launch: Launch) -> None:
    model = "fake-n100-gap20"
    process, client = launch(model)
    running = process.process
    assert running is not None
    _, turn = ask(client, model)
    with client.stream("GET", f"/api/turns/{turn}/events") as stream:
        lines = stream.iter_lines()
        next(line for line in lines if line.startswith("event: text"))
        running.send_signal(signal.SIGTERM)
        assert any(line == "event: reconnect" for line in lines)
    ready = client.get("/readyz")
    assert (ready.status_code, "retry-after" in ready.headers) == (503, True)
    assert client.get("/healthz").status_code == 200
    conversation = client.post("/api/conversations", json={}).json()["id"]
    body = {"parent_id": None, "text": "x", "model": model}
    refused = client.post(f"/api/conversations/{conversation}/messages", json=body)
    assert (refused.status_code, "retry-after" in refused.headers) == (503, True)
    assert running.wait(20) == 0
    assert "Traceback" not in process.log.read_text()
    process.start()
    assert client.get(f"/api/turns/{turn}").json()["state"] == "done", "it was given the time it took"
    assert process.stop() == 0


@pytest.mark.parametrize("signals", [1, 2])
def test_after_the_grace_a_turn_is_kept_as_interrupted(launch: Launch, signals: int) -> None:
    """The second signal does not wait for the grace."""
    model = "fake-n2000-gap20"
    process, client = launch(model, f"grace_s = {1 if signals == 1 else 30}")
    running = process.process
    assert running is not None
    conversation, turn = ask(client, model)
    with client.stream("GET", f"/api/turns/{turn}/events") as stream:
        assert next(line for line in stream.iter_lines() if line.startswith("event: text"))
    running.send_signal(signal.SIGTERM)
    if signals == 2:
        assert client.get("/readyz").status_code == 503
        running.send_signal(signal.SIGTERM)
    assert running.wait(20) == 0
    assert "Traceback" not in process.log.read_text()
    process.start()
    assert client.get(f"/api/turns/{turn}").json()["state"] == "interrupted"
    messages: list[Any] = client.get(f"/api/conversations/{conversation}/messages").json()["messages"]
    assert messages[-1]["parts"][0]["text"]
    assert process.stop() == 0


def test_an_idle_server_does_not_wait_for_its_grace(launch: Launch) -> None:
    process, client = launch("fake-n5", "grace_s = 60")
    assert client.get("/healthz").status_code == 200
    assert process.stop(timeout_s=30) == 0
