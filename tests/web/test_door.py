"""What holds for every request: headers, Host, who asks, and nothing done in somebody else's name."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from chatserver import Actor, Route, hookimpl
from chatserver.testing.server import Site, SiteClient, open_site
from chatserver.web.headers import DEFAULTS
from chatserver.web.security import Origin, TrustedProxies

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def a_page(site: Site) -> str:
    from chatserver.web import assets

    return assets.url("core", "app.js")


async def test_every_kind_of_response_carries_the_default_headers(shared_site: Site) -> None:
    site = shared_site
    ada = await site.sign_up("headers@example.org")
    key = site.api(await site.make_key("headers@example.org"))
    conversation = (await key.post("/api/conversations", json={})).json()["id"]
    sent = await key.post(
        f"/api/conversations/{conversation}/messages", json={"parent_id": None, "text": "x", "model": "fake-n5"}
    )
    turn = sent.json()["turn_id"]
    nobody = site.browser()
    responses = [
        (200, await nobody.get("/healthz")),
        (303, await nobody.get("/")),
        (200, await nobody.get("/sign-in")),
        (404, await nobody.get("/no/such/page")),
        (401, await nobody.get("/api/models")),
        (405, await ada.post("/healthz", headers={"origin": site.url})),
        (200, await ada.get("/")),
        (200, await nobody.get(await a_page(site))),
        (404, await nobody.get("/static/core/0/none.js")),
        (404, await nobody.get("/x/none/")),
        (413, await key.post("/api/conversations", content=b"x" * 2_000_000)),
        (400, await key.post("/api/conversations", content=b"{")),
        (400, await nobody.get("/", headers={"host": "evil.example"})),
        (403, await ada.post("/send", headers={"sec-fetch-site": "cross-site"})),
        (200, await key.get(f"/api/turns/{turn}/events")),
        (200, await nobody.head("/healthz")),
    ]
    for status, response in responses:
        assert response.status_code == status, (response.request, response.text)
        for name, value in DEFAULTS:
            if name == b"cache-control" and "/static/core/" in response.request.url.path and status == 200:
                assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
                continue
            assert response.headers.get_list(name.decode()) == [value.decode()], (name, response.request)
        assert len(response.headers["x-request-id"]) == 26
        assert "server" not in response.headers


async def test_a_surprise_is_a_500_with_headers_and_no_words_of_its_own(
    shared_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await shared_site.sign_up("surprise@example.org")

    def explode(*_: object, **__: object) -> None:
        raise RuntimeError("the secret is 42")

    monkeypatch.setattr(shared_site.house.conversations, "list", explode)
    for path in ("/api/conversations", "/chats"):
        response = await ada.get(path)
        assert response.status_code == 500
        assert "secret" not in response.text
        assert response.headers["content-security-policy"]
    assert (await ada.get("/api/conversations")).json()["error"]["code"] == "internal_error"


async def test_strict_transport_only_where_the_public_url_is_https() -> None:
    from chatserver.web.headers import default_headers

    assert b"strict-transport-security" in dict(default_headers(Origin("https://chat.example")))
    assert b"strict-transport-security" not in dict(default_headers(Origin("")))


@pytest.mark.parametrize(
    ("host", "is_served"),
    [
        ("127.0.0.1:{port}", True),
        ("localhost:{port}", True),
        ("LOCALHOST:{port}", True),
        ("[::1]:{port}", True),
        ("127.0.0.1", False),
        ("127.0.0.1:1", False),
        ("evil.example", False),
        ("evil.example:{port}", False),
        ("localhost.evil.example:{port}", False),
        ("127.0.0.1:{port}@evil.example", False),
        ("", False),
    ],
)
async def test_without_a_public_url_only_loopback_names_are_served(
    shared_site: Site, host: str, is_served: bool
) -> None:
    answer = await shared_site.browser().get("/healthz", headers={"host": host.format(port=shared_site.port)})
    assert answer.status_code == (200 if is_served else 400)


@pytest.mark.parametrize(
    ("public_url", "host", "is_served"),
    [
        ("https://chat.example", "chat.example", True),
        ("https://chat.example", "chat.example:443", True),
        ("https://chat.example", "chat.example:80", False),
        ("https://chat.example", "127.0.0.1:8000", False),
        ("https://chat.example", "a.chat.example", False),
        ("https://chat.example:8443", "chat.example:8443", True),
        ("https://chat.example:8443", "chat.example", False),
        ("http://192.168.1.5:8000", "192.168.1.5:8000", True),
        ("http://192.168.1.5:8000", "192.168.1.5", False),
    ],
)
async def test_with_a_public_url_the_host_must_be_its_own(public_url: str, host: str, is_served: bool) -> None:
    assert Origin(public_url).admits_host(host, 8000, path="/", peer="127.0.0.1") is is_served


async def test_a_probe_on_the_machine_itself_needs_no_public_name() -> None:
    origin = Origin("https://chat.example")
    assert origin.admits_host("127.0.0.1:8000", 8000, path="/healthz", peer="127.0.0.1")
    assert not origin.admits_host("127.0.0.1:8000", 8000, path="/healthz", peer="10.0.0.9")
    assert not origin.admits_host("evil.example", 8000, path="/healthz", peer="127.0.0.1")


async def change(client: SiteClient, **headers: str) -> int:
    """Something that changes state, with exactly these headers."""
    request = client.build_request("POST", "/api/conversations", json={}, headers=headers)
    return (await client.send(request)).status_code


async def test_a_change_needs_our_own_page_and_the_sessions_token(shared_site: Site) -> None:
    site = shared_site
    ada = await site.sign_up("csrf@example.org")
    bob = await site.sign_up("csrf2@example.org")
    token = {"x-csrf": ada.csrf}
    assert await change(ada, **token, **{"sec-fetch-site": "same-origin"}) == 201
    assert await change(ada, **token, origin=site.url) == 201
    assert await change(ada, **token) == 403
    for site_value in ("cross-site", "same-site", "none", ""):
        assert await change(ada, **token, origin=site.url, **{"sec-fetch-site": site_value}) == 403
    for origin in ("null", "https://evil.example", f"{site.url}.evil.example", "http://127.0.0.1:1"):
        assert await change(ada, **token, origin=origin) == 403
    assert await change(ada, **{"sec-fetch-site": "same-origin"}) == 403
    assert await change(ada, **{"sec-fetch-site": "same-origin", "x-csrf": bob.csrf}) == 403


async def test_a_form_may_carry_the_token_as_a_field(shared_site: Site) -> None:
    ada = await shared_site.sign_up("form@example.org")
    token, ada.csrf = ada.csrf, ""
    assert (await ada.post("/settings/keys", data={"name": "one", "csrf": token})).status_code == 200
    files = {"name": (None, "two"), "csrf": (None, token)}
    assert (await ada.post("/settings/keys", files=files)).status_code == 200
    assert (await ada.post("/settings/keys", data={"name": "three", "csrf": token[::-1]})).status_code == 403
    assert (await ada.post("/settings/keys", data={"name": "three"})).status_code == 403


async def test_signing_in_is_guarded_like_any_change(shared_site: Site) -> None:
    nobody = shared_site.browser()
    for headers in ({"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}):
        answer = await nobody.post("/sign-in", data={"email": "a@b.example", "password": "x"}, headers=headers)
        assert answer.status_code == 403
    request = nobody.build_request("POST", "/sign-in", data={"email": "a@b.example", "password": "x"})
    assert (await nobody.send(request)).status_code == 403


async def test_a_key_needs_no_token_and_decides_the_origin(shared_site: Site) -> None:
    await shared_site.sign_up("key@example.org")
    program = shared_site.api(await shared_site.make_key("key@example.org"))
    assert (await program.post("/api/conversations", json={})).status_code == 201
    assert (await program.get("/api/account")).json()["origin"] == "api"


async def test_a_wrong_key_is_not_saved_by_a_cookie(shared_site: Site) -> None:
    ada = await shared_site.sign_up("both@example.org")
    assert (await ada.get("/api/account")).status_code == 200
    for key in ("cs_abcdef_" + "x" * 43, "x"):
        assert (await ada.get("/api/account", headers={"authorization": f"Bearer {key}"})).status_code == 401


async def test_a_key_makes_no_further_keys(shared_site: Site) -> None:
    await shared_site.sign_up("keys@example.org")
    program = shared_site.api(await shared_site.make_key("keys@example.org"))
    for path in ("/settings/keys", "/settings/sessions/end", "/sign-out"):
        assert (await program.post(path, data={"name": "x"})).status_code == 403


async def test_whoever_is_nobody_is_sent_to_sign_in_and_back(shared_site: Site) -> None:
    nobody = shared_site.browser()
    page = await nobody.get("/settings?tab=keys")
    assert (page.status_code, page.headers["location"]) == (303, "/sign-in?next=%2Fsettings%3Ftab%3Dkeys")
    fragment = await nobody.get("/settings", headers={"hx-request": "true"})
    assert (fragment.status_code, fragment.headers["hx-redirect"]) == (401, "/sign-in")
    program = await nobody.get("/api/models")
    assert program.json()["error"]["code"] == "not_signed_in"
    assert program.headers["www-authenticate"] == "Bearer"


async def test_forwarded_headers_count_only_from_a_trusted_proxy() -> None:
    none, one = TrustedProxies([]), TrustedProxies(["10.0.0.0/8"])
    assert none.client_of("10.0.0.1", "1.2.3.4") == "10.0.0.1"
    assert one.client_of("10.0.0.1", "1.2.3.4") == "1.2.3.4"
    assert one.client_of("9.9.9.9", "1.2.3.4") == "9.9.9.9"
    assert one.client_of("10.0.0.1", "6.6.6.6, 1.2.3.4, 10.0.0.2") == "1.2.3.4"
    assert one.client_of("10.0.0.1", "nonsense") == "10.0.0.1"
    assert one.client_of("::ffff:10.0.0.1", "2001:db8::1") == "2001:db8::1"
    assert one.scheme_of("10.0.0.1", "http", "https") == "https"
    assert none.scheme_of("10.0.0.1", "http", "https") == "http"


async def test_metrics_are_for_admins_and_for_the_machine_itself(shared_site: Site) -> None:
    site = shared_site
    local = await site.browser().get("/metrics")
    assert local.status_code == 200
    assert "chatserver_turns_running 0" in local.text
    for header in ("x-forwarded-for", "forwarded", "x-forwarded-proto"):
        assert (await site.browser().get("/metrics", headers={header: "1.2.3.4"})).status_code == 401
    member = await site.sign_up("member@example.org")
    admin = await site.sign_up("admin@example.org", role="admin")
    assert (await member.get("/metrics", headers={"x-forwarded-for": "1.2.3.4"})).status_code == 403
    assert (await admin.get("/metrics", headers={"x-forwarded-for": "1.2.3.4"})).status_code == 200


async def test_the_named_limits_answer_429_with_their_name(tmp_path: Path) -> None:
    limits = {"api_requests_per_minute": 5, "sends_per_minute": 2}
    async with open_site(tmp_path, limits=limits) as site:
        ada = await site.sign_up("ada@example.org")
        bob = await site.sign_up("bob@example.org")
        answers = [await ada.get("/api/models") for _ in range(7)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
        assert answers[-1].json()["error"]["code"] == "api_requests_per_minute"
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
        assert (await bob.get("/api/models")).status_code == 200
        sends = [await bob.post("/send", data={"text": "x"}) for _ in range(4)]
        assert [answer.status_code == 429 for answer in sends] == [False, False, True, True]
        wrong = [
            (await site.browser().get("/api/models", headers={"authorization": "Bearer x"})).status_code
            for _ in range(7)
        ]
        assert wrong == [401] * 5 + [429] * 2


async def test_one_account_holds_only_so_many_streams(tmp_path: Path) -> None:
    from chatserver.testing.upstream import FakeUpstream

    with FakeUpstream.in_thread() as upstream:
        async with open_site(tmp_path, upstream.base_url, limits={"streams_per_account": 2}) as site:
            await site.sign_up("ada@example.org")
            program = site.api(await site.make_key("ada@example.org"))
            conversation = (await program.post("/api/conversations", json={})).json()["id"]
            body = {"parent_id": None, "text": "x", "model": "fake-n2000-gap5"}
            turn = (await program.post(f"/api/conversations/{conversation}/messages", json=body)).json()["turn_id"]
            path = f"/api/turns/{turn}/events"
            async with program.stream("GET", path) as one, program.stream("GET", path) as two:
                assert (one.status_code, two.status_code) == (200, 200)
                third = await program.get(path)
                assert (third.status_code, third.json()["error"]["code"]) == (429, "streams_per_account")
            await program.post(f"/api/turns/{turn}/stop")


async def test_an_ended_session_closes_its_open_stream(shared_site: Site) -> None:
    site = shared_site
    ada = await site.sign_up("stream@example.org")
    sent = await ada.post("/api/conversations", json={})
    body = {"parent_id": None, "text": "x", "model": "fake-n2000-gap5"}
    turn = (await ada.post(f"/api/conversations/{sent.json()['id']}/messages", json=body)).json()["turn_id"]
    async with asyncio.timeout(6), ada.stream("GET", f"/events?turns={turn}:0") as stream:
        assert stream.status_code == 200
        assert ada.actor is not None
        await site.house.accounts.end_session(ada.actor)
        assert (await site.browser().get("/settings")).status_code == 303
        async for _ in stream.aiter_bytes():
            pass
    assert (await ada.get("/api/account")).status_code == 401
    await site.house.conversations.stop(ada.actor, turn)


async def test_a_key_does_what_its_scopes_say(shared_site: Site) -> None:
    await shared_site.sign_up("scopes@example.org")
    models = shared_site.api(await shared_site.make_key("scopes@example.org", ("models.use",)))
    chat = shared_site.api(await shared_site.make_key("scopes@example.org", ("chat",)))
    for path, by_models, by_chat in (
        ("/api/models", 200, 403),
        ("/api/account", 200, 200),
        ("/api/conversations", 403, 200),
        ("/api/search?q=x", 403, 200),
        ("/events?turns=x:0", 403, 404),
        ("/", 403, 200),
    ):
        assert ((await models.get(path)).status_code, (await chat.get(path)).status_code) == (by_models, by_chat), path
    refused = (await chat.get("/api/models")).json()["error"]
    assert refused["code"] == "not_allowed"


async def test_one_plugin_that_says_no_is_enough(tmp_path: Path) -> None:
    class Strict:
        @hookimpl()
        async def permission_allowed(self, actor: Actor, permission: str) -> bool | None:
            return False if permission == "chat.use" and actor.account.email.startswith("bob") else None

    class Generous:
        @hookimpl()
        async def permission_allowed(self, actor: Actor, permission: str) -> bool | None:
            return True

    async with open_site(tmp_path, plugins=[("strict", Strict()), ("generous", Generous())]) as site:
        ada, bob = await site.sign_up("ada@example.org"), await site.sign_up("bob@example.org")
        assert (await ada.get("/api/conversations")).status_code == 200
        assert (await bob.get("/api/conversations")).json()["error"]["code"] == "not_allowed"
        assert (await bob.get("/api/models")).status_code == 200


async def test_every_post_that_makes_a_turn_is_counted(shared_site: Site) -> None:
    from chatserver.web.door import SENDS

    makes_turns = re.compile(r"/send$|/(edit|regenerate|continue|compare)$|^/api/conversations/[^/]+/messages$")
    for route in shared_site.app.routes:
        if "POST" in (getattr(route, "methods", None) or ()):
            assert bool(SENDS.fullmatch(route.path)) == bool(makes_turns.search(route.path)), route.path


async def test_plugin_routes_stand_below_their_name_and_vanish_with_it(tmp_path: Path) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        actor = scope["state"]["actor"]
        who = actor.account.email if actor else "nobody"
        body = f"{scope['path']} {scope['root_path']} {scope['path_params']} {who}".encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": body})

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("broken inside")

    class Weather:
        @hookimpl()
        def register_routes(self) -> list[Route]:
            return [
                Route("/today/{city}", app),
                Route("/report", app, methods=("POST",)),
                Route("/broken", broken),
                Route("/", app),
            ]

    async with open_site(tmp_path, plugins=[("weather", Weather())]) as site:
        ada = await site.sign_up("ada@example.org")
        answer = await ada.get("/x/weather/today/new%20york")
        assert answer.text == "/today/new york /x/weather {'city': 'new york'} ada@example.org"
        assert answer.headers["content-security-policy"]
        assert (await site.browser().get("/x/weather/")).text.endswith("nobody")
        assert (await site.browser().get("/x/weather")).status_code == 200
        assert (await ada.get("/x/weather/report")).status_code == 405
        assert (await ada.post("/x/weather/report")).status_code == 200
        forged = await ada.post("/x/weather/report", headers={"sec-fetch-site": "cross-site"})
        assert forged.status_code == 403, "a plugin's routes are guarded like ours"
        assert (await ada.get("/x/weather/nowhere")).status_code == 404
        broken_answer = await ada.get("/x/weather/broken")
        assert (broken_answer.status_code, "inside" in broken_answer.text) == (500, False)
        site.house.plugins.switch("weather", False)
        for path in ("/x/weather/", "/x/weather/today/x"):
            assert (await ada.get(path)).status_code == 404
        site.house.plugins.switch("weather", True)
        assert (await ada.get("/x/weather/")).status_code == 200


class Mirror:
    """A plugin that says what it was told of who asks."""

    @hookimpl()
    def register_routes(self) -> list[Route]:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            body = f"{scope['state']['address']} {scope['scheme']}".encode()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": body})

        return [Route("/who", app)]


async def test_behind_https_the_cookie_is_host_bound_and_the_transport_strict(tmp_path: Path) -> None:
    public = {"host": "chat.example"}
    proxies = ("127.0.0.1",)
    async with open_site(
        tmp_path, public_url="https://chat.example", trusted_proxies=proxies, plugins=[("mirror", Mirror())]
    ) as site:
        await site.house.accounts.create("ada@example.org", secret="a quiet horse reads maps")
        browser = site.browser(headers=public)
        fields = {"email": "ada@example.org", "password": "a quiet horse reads maps"}
        request = browser.build_request("POST", "/sign-in", data=fields, headers={"origin": "http://chat.example"})
        assert (await browser.send(request)).status_code == 403, "the origin is another one over plain http"
        request = browser.build_request("POST", "/sign-in", data=fields, headers={"origin": "https://chat.example"})
        answer = await browser.send(request)
        assert answer.status_code == 303
        cookie = answer.headers["set-cookie"]
        assert re.fullmatch(r"__Host-sid=[\w-]{43}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=7776000", cookie)
        assert answer.headers["strict-transport-security"] == "max-age=31536000; includeSubDomains"
        value = cookie.partition("=")[2].partition(";")[0]
        signed_in = await site.browser(headers=public | {"cookie": f"__Host-sid={value}"}).get("/api/account")
        assert signed_in.status_code == 200
        plain = await site.browser(headers=public | {"cookie": f"sid={value}"}).get("/api/account")
        assert plain.status_code == 401, "a name that another host could have set is not read"
        forwarded = {"x-forwarded-for": "6.6.6.6, 203.0.113.9", "x-forwarded-proto": "https"}
        who = await site.browser(headers=public).get("/x/mirror/who", headers=forwarded)
        assert who.text == "203.0.113.9 https"
        assert (await site.browser().get("/sign-in")).status_code == 400
        assert (await site.browser().get("/healthz")).status_code == 200


async def test_forwarded_headers_of_anybody_else_are_noise(tmp_path: Path) -> None:
    async with open_site(tmp_path, plugins=[("mirror", Mirror())]) as site:
        forwarded = {"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "https", "x-forwarded-host": "evil.example"}
        assert (await site.browser().get("/x/mirror/who", headers=forwarded)).text == "127.0.0.1 http"


async def test_on_a_plain_home_network_forms_still_tell_their_origin(tmp_path: Path) -> None:
    """Under `no-referrer` a browser hides the origin of a form; over plain http it sends no Sec-Fetch-Site either."""
    async with open_site(tmp_path, public_url="http://box.local:8000") as site:
        browser = site.browser(headers={"host": "box.local:8000"})
        page = await browser.get("/sign-in")
        assert page.headers["referrer-policy"] == "same-origin"
        assert "not encrypted" in page.text
        for origin, status in (("http://box.local:8000", 401), ("null", 403), ("http://box.local", 403)):
            fields = {"email": "a@b.example", "password": "x"}
            request = browser.build_request("POST", "/sign-in", data=fields, headers={"origin": origin})
            assert (await browser.send(request)).status_code == status


async def test_every_address_tells_what_it_can_be_asked(shared_site: Site) -> None:
    site = shared_site
    root = await site.sign_up("verbs@example.org", role="admin")
    key = site.api(await site.make_key("verbs@example.org"))
    for client, path, told in (
        (root, "/settings", "GET, HEAD, OPTIONS"),
        (root, "/admin/settings", "GET, HEAD, OPTIONS, POST"),
        (key, "/api/conversations", "GET, HEAD, OPTIONS, POST"),
        (key, f"/api/conversations/{'0' * 26}", "DELETE, GET, HEAD, OPTIONS, PATCH"),
    ):
        options = await client.options(path)
        assert (options.status_code, options.headers["allow"], options.content) == (204, told, b""), path
        assert not any(name.startswith("access-control") for name in options.headers), "no other site may ask"
    for client, method, path, told in (
        (root, "POST", "/static/core/x", "GET, HEAD"),
        (root, "DELETE", "/x/presets/", "GET, HEAD"),
        (key, "GET", "/v1/chat/completions", "POST"),
        (key, "OPTIONS", "/v1/models", "GET, HEAD"),
        (root, "HEAD", "/events", "GET"),
    ):
        refused = await client.request(method, path)
        assert (refused.status_code, refused.headers["allow"]) == (405, told), path
    page = (await root.get("/settings")).text
    style = re.findall(r'href="(/static/[^"]+\.css)"', page)[0]
    paths = ((root, "/settings"), (root, style), (root, "/healthz"), (key, "/v1/models"), (key, "/api/models"))
    for client, path in paths:
        head, got = await client.head(path), await client.get(path)
        assert (head.status_code, head.content) == (200, b""), path
        assert head.headers["content-type"] == got.headers["content-type"], path
