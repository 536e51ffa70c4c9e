"""What a key opens: rights, models, an end, requests a minute; and nothing else opens these addresses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from chatserver import clock
from chatserver.testing.server import Site, open_site
from chatserver.testing.upstream import FakeUpstream

pytestmark = pytest.mark.asyncio(loop_scope="module")
ADDRESSES = (
    ("GET", "/v1/models"),
    ("GET", "/v1/models/fake-n5"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/embeddings"),
    ("POST", "/v1/messages"),
    ("POST", "/v1/messages/count_tokens"),
    ("GET", "/v1/gone"),
)


async def key_with(site: Site, **rights: Any) -> httpx.AsyncClient:
    account = await site.house.accounts.by_email("ada@example.org")
    assert account is not None
    return site.api((await site.house.accounts.create_key(account, "test", **rights)).secret)


async def ask(client: httpx.AsyncClient, model: str = "fake-n5") -> httpx.Response:
    return await client.post(
        "/v1/chat/completions", json={"model": model, "messages": [{"role": "user", "content": "Hi"}]}
    )


async def test_a_key_sees_and_uses_its_models_only(site: Site) -> None:
    client = await key_with(site, models=("fake-n5",))
    assert [model["id"] for model in (await client.get("/v1/models")).json()["data"]] == ["fake-n5"]
    assert (await ask(client)).status_code == 200
    refused = await ask(client, "fake-echo")
    unknown = await ask(client, "no-model")
    assert refused.status_code == unknown.status_code == 404
    assert refused.json()["error"]["code"] == unknown.json()["error"]["code"] == "model_not_found"


async def test_a_key_for_something_else_opens_nothing_here(site: Site) -> None:
    client = await key_with(site, scopes=("keys.manage",))
    answer = await ask(client)
    assert answer.status_code == 403
    assert answer.json()["error"]["type"] == "permission_error"
    assert (await ask(await key_with(site, scopes=("models.use",)))).status_code == 200


async def test_a_key_ends(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    client = await key_with(site, expires_at=clock.now_us() + 3_600_000_000)
    assert (await ask(client)).status_code == 200
    now = clock.now_us()
    monkeypatch.setattr("chatserver.chat.credentials.now_us", lambda: now + 7_200_000_000)
    site.house.accounts.forget_credentials()
    answer = await ask(client)
    assert answer.status_code == 401
    site.house.accounts.forget_credentials()


async def test_a_key_has_a_pace_of_its_own(site: Site) -> None:
    client, other = await key_with(site, requests_per_minute=2), await key_with(site)
    assert [(await ask(client)).status_code for _ in range(3)] == [200, 200, 429]
    late = await ask(client)
    assert late.json()["error"]["code"] == "key_requests_per_minute"
    assert int(late.headers["retry-after"]) >= 1
    assert (await ask(other)).status_code == 200


async def test_the_account_has_one_pace_for_all_its_keys(tmp_path: Path, upstream: FakeUpstream) -> None:
    async with open_site(tmp_path, upstream.base_url, limits={"api_requests_per_minute": 2}) as site:
        await site.house.accounts.create("ada@example.org")
        one, two = await key_with(site), await key_with(site)
        assert [(await ask(client)).status_code for client in (one, two, one)] == [200, 200, 429]
        late = await two.post("/v1/messages", json={})
        assert late.json()["error"]["type"] == "rate_limit_error"


@pytest.mark.parametrize(("method", "path"), ADDRESSES)
async def test_only_a_key_opens(site: Site, method: str, path: str) -> None:
    person = await site.sign_up(f"{clock.new_id()}@example.org")
    for client in (person, site.browser(), site.api("cs_abcdef_" + "a" * 43)):
        answer = await client.request(method, path, json={} if method == "POST" else None)
        assert answer.status_code == 401, path
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["error"]["type"] == "authentication_error"
        assert answer.headers["x-request-id"]


async def test_another_method_is_told_so(site: Site) -> None:
    client = await key_with(site)
    for path in ("/v1/chat/completions", "/v1/messages"):
        answer = await client.get(path)
        assert (answer.status_code, answer.json()["error"]["type"]) == (405, "invalid_request_error")
    assert (await client.get("/v1/gone")).status_code == 404


async def test_what_is_no_request_is_refused_in_words(site: Site) -> None:
    client = await key_with(site)
    for body in (b"", b"{", b"[]", b'{"model": 3}', b'{"model": "fake-n5", "messages": []}', b"\xff", b"[" * 70):
        for path in ("/v1/chat/completions", "/v1/messages", "/v1/messages/count_tokens", "/v1/embeddings"):
            answer = await client.post(path, content=body, headers={"content-type": "application/json"})
            assert answer.status_code == 400, (path, body, answer.text)
            assert answer.json()["error"]["message"]
    far = {"type": "image_url", "image_url": {"url": "http://127.0.0.1/secret.png"}}
    answer = await client.post(
        "/v1/chat/completions", json={"model": "fake-n5", "messages": [{"role": "user", "content": [far]}]}
    )
    assert answer.status_code == 400


async def test_a_plugin_that_is_off_has_no_address(site: Site) -> None:
    client = await key_with(site)
    site.house.plugins.switch("openai_api", False)
    try:
        assert (await client.get("/v1/models")).status_code == 404
    finally:
        site.house.plugins.switch("openai_api", True)
    assert (await client.get("/v1/models")).status_code == 200
