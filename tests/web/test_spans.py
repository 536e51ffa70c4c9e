"""How one thing led to another: request, turn, call and attempts, told to whoever draws traces."""

from __future__ import annotations

import asyncio
from pathlib import Path

from chatserver import Span, hookimpl
from chatserver.testing.server import open_site
from chatserver.testing.upstream import FakeUpstream


class Painter:
    def __init__(self) -> None:
        self.spans: list[Span] = []

    @hookimpl
    async def spans_ended(self, spans: tuple[Span, ...]) -> None:
        self.spans.extend(spans)

    async def named(self, name: str, many: int) -> list[Span]:
        async with asyncio.timeout(40):
            while len(found := [one for one in self.spans if one.name == name]) < many:
                await asyncio.sleep(0.01)
        return found


async def test_a_request_leads_to_a_turn_a_call_and_its_attempts(tmp_path: Path, fake_upstream: FakeUpstream) -> None:
    painter = Painter()
    async with open_site(tmp_path, fake_upstream.base_url, plugins=[("painter", painter)]) as site:
        ann = await site.sign_up("ann@example.org")
        answer = await ann.post("/send", data={"text": "Hello", "model": "fake-err500"})
        (turn,) = await painter.named("turn", 1)
        calls = [one for one in await painter.named("call", 1) if one.attributes["kind"] == "chat"]
        attempts = await painter.named("attempt", 1)
        await ann.get("/s/a-secret-of-somebody")
        first, second = await painter.named("request", 2)
    assert (first.id, first.trace_id, first.parent_id) == (answer.headers["x-request-id"],) * 2 + ("",)
    assert first.attributes == {"method": "POST", "path": "/send", "status": 303, "account": ann.actor.account_id}  # type: ignore[union-attr]
    assert (turn.parent_id, turn.trace_id, turn.error) == (first.id, first.id, "upstream_server")
    assert [(one.parent_id, one.trace_id, one.error) for one in calls] == [(turn.id, first.id, "upstream_server")]
    assert all((one.parent_id, one.trace_id, one.error) == (calls[0].id, first.id, "server") for one in attempts)
    assert len(attempts) == calls[0].attributes["attempts"]
    assert second.attributes["path"] == "/s/…"
