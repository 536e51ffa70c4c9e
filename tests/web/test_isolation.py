"""Somebody else's id answers like an unknown one: every route, every place for an id, every kind of visitor.

The routes are read from the app. One that is not described here fails the test: describe it before it is merged.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio
from litestar.routes import ASGIRoute, HTTPRoute

from chatserver.clock import new_id
from chatserver.testing.server import Site
from chatserver.web.app import STREAMS

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Probe(msgspec.Struct, frozen=True):
    """One way of naming ids on a route. `{conversation}` and the like are Ada's ids, then unknown ones; `{own_…}` the
    visitor's own. Parameters of the path stand under their own names."""

    path: dict[str, str] = {}
    query: dict[str, str | list[str]] = {}
    json: Any = None
    form: dict[str, str] | None = None


CONVERSATION = {"conversation_id": "{conversation}"}
OWN = {"conversation_id": "{own_conversation}"}
MESSAGE = {"message_id": "{message}"}
REPLY = {"message_id": "{reply}"}
TURN = {"turn_id": "{turn}"}
FILE = {"file_id": "{file}"}
DELETION = {"deletion_id": "{deletion}"}

PLAIN = {
    "GET /",
    "GET /sign-in",
    "POST /sign-in",
    "POST /sign-out",
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
    "GET /static",
    "GET /sw.js",
    "GET /offline",
    "GET /search",
    "GET /palette",
    "GET /shortcuts",
    "GET /api/folders",
    "GET /settings",
    "GET /tuning",
    "POST /tuning",
    "GET /settings/data",
    "GET /settings/data/delete",
    "POST /settings/data/delete",
    "POST /settings/data/import",
    "GET /api/account/export",
    "POST /settings/look",
    "POST /settings/chatting",
    "POST /settings/keys",
    "POST /settings/name",
    "POST /settings/password",
    "GET /api/openapi.json",
    "GET /api/account",
    "GET /api/models",
    "GET /api/search",
    "GET /api/shares",
    "GET /shares",
    "GET /api/files",
    "POST /api/files",
    "POST /files",
    "GET /api/conversations",
    "POST /api/conversations",
    "GET /v1/models",
    "POST /v1/chat/completions",
    "POST /v1/embeddings",
    "POST /v1/audio/speech",
    "POST /v1/audio/transcriptions",
    "POST /v1/messages",
    "POST /v1/messages/count_tokens",
}
"""Routes that take no id of anybody's."""
ADMINS = {
    "GET /welcome",
    "POST /welcome/connect",
    "POST /welcome/test",
    "POST /welcome/begin",
    "POST /welcome/skip",
    "POST /welcome/disconnect",
    "GET /admin",
    "GET /admin/models",
    "POST /admin/models",
    "GET /admin/channels",
    "POST /admin/channels",
    "GET /admin/channels/new",
    "POST /admin/channels/test",
    "GET /admin/channels/{channel_id}",
    "POST /admin/channels/{channel_id}",
    "POST /admin/channels/{channel_id}/switch",
    "POST /admin/channels/{channel_id}/remove",
    "GET /admin/accounts",
    "POST /admin/accounts",
    "POST /admin/accounts/{account_id}",
    "GET /admin/plugins",
    "POST /admin/plugins/{name}",
    "GET /admin/settings",
    "POST /admin/settings",
    "GET /admin/audit",
    "GET /admin/notices",
    "POST /admin/notices/put-away",
}
"""Routes of the house as a whole, which belong to no account: only admins get in (test_connecting.py)."""
SECRETS = {"GET /setup/{token}", "POST /setup/{token}", "ANY /x"} | {
    "GET /s/{secret}",
    "GET /s/{secret}/alive",
    "GET /s/{secret}/b/{message_id}",
    "GET /s/{secret}/b/{message_id}/latest",
    "GET /s/{secret}/files/{file_id}",
    "POST /s/{secret}/copy",
}
"""What opens something by itself is no id: test_sign_in.py, test_shares.py. What is mounted below /x is tested by the
plugin that brings it."""

PROBES: dict[str, list[Probe]] = {
    "GET /api/conversations/{conversation_id}": [Probe(CONVERSATION)],
    "PATCH /api/conversations/{conversation_id}": [
        Probe(CONVERSATION, json={"title": "mine now"}),
        Probe(CONVERSATION, json={"tip": "{message}"}),
        Probe(CONVERSATION, json={"temporary": False}),
        Probe(CONVERSATION, json={"system_prompt": "obey me", "parameters": {"temperature": 1}}),
        Probe(OWN, json={"tip": "{message}"}),
        Probe(OWN, json={"folder_id": "{folder}"}),
        Probe(CONVERSATION, json={"tags": ["mine"]}),
    ],
    "DELETE /api/conversations/{conversation_id}": [Probe(CONVERSATION)],
    "POST /api/conversations/{conversation_id}/end": [Probe(CONVERSATION)],
    "GET /api/conversations/{conversation_id}/messages": [
        Probe(CONVERSATION),
        Probe(CONVERSATION, query={"tree": "1"}),
        Probe(CONVERSATION, query={"tip": "{message}"}),
        Probe(OWN, query={"tip": "{message}"}),
    ],
    "POST /api/conversations/{conversation_id}/messages": [
        Probe(CONVERSATION, json={"parent_id": None, "text": "x", "model": "fake-n5"}),
        Probe(CONVERSATION, json={"parent_id": "{message}", "text": "x", "model": "fake-n5"}),
        Probe(OWN, json={"parent_id": "{message}", "text": "x", "model": "fake-n5"}),
        Probe(OWN, json={"parent_id": None, "text": "x", "model": "fake-n5", "attachments": ["{file}"]}),
    ],
    "GET /api/files/{file_id}": [Probe(FILE)],
    "DELETE /api/files/{file_id}": [Probe(FILE)],
    "GET /files/{file_id}/chip": [Probe(FILE)],
    "GET /files/{file_id}": [Probe(FILE), Probe(FILE, query={"size": "thumbnail"})],
    "GET /api/conversations/{conversation_id}/export": [
        Probe(CONVERSATION),
        Probe(CONVERSATION, query={"format": "json", "scope": "tree"}),
        Probe(CONVERSATION, query={"format": "html", "tip": "{message}"}),
        Probe(OWN, query={"tip": "{message}"}),
    ],
    "POST /api/conversations/{conversation_id}/clear-context": [
        Probe(CONVERSATION, json={"message_id": "{message}"}),
        Probe(OWN, json={"message_id": "{message}"}),
    ],
    "DELETE /api/conversations/{conversation_id}/clear-context": [
        Probe(CONVERSATION, query={"message_id": "{message}"}),
        Probe(OWN, query={"message_id": "{message}"}),
    ],
    "POST /api/conversations/{conversation_id}/shares": [
        Probe(CONVERSATION, json={"tip": "{message}"}),
        Probe(CONVERSATION, json={"scope": "tree"}),
        Probe(OWN, json={"tip": "{message}"}),
    ],
    "DELETE /api/shares/{share_id}": [Probe({"share_id": "{share}"})],
    "DELETE /api/messages/{message_id}": [Probe(MESSAGE)],
    "POST /api/messages/{message_id}/edit": [Probe(MESSAGE, json={"text": "x", "model": "fake-n5"})],
    "POST /api/messages/{message_id}/regenerate": [Probe(MESSAGE, json={"model": "fake-n5"})],
    "POST /api/messages/{message_id}/continue": [Probe(MESSAGE)],
    "POST /api/deletions/{deletion_id}/undo": [Probe(DELETION)],
    "GET /api/turns/{turn_id}": [Probe(TURN)],
    "GET /api/turns/{turn_id}/prompt": [Probe({"turn_id": "{past}"})],
    "GET /api/messages/{message_id}/feedback": [Probe(REPLY)],
    "PUT /api/messages/{message_id}/feedback": [Probe(REPLY, json={"value": "bad", "reason": "not mine"})],
    "DELETE /api/messages/{message_id}/feedback": [Probe(REPLY)],
    "POST /api/turns/{turn_id}/stop": [Probe(TURN)],
    "POST /api/turns/{turn_id}/tools/{call_id}": [Probe({**TURN, "call_id": "call_1"}, json={"answer": "once"})],
    "GET /api/turns/{turn_id}/events": [Probe(TURN), Probe(TURN, query={"after": "3"})],
    "GET /events": [
        Probe(query={"turns": "{turn}:0"}),
        Probe(query={"turns": "{own_turn}:0,{turn}:0"}),
    ],
    "GET /c/{conversation_id}": [Probe(CONVERSATION)],
    "GET /c/{conversation_id}/{message_id}": [
        Probe(CONVERSATION | MESSAGE),
        Probe(OWN | MESSAGE),
        Probe(OWN | {"message_id": "{own_message}"}, query={"before": "{message}"}),
    ],
    "GET /c/{conversation_id}/{message_id}/latest": [Probe(CONVERSATION | MESSAGE), Probe(OWN | MESSAGE)],
    "GET /c/{conversation_id}/{message_id}/compare": [
        Probe(CONVERSATION | MESSAGE),
        Probe(OWN | MESSAGE),
        Probe(OWN | {"message_id": "{own_message}"}, query={"with": "{message}"}),
    ],
    "POST /c/{conversation_id}/{message_id}/compare": [
        Probe(CONVERSATION | MESSAGE, form={"models": "fake-n5"}),
        Probe(OWN | MESSAGE, form={"models": "fake-n5"}),
        Probe(OWN | {"message_id": "{own_message}"}, form={"with": "{message}", "again": "{message}"}),
    ],
    "GET /m/{message_id}/compare": [Probe(MESSAGE)],
    "POST /m/{message_id}/keep": [Probe(MESSAGE, form={})],
    "GET /c/{conversation_id}/about/{what}": [
        Probe(CONVERSATION | {"what": "rename"}),
        Probe(CONVERSATION | {"what": "delete"}),
        Probe(CONVERSATION | {"what": "end"}),
        Probe(CONVERSATION | {"what": "export"}),
    ],
    "GET /c/{conversation_id}/share": [Probe(CONVERSATION), Probe(CONVERSATION, query={"tip": "{message}"})],
    "POST /c/{conversation_id}/share": [
        Probe(CONVERSATION, form={"tip": "{message}"}),
        Probe(OWN, form={"tip": "{message}"}),
    ],
    "POST /shares/{share_id}/revoke": [
        Probe({"share_id": "{share}"}, form={}),
        Probe({"share_id": "{share}"}, form={"conversation_id": "{conversation}"}),
    ],
    "POST /c/{conversation_id}/keep": [Probe(CONVERSATION, form={})],
    "POST /c/{conversation_id}/end": [Probe(CONVERSATION, form={})],
    "POST /c/{conversation_id}/opened": [Probe(CONVERSATION, form={})],
    "POST /c/{conversation_id}/closed": [Probe(CONVERSATION, form={})],
    "POST /c/{conversation_id}/rename": [Probe(CONVERSATION, form={"title": "mine now"})],
    "POST /c/{conversation_id}/pin": [Probe(CONVERSATION, form={"pinned": "1"})],
    "POST /c/{conversation_id}/delete": [Probe(CONVERSATION, form={})],
    "POST /c/{conversation_id}/clear-context": [
        Probe(CONVERSATION, query={"message_id": "{message}"}, form={}),
        Probe(OWN, query={"message_id": "{message}"}, form={}),
    ],
    "POST /c/{conversation_id}/restore-context": [
        Probe(CONVERSATION, query={"message_id": "{message}"}, form={}),
        Probe(OWN, query={"message_id": "{message}"}, form={}),
    ],
    "GET /c/{conversation_id}/{message_id}/map": [Probe(CONVERSATION | MESSAGE), Probe(OWN | MESSAGE)],
    "GET /c/{conversation_id}/{message_id}/sources": [Probe(CONVERSATION | MESSAGE), Probe(OWN | MESSAGE)],
    "GET /c/{conversation_id}/{message_id}/rename-branch": [Probe(CONVERSATION | MESSAGE), Probe(OWN | MESSAGE)],
    "POST /c/{conversation_id}/{message_id}/name": [
        Probe(CONVERSATION | MESSAGE, form={"name": "mine now"}),
        Probe(OWN | MESSAGE, form={"name": "mine now"}),
    ],
    "GET /c/{conversation_id}/difference": [
        Probe(CONVERSATION, query={"branch": ["{message}", "{message}"]}),
        Probe(OWN, query={"branch": ["{own_message}", "{message}"]}),
    ],
    "GET /c/{conversation_id}/difference/{left}/{right}": [
        Probe(CONVERSATION | {"left": "{message}", "right": "{message}"}),
        Probe(OWN | {"left": "{own_message}", "right": "{message}"}),
    ],
    "GET /m/{message_id}/fork": [Probe(MESSAGE)],
    "POST /m/{message_id}/fork": [Probe(MESSAGE, form={"scope": "all"})],
    "GET /api/conversations/{conversation_id}/branches": [
        Probe(CONVERSATION),
        Probe(CONVERSATION, query={"tip": "{message}"}),
        Probe(OWN, query={"tip": "{message}"}),
    ],
    "POST /api/conversations/{conversation_id}/fork": [
        Probe(CONVERSATION, json={"message_id": "{message}"}),
        Probe(OWN, json={"message_id": "{message}"}),
    ],
    "PUT /api/messages/{message_id}/branch-name": [Probe(MESSAGE, json={"name": "mine now"})],
    "GET /c/{conversation_id}/filing": [Probe(CONVERSATION)],
    "POST /c/{conversation_id}/filing": [
        Probe(CONVERSATION, form={"tags": "mine"}),
        Probe(OWN, form={"folder_id": "{folder}"}),
    ],
    "POST /c/{conversation_id}/archive": [Probe(CONVERSATION, form={"archived": "1"})],
    "POST /chats/do": [
        Probe(form={"do": "archive", "chat": "{conversation}"}),
        Probe(form={"do": "move", "chat": "{own_conversation}", "folder_id": "{folder}"}),
    ],
    "POST /chats/restore": [Probe(form={"deletion": "{deletion}"})],
    "POST /folders": [Probe(form={"name": "mine", "parent_id": "{folder}"})],
    "POST /folders/{folder_id}": [
        Probe({"folder_id": "{folder}"}, form={"name": "mine now"}),
        Probe({"folder_id": "{folder}"}, form={"do": "remove"}),
    ],
    "POST /api/folders": [Probe(json={"name": "mine", "parent_id": "{folder}"})],
    "PATCH /api/folders/{folder_id}": [Probe({"folder_id": "{folder}"}, json={"name": "mine now"})],
    "DELETE /api/folders/{folder_id}": [Probe({"folder_id": "{folder}"})],
    "GET /chats": [Probe(query={"folder": "{folder}"})],
    "POST /send": [
        Probe(form={"conversation_id": "{conversation}", "text": "x", "model": "fake-n5"}),
        Probe(form={"conversation_id": "{conversation}", "parent_id": "{message}", "text": "x", "model": "fake-n5"}),
        Probe(
            form={"conversation_id": "{own_conversation}", "parent_id": "{message}", "text": "x", "model": "fake-n5"}
        ),
        Probe(form={"text": "x", "model": "fake-n5", "attachments": "{file}"}),
    ],
    "GET /m/{message_id}/edit": [Probe(MESSAGE)],
    "POST /m/{message_id}/edit": [Probe(MESSAGE, form={"text": "x"})],
    "POST /m/{message_id}/regenerate": [Probe(MESSAGE, form={})],
    "POST /m/{message_id}/continue": [Probe(MESSAGE, form={})],
    "POST /m/{message_id}/preview": [Probe(MESSAGE, form={"text": "x"})],
    "GET /m/{message_id}/more": [Probe(MESSAGE), Probe(REPLY)],
    "GET /m/{message_id}/feedback": [Probe(REPLY)],
    "POST /m/{message_id}/feedback": [Probe(REPLY, form={"value": "bad"})],
    "POST /m/{message_id}/feedback/why": [Probe(REPLY, form={"value": "bad", "tag.wrong": "1", "reason": "not mine"})],
    "POST /m/{message_id}/feedback/take-back": [Probe(REPLY, form={})],
    "GET /t/{turn_id}/prompt": [Probe({"turn_id": "{past}"})],
    "GET /c/{conversation_id}/tuning": [Probe(CONVERSATION)],
    "POST /c/{conversation_id}/tuning": [Probe(CONVERSATION, form={"system_prompt": "obey me", "temperature": "1"})],
    "GET /m/{message_id}/text": [Probe(MESSAGE)],
    "GET /m/{message_id}/delete": [Probe(MESSAGE)],
    "POST /m/{message_id}/delete": [Probe(MESSAGE, form={})],
    "POST /t/{turn_id}/stop": [Probe(TURN, form={})],
    "POST /t/{turn_id}/tools/{call_id}": [Probe({**TURN, "call_id": "call_1"}, query={"answer": "once"}, form={})],
    "POST /deletions/{deletion_id}/restore": [Probe(DELETION, form={})],
    "POST /deletions/{deletion_id}/restore-chat": [Probe(DELETION, form={})],
    "POST /settings/sessions/end": [Probe(form={"session_id": "{session}"})],
    "POST /settings/keys/revoke": [Probe(form={"key_id": "{key}"})],
}
VISITORS = ("nobody", "member", "key", "scoped", "admin", "suspended")


def routes_of(site: Site) -> set[str]:
    found = {f"GET {path}" for path in STREAMS}
    for route in site.app.routes:
        path = re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path)
        if isinstance(route, HTTPRoute):
            found |= {f"{method} {path}" for method in route.methods - {"OPTIONS", "HEAD"}}
        else:
            assert isinstance(route, ASGIRoute)
            found.add(f"{'GET' if path == '/static' else 'ANY'} {path}")
    for one in site.app.state.door.endpoints.all():
        found |= {f"{method} {one.path}" for method in one.methods if not one.path.endswith("/")}
    return found


async def ask(client: httpx.AsyncClient, text: str, model: str) -> tuple[str, dict[str, str]]:
    conversation = (await client.post("/api/conversations", json={"title": "A secret plan"})).json()["id"]
    body = {"parent_id": None, "text": text, "model": model}
    return conversation, (await client.post(f"/api/conversations/{conversation}/messages", json=body)).json()


async def ended(client: httpx.AsyncClient, turn_id: str) -> None:
    """Wait for a turn, so that its ending is not taken for what a probe did."""
    async with asyncio.timeout(20):
        while (await client.get(f"/api/turns/{turn_id}")).json()["state"] == "running":
            await asyncio.sleep(0.02)


class World(msgspec.Struct):
    site: Site
    ada: Any
    ids: dict[str, str]
    unknown: dict[str, str]
    own: dict[str, dict[str, str]]
    visitors: dict[str, httpx.AsyncClient]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(shared_site: Site) -> AsyncIterator[World]:
    site = shared_site
    ada = await site.sign_up("ada@example.org")
    assert ada.actor is not None
    conversation, sent = await ask(ada, "where the treasure is", "fake-hang")
    _, other = await ask(ada, "to be deleted", "fake-hang")
    _, answered = await ask(ada, "and how deep", "fake-n5")
    await ended(ada, answered["turn_id"])
    said = await ada.put(f"/api/messages/{answered['reply_id']}/feedback", json={"value": "good", "reason": "hers"})
    assert said.status_code == 200
    deletion = (await ada.delete(f"/api/messages/{other['question_id']}")).json()["deletion_id"]
    await ended(ada, other["turn_id"])
    key = await site.house.accounts.create_key(ada.actor.account, "hers")
    share = await ada.post(f"/api/conversations/{conversation}/shares", json={"tip": sent["question_id"]})
    ids = {
        "conversation": conversation,
        "message": sent["question_id"],
        "reply": answered["reply_id"],
        "past": answered["turn_id"],
        "turn": sent["turn_id"],
        "deletion": deletion,
        "session": ada.actor.session_id,
        "key": key.key.id,
        "folder": (await site.house.filing.make_folder(ada.actor, "Hers")).id,
        "file": (await ada.post("/api/files", files={"file": ("map.txt", b"the treasure")})).json()["id"],
        "share": share.json()["id"],
    }
    unknown = {name: new_id() for name in ids} | {"session": "0" * 64, "key": new_id()[-16:]}
    visitors: dict[str, httpx.AsyncClient] = {
        "nobody": site.browser(),
        "member": await site.sign_up("member@example.org"),
        "admin": await site.sign_up("admin@example.org", role="admin"),
        "suspended": await site.sign_up("suspended@example.org"),
        "key": site.api(""),
        "scoped": site.api(""),
    }
    await site.sign_up("program@example.org")
    for name, scopes in (("key", ()), ("scoped", ("chat",))):
        visitors[name].headers["authorization"] = f"Bearer {await site.make_key('program@example.org', scopes)}"
    own = {}
    for name in ("member", "key", "scoped", "admin", "suspended"):
        own_conversation, own_sent = await ask(visitors[name], "mine", "fake-n5")
        await ended(visitors[name], own_sent["turn_id"])
        own[name] = {
            "own_conversation": own_conversation,
            "own_message": own_sent["reply_id"],
            "own_turn": own_sent["turn_id"],
        }
        async with asyncio.timeout(20):  # what ends behind the scenes must not be counted among a probe's statements
            while (await visitors[name].get(f"/api/turns/{own_sent['turn_id']}")).json()["state"] == "running":
                await asyncio.sleep(0.01)
    own["nobody"] = {"own_conversation": new_id(), "own_message": new_id(), "own_turn": new_id()}
    suspended = await site.house.accounts.by_email("suspended@example.org")
    assert suspended is not None
    await site.house.accounts.update(suspended.id, state="suspended")
    yield World(site, ada, ids, unknown, own, visitors)
    await ada.post(f"/api/turns/{sent['turn_id']}/stop")


async def test_every_route_is_described_here(shared_site: Site) -> None:
    known = PLAIN | ADMINS | SECRETS | set(PROBES)
    found = routes_of(shared_site)
    assert found - known == set(), "describe these routes in PROBES: which ids do they take, and where?"
    assert known - found == set(), "these routes are gone"


@pytest.mark.parametrize("visitor", VISITORS)
@pytest.mark.parametrize("route", sorted(PROBES))
async def test_a_foreign_id_answers_like_an_unknown_one(world: World, route: str, visitor: str) -> None:
    for probe in PROBES[route]:
        before = await everything_of(world)
        foreign, foreign_sql = await visit(world, route, probe, visitor, world.ids)
        assert await everything_of(world) == before, "nothing of hers may change"
        unknown, unknown_sql = await visit(world, route, probe, visitor, world.unknown)
        assert foreign == unknown
        status, headers = foreign[0], dict(foreign[1])
        if visitor in ("nobody", "suspended"):
            signed_out = {401} if route.partition(" ")[2].startswith(("/api", "/events")) else {303, 401}
            assert status in signed_out, foreign
            assert headers.get("location", "/sign-in").startswith("/sign-in")
        elif visitor in ("key", "scoped") and "/settings" in route:
            assert status == 403
        else:
            assert status == 404, foreign
        assert foreign_sql == unknown_sql
        if status == 404:
            malformed, _ = await visit(world, route, probe, visitor, dict.fromkeys(world.ids, "no-such-id'\""))
            assert malformed[0] in (404, 400), malformed


async def visit(
    world: World, route: str, probe: Probe, visitor: str, ids: dict[str, str]
) -> tuple[tuple[int, list[tuple[str, str]], str], list[str]]:
    """Status, headers and body with the ids taken out, and the statements that were run."""
    names = {**ids, **world.own[visitor]}
    method, _, template = route.partition(" ")
    path = template
    for name, value in probe.path.items():
        path = path.replace(f"{{{name}}}", httpx.URL(fill(value, names)).raw_path.decode().lstrip("/") or "x")
    options: dict[str, Any] = {"params": filled(probe.query, names)}
    if probe.json is not None:
        options["json"] = filled(probe.json, names)
    if probe.form is not None:
        options["data"] = {name: fill(value, names) for name, value in probe.form.items()}
    with recorded(world.site) as statements:
        response = await world.visitors[visitor].request(method, path, **options)
    body = response.text
    ids_there = sorted(set(names.values()), key=len, reverse=True)
    headers = [
        (name, value) for name, value in response.headers.items() if name not in ("date", "x-request-id", "location")
    ]
    where = response.headers.get("location", "").partition("?")[0]
    headers += [("location", where)] if where else []
    for value in (*ids_there, response.headers["x-request-id"]):
        body = body.replace(value, "ID")
    return (response.status_code, headers, body), list(statements)


def filled(values: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    def one(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [one(inner) for inner in value]
        return fill(value, names) if isinstance(value, str) else value

    return {name: one(value) for name, value in values.items()}


def fill(text: str, names: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: names[found[1]], text)


@contextmanager
def recorded(site: Site) -> Iterator[list[str]]:
    """The statements of all transactions in between, background work and the look at the credential aside."""
    statements: list[str] = []
    background = ("jobs", "outbox", "turn_events", "lease_", "model_factors")
    background += ("FROM facts", "FROM channels", "FROM house_settings", "FROM plugin_switches")
    background += ("FROM conversations c WHERE c.temporary = 1",)
    background += ("FROM sessions s", "FROM api_keys WHERE hash", "FROM accounts a", "gateway_figures", "nodes")
    background += ("knowledge_serving", "knowledge_vectors")

    class Recorder:
        def __init__(self, tx: Any) -> None:
            self._tx = tx

        def __getattr__(self, name: str) -> Any:
            method = getattr(self._tx, name)
            if name not in ("all", "one", "run"):
                return method

            def run(*arguments: Any, **parameters: Any) -> Any:
                sql = next(argument for argument in arguments if isinstance(argument, str))
                if not any(word in sql for word in background):
                    statements.append(sql)
                return method(*arguments, **parameters)

            return run

    db: Any = site.house.db
    read, write = db.read, db.write
    db.read = lambda function, **options: read(lambda tx: function(Recorder(tx)), **options)
    db.write = lambda function, **options: write(lambda tx: function(Recorder(tx)), **options)
    try:
        yield statements
    finally:
        del db.read, db.write


async def everything_of(world: World) -> list[list[str]]:
    """All that is Ada's, read below the door."""
    account_id = world.ada.actor.account_id
    conversations = "SELECT id FROM conversations WHERE owner_id = :id"
    questions = (
        "SELECT id || title || system_prompt || parameters || COALESCE(tip_id, '') || pinned || archived"
        " || COALESCE(deletion_id, '') FROM conversations WHERE owner_id = :id ORDER BY id",
        "SELECT id || state || parts || COALESCE(deletion_id, '') FROM messages"
        f" WHERE conversation_id IN ({conversations}) ORDER BY id",
        f"SELECT id || state || stop_requested FROM turns WHERE conversation_id IN ({conversations}) ORDER BY id",
        f"SELECT message_id FROM context_markers WHERE conversation_id IN ({conversations}) ORDER BY message_id",
        f"SELECT id FROM deletions WHERE conversation_id IN ({conversations}) ORDER BY id",
        "SELECT id FROM sessions WHERE account_id = :id ORDER BY id",
        f"SELECT message_id || value || reason FROM feedback WHERE conversation_id IN ({conversations})",
        f"SELECT turn_id || record FROM turn_prompts WHERE conversation_id IN ({conversations}) ORDER BY turn_id",
        "SELECT id || title FROM shares WHERE owner_id = :id ORDER BY id",
        "SELECT id || name FROM files WHERE owner_id = :id ORDER BY id",
        "SELECT id || COALESCE(revoked_at, '') FROM api_keys WHERE account_id = :id ORDER BY id",
    )
    return await world.site.house.db.read(lambda tx: [tx.all(str, sql, id=account_id) for sql in questions])


async def test_what_is_ones_own_is_found(world: World) -> None:
    """The probes above would pass on a server that answers 404 to everything."""
    own = world.own["member"]
    member = world.visitors["member"]
    for path in (
        f"/api/conversations/{own['own_conversation']}",
        f"/api/turns/{own['own_turn']}",
        f"/c/{own['own_conversation']}/{own['own_message']}",
        f"/m/{own['own_message']}/text",
    ):
        assert (await member.get(path)).status_code == 200, path


async def test_lists_and_search_show_ones_own_only(world: World) -> None:
    for visitor in ("member", "key", "admin"):
        client = world.visitors[visitor]
        for path in ("/api/conversations", "/api/search?q=treasure", "/search?q=secret", "/chats", "/"):
            answer = await client.get(path)
            assert answer.status_code == 200
            assert "treasure is" not in answer.text
            assert world.ids["conversation"] not in answer.text
