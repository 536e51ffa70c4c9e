"""A real server for tests, in this process, on a free port, with the house at hand and every limit off unless given.

    async with open_site(tmp_path, upstream.base_url) as site:
        ada = await site.sign_up("ada@example.org")          # a SiteClient: cookie, CSRF token, same-origin headers
        key = await site.make_key("ada@example.org")         # or a key, for site.api(key)
        answer = await ada.post("/send", data={"text": "Hello", "model": "fake-n5"})
        site.house                                           # what is behind it

A server in a process of its own, to be killed, is `tests/running.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from chatserver import __version__, settings
from chatserver.databases import BLOBS, SPOOL, open_database
from chatserver.domain.access import AccountRole, Actor
from chatserver.domain.models import Channel, ModelAlias
from chatserver.gateway.egress import EgressClient
from chatserver.house import House, migration_sets
from chatserver.plugins import Plugins
from chatserver.settings import Limits
from chatserver.sources import setting_lines
from chatserver.store.folder import FolderStore
from chatserver.web.app import create_app
from chatserver.web.server import Server, bind, make_server

PASSWORD = "a quiet horse reads maps"
SECRET = b"tests only, thirty-two bytes or more"
MODELS = ("fake-n5", "fake-echo", "fake-n40-gap25", "fake-n2000-gap5", "fake-err500", "fake-hang")
LIMITS_OFF: Mapping[str, int] = dict.fromkeys(Limits.__struct_fields__, 0)
_CSRF = re.compile(r'"X-CSRF"\s*:\s*"([A-Za-z0-9_-]+)"|name="csrf" value="([A-Za-z0-9_-]+)"')


KEPT = httpx.Limits(max_connections=200, keepalive_expiry=2)
"""Idle connections are let go before the server lets go of them: else a request may meet the closing of its own."""


class SiteClient(httpx.AsyncClient):
    """A browser without the browser: keeps its cookie, and sends what a browser sends with a page's own forms.

    csrf: the session's token, sent as X-CSRF with everything that changes something.
    """

    csrf: str = ""
    actor: Actor | None = None

    async def request(self, method: Any, url: Any, **options: Any) -> httpx.Response:
        if str(method).upper() not in ("GET", "HEAD", "OPTIONS"):
            headers = httpx.Headers({"sec-fetch-site": "same-origin"})
            if self.csrf:
                headers["x-csrf"] = self.csrf
            headers.update(options.pop("headers", None) or {})
            options["headers"] = headers
        return await super().request(method, url, **options)


class Site:
    """A served house in this process."""

    def __init__(self, house: House, app: Any, server: Server, port: int) -> None:
        self.house = house
        self.app = app
        self.server = server
        self.port = port
        self._clients: list[httpx.AsyncClient] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def browser(self, **options: Any) -> SiteClient:
        """Somebody who is not signed in."""
        client = SiteClient(limits=KEPT, base_url=self.url, timeout=20, **options)
        self._clients.append(client)
        return client

    def api(self, key: str) -> httpx.AsyncClient:
        """A program with a key."""
        client = httpx.AsyncClient(
            base_url=self.url, timeout=20, limits=KEPT, headers={"authorization": f"Bearer {key}"}
        )
        self._clients.append(client)
        return client

    async def sign_up(self, email: str, *, role: AccountRole = "member", password: str = PASSWORD) -> SiteClient:
        """A new account and a browser signed in to it, without the cost of hashing: the session is opened directly."""
        account = await self.house.accounts.create(email, role=role)
        client = self.browser()
        cookie = await self.house.accounts.open_session(account)
        client.cookies.set(self.app.state.door.origin.cookie_name, cookie)
        client.actor = await self.house.accounts.actor_of_cookie(cookie)
        assert client.actor is not None
        client.csrf = self.house.accounts.csrf_token(client.actor)
        return client

    async def sign_in(self, email: str, password: str = PASSWORD) -> SiteClient:
        """A browser signed in through the form; the account must have been created with this password."""
        client = self.browser()
        answer = await client.post("/sign-in", data={"email": email, "password": password})
        assert answer.status_code == 303, answer.text
        page = await client.get("/settings")
        found = _CSRF.search(page.text.replace("&#34;", '"'))
        client.csrf = next(filter(None, found.groups())) if found else ""
        return client

    async def make_key(self, email: str, scopes: Sequence[str] = ()) -> str:
        account = await self.house.accounts.by_email(email)
        assert account is not None
        return (await self.house.accounts.create_key(account, "test", scopes)).secret

    async def close_clients(self) -> None:
        for client in self._clients:
            await client.aclose()


@contextlib.asynccontextmanager
async def open_site(
    folder: Path,
    upstream_url: str = "",
    *,
    models: Sequence[str] = MODELS,
    limits: Mapping[str, int] | None = None,
    public_url: str = "",
    trusted_proxies: tuple[str, ...] = (),
    plugins: Sequence[tuple[str, object]] = (),
    grace_s: float = 1,
    database_url: str = "",
    plugin_settings: Mapping[str, Mapping[str, str]] | None = None,
    disabled: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
) -> AsyncIterator[Site]:
    """A house with the installed plugins of ours but the demo model, served by the real server; over real SQLite, or
    the database of a URL. plugin_settings: texts by plugin and setting. disabled: plugins that are left out.
    environ: what the console shows as told by the environment; a chatserver.toml in the folder is read for the same."""
    loaded = Plugins.load(
        disabled=["local", *disabled], core_version=__version__, settings_values=plugin_settings, extra=list(plugins)
    )
    environ = {**(environ or {}), "CHATSERVER_DATABASE_URL": database_url, "CHATSERVER_SECRET_KEY": SECRET.decode()}
    places = {"data": str(folder), "config": str(folder / "chatserver.toml")}
    told = settings.load(places, environ)
    db = await open_database(told, loaded, alone=True)
    http = EgressClient()
    channels = []
    if upstream_url:
        aliases = tuple(ModelAlias(name, name) for name in models)
        # a model that hangs does so until it is stopped, however long the tests of a file take
        fake = Channel("fake", "openai", base_url=upstream_url, api_key="sk-fake", models=aliases, first_token_s=900)
        channels.append(fake)
    try:
        await db.migrate(migration_sets(db.engine, loaded))
        house = House(
            db=db,
            plugins=loaded,
            http=http,
            channels=channels,
            limits={**LIMITS_OFF, **(limits or {})},
            secret_key=SECRET,
            public_url=public_url,
            trusted_proxies=trusted_proxies,
            grace_s=grace_s,
            blob_store=FolderStore(folder / BLOBS),
            spool=folder / SPOOL,
            settings=setting_lines(told, loaded.declared_settings()),
        )
        await house.start()
        listener = bind("127.0.0.1", 0)
        app = create_app(house)
        server = make_server(app, house)
        serving = asyncio.create_task(server.serve_quietly([listener]))
        site = Site(house, app, server, listener.getsockname()[1])
        try:
            async with asyncio.timeout(10):
                while not server.started:
                    assert not serving.done(), serving
                    await asyncio.sleep(0.01)
            yield site
        finally:
            await site.close_clients()
            server.handle_exit(signal.SIGTERM, None)
            await serving
            await house.stop()
    finally:
        await http.close()
        await db.close()
