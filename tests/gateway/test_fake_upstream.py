"""The fake upstream does what its options say, also as a program of its own."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import msgspec
import pytest

from chatserver.clock import monotonic_s
from chatserver.gateway.egress import EgressClient
from chatserver.testing.provider import open_egress
from chatserver.testing.upstream import FakeUpstream, Rule, parse_options


async def post(http: EgressClient, url: str, body: dict[str, Any], key: str = "sk-1") -> tuple[int, bytes]:
    headers = {"Authorization": f"Bearer {key}"}
    async with http.request(
        "POST", url, body=msgspec.json.encode(body), headers=headers, profile="channel"
    ) as response:
        return response.status, await response.read()


def chat(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "Hi there"}], **more}


def test_options_are_read_from_a_name() -> None:
    assert parse_options("fake-n20-cut5-echo") == {"fake": 1, "n": 20, "cut": 5, "echo": 1}
    assert parse_options("gpt-4o mini-N3") == {"gpt": 1}


async def test_faults_hit_their_share_evenly(fake_upstream: FakeUpstream) -> None:
    async with open_egress() as http:
        answers = [
            await post(http, f"{fake_upstream.base_url}/chat/completions", chat("fake-err503-p25")) for _ in range(8)
        ]
    assert [status for status, _ in answers].count(503) == 2


async def test_a_rule_adds_options_to_a_key_and_an_answer_to_a_model(fake_upstream: FakeUpstream) -> None:
    url = f"{fake_upstream.base_url}/chat/completions"
    fake_upstream.rules = [Rule(key="sk-bad", options="err500"), Rule(model="poet", answer="Leaves fall.")]
    async with open_egress() as http:
        assert (await post(http, url, chat("fake"), "sk-bad"))[0] == 500
        assert (await post(http, url, chat("fake"), "sk-good"))[0] == 200
        assert b"Leaves fall." in (await post(http, url, chat("poet")))[1]
        fake_upstream.rules = []
        assert (await post(http, url, chat("fake"), "sk-bad"))[0] == 200


async def test_requests_and_connections_are_kept(fake_upstream: FakeUpstream) -> None:
    url = f"{fake_upstream.base_url}/chat/completions"
    async with open_egress() as http:
        await post(http, url, chat("fake-n2", seed=7))
    await fake_upstream.until(lambda upstream: all(one.closed_ns for one in upstream.connections))
    (seen,) = fake_upstream.chats()
    assert (seen.key, seen.json["seed"]) == ("sk-1", 7)
    (connection,) = fake_upstream.connections
    assert connection.opened_ns < connection.closed_ns
    assert (connection.requests, connection.model, connection.is_hung_up) == (1, "fake-n2", False)


async def test_stamps_tell_when_a_token_left(fake_upstream: FakeUpstream) -> None:
    async with open_egress() as http:
        body = chat("fake-stamp-n3-gap20", stream=True)
        _, told = await post(http, f"{fake_upstream.base_url}/chat/completions", body)
    stamps = [int(piece) for piece in told.decode().split("@")[1::2]]
    assert len(stamps) == 3
    assert stamps == sorted(stamps)
    assert 0 <= monotonic_s() - stamps[-1] / 1e9 < 60
    assert stamps[-1] - stamps[0] >= 30_000_000


def test_it_can_be_waited_for_without_a_loop(fake_upstream: FakeUpstream) -> None:
    fake_upstream.wait(lambda upstream: not upstream.requests)
    with pytest.raises(TimeoutError):
        fake_upstream.wait(lambda upstream: bool(upstream.requests), timeout_s=0.05)


async def test_it_is_a_program_that_is_told_what_to_do() -> None:
    command = [sys.executable, "-m", "chatserver.testing.upstream", "--port", "0"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    base_url = (await process.stdout.readline()).decode().strip()
    root = base_url.removesuffix("/v1")
    try:
        async with open_egress() as http:
            rules = [{"key": "*", "options": "n1", "answer": "Oaks."}]
            told = {"rules": rules, "models": [{"id": "oak", "context_length": 512}]}
            assert (await post(http, f"{root}/control", told))[0] == 200
            assert b"Oaks." in (await post(http, f"{base_url}/chat/completions", chat("oak")))[1]
            async with http.request("GET", f"{base_url}/models", profile="channel") as response:
                assert msgspec.json.decode(await response.read())["data"] == [{"id": "oak", "context_length": 512}]
            async with http.request("GET", f"{root}/control", profile="channel") as response:
                report = msgspec.json.decode(await response.read())
            assert report["counters"]["finished"] == 1
            assert report["requests"][0]["headers"]["authorization"] == "Bearer sk-1"
            assert (await post(http, f"{root}/control", {"rules": 7}))[0] == 400
            assert b'"requests":[]' in (await post(http, f"{root}/control/reset", {}))[1]
    finally:
        process.terminate()
        await process.wait()
