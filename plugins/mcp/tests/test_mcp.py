"""Against a server of strangers: the protocol's own SDK, in both its forms, on a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvicorn
from chatserver_mcp import Mcp
from chatserver_mcp.connection import Connection
from chatserver_mcp.offering import _named
from chatserver_mcp.protocol import EventReader, to_outcome
from chatserver_mcp.servers import ServerAddress, read_servers
from mcp.server.mcpserver import MCPServer
from mcp.types import ToolAnnotations

from chatserver import SetupError, Unavailable
from chatserver.clock import monotonic_s
from chatserver.testing.provider import open_egress
from chatserver.testing.server import SiteClient, open_site
from chatserver.testing.upstream import FakeUpstream, ToolAsk

TOKEN = "canary-token-of-mcp"


class Garden:
    """The stranger. written: what its tool that acts was told. ended: the sessions that were closed with a good-bye."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.ended: list[str] = []
        self.server = MCPServer("garden")

        @self.server.tool(annotations=ToolAnnotations(readOnlyHint=True))
        def look(at: str) -> str:
            """Look at something."""
            return f"A {at}, 12 m tall. <script>alert(1)</script>"

        @self.server.tool()
        def plant(what: str) -> str:
            """Plant something."""
            self.written.append(what)
            return f"planted {what}"

        @self.server.tool(annotations=ToolAnnotations(readOnlyHint=True))
        def wilt() -> str:
            """Fail."""
            raise ValueError("it wilted")

    def app(self, *, json_response: bool) -> Any:
        inner = self.server.streamable_http_app(json_response=json_response)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                headers = {name.decode(): value.decode() for name, value in scope["headers"]}
                self.headers.append(headers)
                if scope["method"] == "DELETE":
                    self.ended.append(headers["mcp-session-id"])
            await inner(scope, receive, send)

        return app


@contextlib.asynccontextmanager
async def serving(app: Any) -> AsyncIterator[str]:
    """The address of an app behind a real server."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none", timeout_graceful_shutdown=1))
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        task = asyncio.create_task(server.serve([sock]))
        deadline = monotonic_s() + 10
        while not server.started:
            assert monotonic_s() < deadline and not task.done()
            await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{sock.getsockname()[1]}/mcp"
        server.should_exit = True
        await task


@pytest.fixture(params=[True, False], ids=["json", "events"])
async def garden(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Garden, str]]:
    made = Garden()
    async with serving(made.app(json_response=request.param)) as url:
        yield made, url


async def test_tools_are_listed_and_called(garden: tuple[Garden, str]) -> None:
    made, url = garden
    async with open_egress() as http:
        connection = Connection(ServerAddress("garden", url, TOKEN), http)
        remote = await connection.tools()
        tools = {tool.spec.name: tool for tool in _named(connection, remote)}
        assert {name: tool.needs_consent for name, tool in tools.items()} == {
            "garden__look": False,
            "garden__plant": True,
            "garden__wilt": False,
        }
        assert tools["garden__look"].spec.description == "Look at something."
        assert tools["garden__look"].spec.parameters["required"] == ["at"]
        seen = to_outcome(await connection.call("look", {"at": "oak"}))
        assert (seen.text, seen.is_error) == ("A oak, 12 m tall. <script>alert(1)</script>", False)
        wilted = to_outcome(await connection.call("wilt", {}))
        assert wilted.is_error
        assert to_outcome(await connection.call("look", {})).is_error, "arguments that do not fit are the tool's no"
        assert {one["authorization"] for one in made.headers} == {f"Bearer {TOKEN}"}
        assert len({one.get("mcp-session-id") for one in made.headers[1:]}) == 1, "one session for all"
        assert all(one["mcp-protocol-version"] == "2025-11-25" for one in made.headers[1:])
        await connection.close()


async def test_a_server_that_forgot_the_session_is_greeted_again(garden: tuple[Garden, str]) -> None:
    _made, url = garden
    async with open_egress() as http:
        connection = Connection(ServerAddress("garden", url), http)
        await connection.tools()
        connection._session = "0" * 32
        assert len(await connection.tools()) == 3
        assert connection._session != "0" * 32
        await connection.close()


async def test_what_is_no_such_server_is_told_without_the_token() -> None:
    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        status = 401 if scope["path"] == "/shut" else 200
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/html")]})
        await send({"type": "http.response.body", "body": b"<h1>hello</h1>"})

    async with serving(answer) as url, open_egress() as http:
        for address, told in ((url, "cannot be read"), (url.replace("/mcp", "/shut"), "does not accept the token")):
            with pytest.raises(Unavailable, match=told) as caught:
                await Connection(ServerAddress("garden", address, TOKEN), http).tools()
            assert TOKEN not in str(caught.value)


async def ended(client: SiteClient, turn_id: str) -> dict[str, Any]:
    deadline = monotonic_s() + 10
    while (turn := (await client.get(f"/api/turns/{turn_id}")).json())["state"] == "running":
        assert monotonic_s() < deadline
        await asyncio.sleep(0.01)
    return dict(turn)


async def test_a_chat_uses_the_servers_it_switched_on(tmp_path: Path, fake_upstream: FakeUpstream) -> None:
    made = Garden()
    async with serving(made.app(json_response=False)) as url:
        servers = {"servers": f"garden={url} gone=http://127.0.0.1:1/mcp"}
        async with open_site(tmp_path, fake_upstream.base_url, plugin_settings={"mcp": servers}) as site:
            ada = await site.sign_up("ada@example.org")
            page = (await ada.get("/")).text
            assert 'name="mcp.on.garden"' in page
            chat = (await ada.post("/api/conversations", json={})).json()["id"]
            where = f"/api/conversations/{chat}/messages"
            fake_upstream.tool_rounds["fake-n5"] = [[ToolAsk("garden__look", '{"at": "oak"}')]]

            wrong = {"parent_id": None, "text": "Look.", "model": "fake-n5", "mcp": {"servers": ["nobody"]}}
            answer = await ada.post(where, json=wrong)
            assert (answer.status_code, answer.json()["error"]["code"]) == (422, "unknown_tool_server")

            asked = {**wrong, "mcp": {"servers": ["garden", "gone"]}}
            sent = (await ada.post(where, json=asked)).json()
            assert (await ended(ada, sent["turn_id"]))["state"] == "done"
            offered = [one.body for one in fake_upstream.requests if b'"tools"' in one.body]
            tools = msgspec.json.decode(offered[-1])["tools"]
            assert [tool["function"]["name"] for tool in tools] == ["garden__look", "garden__plant", "garden__wilt"]
            parts = (await ada.get(where)).json()["messages"][1]["parts"]
            assert [part["text"] for part in parts if part["type"] == "tool_result"] == [
                "A oak, 12 m tall. <script>alert(1)</script>"
            ]

            fake_upstream.tool_rounds["fake-n5"] = [[ToolAsk("garden__plant", '{"what": "elm"}')]]
            form = {"text": "Plant.", "model": "fake-n5", "conversation_id": chat, "parent_id": sent["reply_id"]}
            answer = await ada.post("/send", data=form, follow_redirects=True)
            assert answer.status_code == 200
            assert "checked" in answer.text, "the next question of the branch has the same servers"
            deadline = monotonic_s() + 10
            while "Allow once" not in (page := (await ada.get(f"/c/{chat}")).text):
                assert monotonic_s() < deadline
                await asyncio.sleep(0.02)
            assert made.written == []
            address = page.split('formaction="/t/')[1].split('"')[0].replace("&amp;", "&")
            await ada.post(f"/t/{address}", data={})
            await ended(ada, address.split("/")[0])
            assert made.written == ["elm"]


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_an_admin_adds_tries_and_removes_a_server(
    request: pytest.FixtureRequest, tmp_path: Path, fake_upstream: FakeUpstream, engine: str
) -> None:
    made = Garden()
    database = request.getfixturevalue("postgres_url") if engine == "postgres" else ""
    async with (
        serving(made.app(json_response=True)) as url,
        open_site(
            tmp_path,
            fake_upstream.base_url,
            database_url=database,
            plugin_settings={"mcp": {"servers": "gone=http://127.0.0.1:1/mcp"}},
        ) as site,
    ):
        ada = await site.sign_up("ada@example.org")
        boss = await site.sign_up("boss@example.org", role="admin")
        new = {"name": "garden", "url": url, "token": TOKEN}
        for path in ("/x/mcp/", "/x/mcp/garden/test", "/x/mcp/gone/remove"):
            assert (await ada.post(path, data=new)).status_code == 403
        assert (await ada.get("/x/mcp/")).status_code == 403
        assert '"/x/mcp/"' in (await boss.get("/admin")).text

        for wrong in (
            {"name": "Garden"},
            {"name": "gone"},
            {"url": "ftp://a/mcp"},
            {"url": "http://me:word@a/mcp"},
            {"url": "http://169.254.169.254/mcp"},
            {"url": "http://[::ffff:169.254.169.254]/mcp"},
            {"url": "http://127.0.0.1:1/mcp"},
            {"url": "http://[::1"},
            {"token": "two words"},
        ):
            answer = await boss.post("/x/mcp/", data={**new, **wrong})
            assert answer.status_code == 422, wrong
            assert TOKEN not in answer.text
            assert "/x/mcp/garden/remove" not in answer.text

        assert (await boss.post("/x/mcp/", data=new)).status_code == 303
        page = (await boss.get("/x/mcp/")).text
        assert "/x/mcp/garden/remove" in page and "/x/mcp/gone/remove" not in page and TOKEN not in page
        assert (await boss.post("/x/mcp/", data=new)).status_code == 422, "its name is taken"
        stored = await site.house.db.read(lambda tx: tx.one(Sealed, "SELECT sealed_token FROM mcp_servers"))
        assert stored is not None and TOKEN not in stored.sealed_token
        tried = await boss.post("/x/mcp/garden/test", data={})
        assert tried.status_code == 200 and "look, plant, and wilt" in tried.text
        assert "could not be asked" in (await boss.post("/x/mcp/gone/test", data={})).text
        assert 'name="mcp.on.garden"' in (await ada.get("/")).text

        assert (await boss.post("/x/mcp/gone/remove", data={})).status_code == 404, "the configuration has it"
        session = made.headers[-1]["mcp-session-id"]
        assert session not in made.ended
        assert (await boss.post("/x/mcp/garden/remove", data={})).status_code == 303
        async with asyncio.timeout(10):
            while session not in made.ended:
                await asyncio.sleep(0.01)
        for path in ("/x/mcp/garden/remove", "/x/mcp/garden/test"):
            assert (await boss.post(path, data={})).status_code == 404
        page = (await ada.get("/")).text
        assert 'name="mcp.on.garden"' not in page and 'name="mcp.on.gone"' in page


async def test_another_node_hears_of_it_within_five_seconds(tmp_path: Path, fake_upstream: FakeUpstream) -> None:
    async with open_site(tmp_path, fake_upstream.base_url) as site:
        boss = await site.sign_up("boss@example.org", role="admin")
        row = {"name": "shed", "url": "http://127.0.0.1:9/mcp"}
        await site.house.db.write(
            lambda tx: tx.run(
                "INSERT INTO mcp_servers (name, url, sealed_token, made_at) VALUES (:name, :url, '', 1)", **row
            )
        )
        deadline = monotonic_s() + 5
        while "shed" not in (await boss.get("/x/mcp/")).text:
            assert monotonic_s() < deadline
            await asyncio.sleep(0.1)


class Sealed(msgspec.Struct, frozen=True):
    sealed_token: str


@pytest.mark.parametrize(
    ("servers", "tokens"),
    [
        ("garden", ""),
        ("Garden=http://a/mcp", ""),
        ("garden=ftp://a/mcp", ""),
        ("garden=http://a/mcp garden=http://b/mcp", ""),
        ("garden=http://a/mcp", f"other={TOKEN}"),
        ("garden=http://a/mcp", TOKEN),
    ],
)
def test_what_is_written_wrong_stops_the_start_with_a_sentence(servers: str, tokens: str) -> None:
    with pytest.raises(SetupError) as caught:
        read_servers(servers, tokens)
    assert TOKEN not in str(caught.value)
    assert "[plugins.mcp]" in str(caught.value)


def test_servers_and_their_tokens_are_read() -> None:
    found = read_servers("a=http://a/mcp\nb=https://b/mcp?x=1", "b=secret")
    assert [(one.name, one.url, one.token) for one in found] == [
        ("a", "http://a/mcp", ""),
        ("b", "https://b/mcp?x=1", "secret"),
    ]
    assert "secret" not in repr(found)


def test_events_may_be_cut_anywhere() -> None:
    body = b': hello\r\nevent: message\r\ndata: {"a":\r\ndata: 1}\r\n\r\ndata: two\n\n'
    for size in range(1, len(body)):
        reader = EventReader()
        chunks = [body[at : at + size] for at in range(0, len(body), size)]
        assert [one for chunk in chunks for one in reader.feed(chunk)] == [b'{"a":\n1}', b"two"]


def test_the_plugin_is_ours() -> None:
    assert Mcp().register_settings()[1].kind == "secret"
