"""What holds for every request: headers, Host, who asks, no forgery."""

from __future__ import annotations

from chatserver.testing.server import Site


async def test_health_is_answered_without_an_account(site: Site) -> None:
    answer = await site.browser().get("/healthz")
    assert answer.status_code == 200
