"""Bad input gets the error format and never a 5xx: every route, every kind of body."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from typing import Any

import httpx
import pytest
from litestar.routes import HTTPRoute

from chatserver.clock import new_id
from chatserver.errors import BadInput
from chatserver.testing.server import Site
from chatserver.web.bodies import BODY_MAX_BYTES, check_depth, form_token

pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=x"
BODIES: list[tuple[str, str, bytes]] = [
    ("empty", JSON, b""),
    ("100,000 brackets", JSON, b"[" * 100_000),
    ("100,000 braces", JSON, b'{"a":' * 100_000),
    ("100,000 brackets inside", JSON, b'{"text":' + b"[" * 100_000),
    ("deep but closed", JSON, b"[" * 500 + b"]" * 500),
    ("invalid UTF-8", JSON, b'{"text": "\xff\xfe"}'),
    ("half a surrogate", JSON, rb'{"text": "\ud800", "title": "\udfff", "message_id": "\ud800"}'),
    ("a NUL", JSON, rb'{"text": "a\u0000b", "title": "\u0000", "parent_id": "\u0000", "tip": "\u0000"}'),
    ("cut off", JSON, b'{"text": "abc'),
    ("not an object", JSON, b"[1, 2, 3]"),
    ("null", JSON, b"null"),
    ("a number", JSON, b"1e999"),
    ("a string", JSON, b'"text"'),
    ("numbers for texts", JSON, b'{"text": 1, "title": 2, "model": 3, "parent_id": 4, "message_id": 5, "tip": 6}'),
    ("lists for texts", JSON, b'{"text": [], "title": {}, "model": [], "parent_id": {}, "pinned": "x", "tip": []}'),
    ("a huge number", JSON, b'{"text": ' + b"9" * 5000 + b"}"),
    ("unknown fields", JSON, b'{"text": "x", "nonsense": true, "role": "admin"}'),
    ("twice the same", JSON, b'{"text": "x", "text": 1}'),
    ("no content type", "", b"{"),
    ("a strange content type", "text/xml", b"<a/>"),
    ("a form for JSON", FORM, b"text=x&model=fake-n5"),
    ("invalid UTF-8 in a form", FORM, b"text=%ff%fe&title=%ff&email=%ff&password=%ff"),
    ("raw bytes in a form", FORM, b"text=\xff\xfe"),
    ("a NUL in a form", FORM, b"text=%00&conversation_id=%00&name=%00&email=%00&session_id=%00&key_id=%00"),
    ("5,000 fields", FORM, b"&".join(b"f%d=x" % number for number in range(5000))),
    ("a form without an end", MULTIPART, b'--x\r\nContent-Disposition: form-data; name="text"\r\n\r\nabc'),
    ("a form of nonsense", MULTIPART, b"\x00\x01--x--x--"),
    ("a form without a boundary", "multipart/form-data", b"abc"),
    (
        "a form of invalid UTF-8",
        MULTIPART,
        b'--x\r\nContent-Disposition: form-data; name="te\xffxt"\r\n\r\n\xff\r\n--x--',
    ),
    (
        "a file for a text",
        MULTIPART,
        b'--x\r\nContent-Disposition: form-data; name="text"; filename="a"\r\n\r\nabc\r\n--x--\r\n',
    ),
    ("too large", JSON, b'{"text": "' + b"x" * BODY_MAX_BYTES + b'"}'),
    ("too large a form", FORM, b"text=" + b"x" * BODY_MAX_BYTES),
]
QUERIES = [
    "q=%ff%fe",
    "q=%00",
    "q=" + "x" * 5000,
    "q=%22%20OR%20*%28",
    "after=" + "9" * 400,
    "after=-1",
    "after=%ff",
    "tip=%00&tree=banana",
    "before=%ff",
    "turns=" + "a:b," * 50,
    "turns=%ff:%00",
    "message_id=%00",
    "archived=perhaps&pinned=perhaps",
    "current=%ff",
    "&&&===",
]


def routes_of(site: Site) -> list[tuple[str, str]]:
    """Every method and path of the app, each parameter an unknown id."""
    found = [("GET", "/events"), ("GET", f"/api/turns/{new_id()}/events")]
    for route in site.app.routes:
        if isinstance(route, HTTPRoute):
            path = re.sub(r"\{(\w+):\w+\}", lambda _: new_id(), route.path)
            found += [(method, path) for method in sorted(route.methods - {"OPTIONS"})]
    return found


def check(response: httpx.Response, told: str) -> None:
    assert response.status_code < 500, (told, response.status_code, response.text[:300])
    if response.request.method == "HEAD":
        assert response.content == b""
    elif response.status_code >= 400 and response.request.url.path.startswith("/api"):
        error = response.json()["error"]
        assert set(error) == {"code", "message", "request_id"}, told
        assert error["request_id"] == response.headers["x-request-id"]
        assert error["message"]


async def clients_of(site: Site, name: str) -> list[httpx.AsyncClient]:
    """Who would get past the door: a key on the API, a session on the pages."""
    browser = await site.sign_up(f"{name}@example.org", role="admin")
    return [site.api(await site.make_key(f"{name}@example.org")), browser]


@pytest.mark.parametrize(("name", "content_type", "body"), BODIES, ids=[name for name, _, _ in BODIES])
async def test_no_body_breaks_a_route(shared_site: Site, name: str, content_type: str, body: bytes) -> None:
    site = shared_site
    key, browser = await clients_of(site, f"body{BODIES.index((name, content_type, body))}")
    mine = (await key.post("/api/conversations", json={})).json()["id"]
    routes = [(method, path) for method, path in routes_of(site) if method != "GET" and path != "/sign-out"]
    routes += [("POST", f"/api/conversations/{mine}/messages"), ("PATCH", f"/api/conversations/{mine}")]
    routes += [("POST", f"/c/{mine}/rename"), ("POST", f"/api/conversations/{mine}/clear-context")]

    async def send(method: str, path: str) -> None:
        client = key if path.startswith("/api") else browser
        headers = {"content-type": content_type} if content_type else {}
        response = await client.request(method, path, content=body, headers=headers)
        check(response, f"{name} to {method} {path}")
        if name.startswith("too large"):
            assert response.status_code == 413
        if name in ("100,000 brackets", "deep but closed", "invalid UTF-8", "raw bytes in a form"):
            assert response.status_code == 400

    await asyncio.gather(*(send(method, path) for method, path in routes))


@pytest.mark.parametrize("query", QUERIES)
async def test_no_query_breaks_a_route(shared_site: Site, query: str) -> None:
    site = shared_site
    key, browser = await clients_of(site, f"query{QUERIES.index(query)}")
    mine = (await key.post("/api/conversations", json={})).json()["id"]
    routes = [path for method, path in routes_of(site) if method == "GET"]
    routes += [f"/api/conversations/{mine}/messages", f"/c/{mine}", f"/c/{mine}/{new_id()}"]
    for path in routes:
        client = key if path.startswith("/api") else browser
        check(await client.get(f"{path}?{query}"), f"GET {path}?{query}")


@pytest.mark.parametrize(
    "segment", ["%00", "%ff", "%2e%2e", "..%2f..%2fetc%2fpasswd", "x" * 3000, "%F0%9F%8C%B3", "'--", "a%0d%0ab"]
)
async def test_no_path_breaks_a_route(shared_site: Site, segment: str) -> None:
    site = shared_site
    key, browser = await clients_of(site, f"path{abs(hash(segment))}")
    for route in site.app.routes:
        path = re.sub(r"\{(\w+):\w+\}", lambda _: segment, route.path)
        if path == route.path and path not in ("/static", "/x"):
            continue
        path = path if path != route.path else f"{path}/{segment}/{segment}/{segment}"
        client: Any = key if path.startswith("/api") else browser
        for method in getattr(route, "methods", None) or {"GET"}:
            response = await client.request(method, path)
            check(response, f"{method} {path}")
    for path in (f"/api/turns/{segment}/events", f"/{segment}"):
        check(await key.get(path), path)


@pytest.mark.parametrize("method", ["PUT", "TRACE", "OPTIONS", "HEAD", "PROPFIND", "DELETE", "PATCH", "POST"])
async def test_no_method_breaks_a_route(shared_site: Site, method: str) -> None:
    key, browser = await clients_of(shared_site, f"method{method.lower()}")
    paths = {path for _, path in routes_of(shared_site)} - {"/sign-out"}
    for path in sorted(paths):
        client: Any = key if path.startswith("/api") else browser
        async with asyncio.timeout(5):
            check(await client.request(method, path), f"{method} {path}")


async def test_depth_is_counted_outside_of_strings() -> None:
    check_depth(b'{"text": "' + b"[" * 5000 + b'"}')
    check_depth(b'{"text": "' + rb"\"[[" * 500 + b'"}')
    check_depth(b"[]" * 5000)
    check_depth(b"[" * 64 + b"]" * 64)
    with pytest.raises(BadInput):
        check_depth(b"[" * 65 + b"]" * 65)
    with pytest.raises(BadInput):
        check_depth(b'{"a": "\\\\"' + b"[" * 65)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 70 + b'"' + b'\\"' * 500_000,
        b"[" * 70 + b'"\\' * 300_000,
        b'["' * 500_000,
        b"[]" * 500_000,
        b'[""]' * 250_000,
        b"{" * 70 + b"\\" * 1_000_000,
        b"&csrf=" * 170_000,
    ],
)
async def test_no_body_keeps_the_loop_busy(body: bytes) -> None:
    began = time.process_time()
    with contextlib.suppress(BadInput):
        check_depth(body)
    form_token(body, FORM.encode())
    form_token(body, MULTIPART.encode())
    assert time.process_time() - began < 0.2


async def test_a_log_line_of_a_bad_request_holds_none_of_it(
    shared_site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    key, browser = await clients_of(shared_site, "canary")
    for client in (key, browser):
        await client.post("/api/conversations", content=b'{"title": "canary-7391"', headers={"content-type": JSON})
        await client.get("/search?q=canary-7391")
        await client.post("/send", data={"text": "canary-7391", "model": "canary-model"})
        await client.post("/sign-in", data={"email": "x@example.org", "password": "canary-7391"})
    printed = capsys.readouterr()
    assert "canary-7391" not in printed.out + printed.err
    assert str(key.headers["authorization"]).split("_")[2] not in printed.out + printed.err
