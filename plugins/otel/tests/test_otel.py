"""A trace of a question, as a collector takes it; and a collector that is away, which costs nobody an answer."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import chatserver_otel
import pytest
from chatserver_otel import otlp, sender

from chatserver import Span
from chatserver.testing.server import Site, open_site
from chatserver.testing.upstream import FakeUpstream

WORD = "zeisig-4711"


class Collector:
    """Takes what is posted, and answers with `status`."""

    def __init__(self) -> None:
        self.status = 200
        self.bodies: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []

    @property
    def spans(self) -> list[dict[str, Any]]:
        return [
            span
            for body in self.bodies
            for resource in body["resourceSpans"]
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
        ]


@contextmanager
def collecting() -> Iterator[tuple[Collector, str]]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if collector.status == 200:
                collector.bodies.append(json.loads(body))
            collector.headers.append({name.lower(): value for name, value in self.headers.items()})
            collector.paths.append(self.path)
            self.send_response(collector.status)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *args: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "WAIT_S", 0.05)


async def until(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(40):
        while not is_true():
            await asyncio.sleep(0.02)


def told(span: dict[str, Any]) -> dict[str, Any]:
    return {one["key"]: next(iter(one["value"].values())) for one in span["attributes"]}


def settings_for(url: str) -> dict[str, dict[str, str]]:
    return {"otel": {"endpoint": f"{url}/", "headers": "X-Key=a%20b, other=c", "service": "house"}}


async def ask(site: Site, model: str) -> str:
    """The id of the request that asked."""
    ann = await site.sign_up(f"{model}@example.org")
    answer = await ann.post("/send", data={"text": f"My word is {WORD}", "model": model})
    assert answer.status_code == 303
    return str(answer.headers["x-request-id"])


def named(collector: Collector, name: str) -> list[dict[str, Any]]:
    return [span for span in collector.spans if span["name"].startswith(name)]


async def test_a_question_is_a_trace_of_four_floors(tmp_path: Path, fake_upstream: FakeUpstream) -> None:
    with collecting() as (collector, url):
        async with open_site(tmp_path, fake_upstream.base_url, plugin_settings=settings_for(url)) as site:
            good, bad = await ask(site, "fake-n5"), await ask(site, "fake-err500")
            await until(lambda: len(named(collector, "turn")) == 2 and len(named(collector, "POST /send")) == 2)
            await until(lambda: len(named(collector, "call fake-err500")) == 1)
    assert set(collector.paths) == {"/v1/traces"}
    assert collector.headers[0]["x-key"] == "a b" and collector.headers[0]["other"] == "c"
    assert collector.headers[0]["content-type"] == "application/json"
    assert WORD not in json.dumps(collector.bodies)
    for request_id, is_error in ((good, False), (bad, True)):
        trace = [span for span in collector.spans if span["traceId"] == otlp.trace_id_of(request_id)]
        by_id = {span["spanId"]: span for span in trace}
        (root,) = [span for span in trace if "parentSpanId" not in span]
        assert (root["name"], root["kind"], root["spanId"]) == ("POST /send", 2, otlp.span_id_of(request_id))
        (turn,) = [span for span in trace if span["name"].startswith("turn")]
        assert by_id[turn["parentSpanId"]] is root
        (call,) = [span for span in trace if span["name"].startswith("call")]
        assert by_id[call["parentSpanId"]] is turn
        attempts = [span for span in trace if span["name"].startswith("attempt")]
        assert len(attempts) == int(told(call)["chatserver.attempts"]) >= 1
        assert all(by_id[one["parentSpanId"]] is call and one["kind"] == 3 for one in attempts)
        for span in trace:
            assert len(span["traceId"]) == 32 and len(span["spanId"]) == 16
            assert int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"])
        assert (call["status"].get("code") == 2) == is_error
        if is_error:
            assert told(call)["error.type"] == "upstream_server"
            assert told(attempts[0])["error.type"] == "server"
        else:
            assert int(told(call)["gen_ai.usage.output_tokens"]) == 5
            assert told(call)["chatserver.channel"] == "fake"


async def test_a_collector_that_is_away_costs_nobody_an_answer(tmp_path: Path, fake_upstream: FakeUpstream) -> None:
    with collecting() as (collector, url):
        collector.status = 503
        async with open_site(tmp_path, fake_upstream.base_url, plugin_settings=settings_for(url)) as site:
            root = await site.sign_up("root@example.org", role="admin")
            assert root.actor is not None
            admin = root.actor
            await ask(site, "fake-n5")
            async with asyncio.timeout(40):
                while not (notices := await site.house.notices.unread(admin)):
                    await asyncio.sleep(0.02)
            assert (notices[0].source, notices[0].values) == ("otel", {"problem": "status 503"})
            collector.status = 200
            await ask(site, "fake-echo")
            async with asyncio.timeout(40):
                while await site.house.notices.unread(admin):
                    await asyncio.sleep(0.02)
            text = (await site.browser().get("/metrics")).text
    assert 'chatserver_otel_spans_total{outcome="lost"}' in text
    assert 'chatserver_otel_spans_total{outcome="sent"}' in text


async def test_nothing_is_sent_without_an_address(tmp_path: Path, fake_upstream: FakeUpstream) -> None:
    with collecting() as (collector, url):
        collector.status = 503
        async with open_site(tmp_path, fake_upstream.base_url, plugin_settings=settings_for(url)) as site:
            root = await site.sign_up("root@example.org", role="admin")
            await ask(site, "fake-n5")
            async with asyncio.timeout(40):
                while not (root.actor and await site.house.notices.unread(root.actor)):
                    await asyncio.sleep(0.02)
    async with open_site(tmp_path, fake_upstream.base_url) as site:
        assert root.actor is not None
        assert await site.house.notices.unread(root.actor) == [], "what was said of the address that is gone"
        await ask(site, "fake-echo")
        assert chatserver_otel._sender is None
        assert "chatserver_otel" not in (await site.browser().get("/metrics")).text


def test_ids_are_those_of_the_house_or_digests() -> None:
    assert otlp.trace_id_of("00000000000000000000000001") == f"{1:032x}"
    assert len(otlp.trace_id_of("anything")) == 32
    body = json.loads(otlp.encode_spans([Span("a/1", "t", "a", "attempt", 2, 1, "cut", {"is": True})], "house", "1"))
    (span,) = body["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert span["endTimeUnixNano"] == span["startTimeUnixNano"] == "2000"
    assert {"key": "chatserver.is", "value": {"boolValue": True}} in span["attributes"]
