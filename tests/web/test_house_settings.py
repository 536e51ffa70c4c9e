"""The console's settings: where each comes from, which are changed there, and that every node and a restart know."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from chatserver.chat import house_settings
from chatserver.chat.house_settings import checked
from chatserver.domain.house_settings import SettingLine
from chatserver.errors import BadInput
from chatserver.testing.server import Site, open_site
from tests.engines import ENGINES, postgres_with_schema

pytestmark = pytest.mark.asyncio(loop_scope="module")
TOML = """
grace_s = 5
[limits]
storage_mb = 7
[plugins.gateway]
heartbeat_tokens_per_day = 300
[plugins.ollama]
api_key = "canary-1f9d"
"""


@asynccontextmanager
async def served(folder: Path, url: str = "", **options: Any) -> AsyncIterator[Site]:
    async with open_site(folder, database_url=url, **options) as site:
        yield site


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=ENGINES)
async def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    """A folder and a database's URL, on each engine in turn."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "chatserver.toml").write_text(TOML)
    if request.param == "sqlite":
        yield folder, ""
    else:
        async with postgres_with_schema(request.getfixturevalue("postgres_server")) as url:
            yield folder, url


async def test_a_setting_is_changed_kept_and_taken_back(place: Any) -> None:
    folder, url = place
    environ = {"CHATSERVER_LOG_FORMAT": "json", "OLLAMA_HOST": "http://me:secret-77@127.0.0.1:9"}
    async with served(folder, url, environ=environ) as site:
        root = await site.sign_up("root@example.org", role="admin")
        assert root.actor is not None
        page = (await root.get("/admin/settings")).text
        lines = {one.name: one for one in await site.house.settings.lines(root.actor)}
        assert set(lines) >= {f"limits.{name}" for name in site.house.limits} | {
            "host",
            "plugins.gateway.heartbeat_minutes",
        }
        assert (lines["log_format"].source, lines["log_format"].where) == ("environment", "CHATSERVER_LOG_FORMAT")
        assert (lines["grace_s"].source, lines["limits.storage_mb"].source) == ("file", "file")
        assert lines["limits.upload_mb"].source == "default"
        ollama = lines["plugins.ollama.api_key"]
        assert (ollama.kind, ollama.value, ollama.is_set, ollama.source) == ("secret", "", True, "file")
        assert "canary-1f9d" not in page and "secret-77" not in page and "http://127.0.0.1:9" in page
        assert "CHATSERVER_LOG_FORMAT" in page and str(folder / "chatserver.toml") in page

        saved = await root.post("/admin/settings", data={"name": "limits.sends_per_minute", "value": " 3 "})
        assert saved.status_code == 303
        shown = (await root.get(saved.headers["location"])).text
        assert "limits.sends_per_minute is 3 now" in shown and "Take the default of limits.sends_per_minute" in shown
        ann = await site.sign_up("ann@example.org")
        told = [(await ann.post("/send", data={"text": "x", "model": "nobody's"})).status_code for _ in range(5)]
        assert told.count(429) == 2, "the limit holds from the next request on"
        for name, value, said in (
            ("limits.sends_per_minute", "many", "a whole number from 0"),
            ("limits.sends_per_minute", "-1", "a whole number from 0"),
            ("plugins.gateway.heartbeat_minutes", "soon", "a number from 0 to 1440"),
            ("plugins.artifacts.instruct", "maybe", "one of able, all, none"),
            ("grace_s", "9", "chatserver.toml says what grace_s is"),
            ("log_format", "text", "CHATSERVER_LOG_FORMAT says what log_format is"),
            ("host", "::1", "host holds from a start on"),
        ):
            refused = await root.post("/admin/settings", data={"name": name, "value": value})
            assert refused.status_code in (409, 422) and said in refused.text, (name, refused.status_code)
            if refused.status_code == 422 and name != "plugins.artifacts.instruct":
                assert f'value="{value}"' in refused.text, "what was typed is kept"
        assert (await root.post("/admin/settings", data={"name": "nothing", "value": "1"})).status_code == 404
        for plugin in ("gateway.heartbeat_minutes", "artifacts.instruct"):
            value = "7" if plugin.startswith("gateway") else "none"
            assert (await root.post("/admin/settings", data={"name": f"plugins.{plugin}", "value": value})).is_redirect
        assert site.house.plugins.settings_of("gateway")["heartbeat_minutes"] == 7
        assert (await ann.get("/admin/settings")).status_code == 403
        assert (await ann.post("/admin/settings", data={"name": "limits.upload_mb", "value": "1"})).status_code == 403
        noted = await site.house.audit.entries(root.actor, action="setting_changed")
        assert noted[-1].details == {"was": "0", "to": "3"} and noted[-1].subject == "limits.sends_per_minute"

    async with served(folder, url) as site:  # a restart
        assert site.house.limits["sends_per_minute"] == 3
        assert site.house.plugins.settings_of("gateway")["heartbeat_minutes"] == 7
        admin = await site.sign_up("again@example.org", role="admin")
        reset = {"name": "limits.sends_per_minute", "do": "reset"}
        assert (await admin.post("/admin/settings", data=reset)).status_code == 303
        assert site.house.limits["sends_per_minute"] == 0, "what this test's house was started with"


async def test_what_is_set_here_reaches_every_node_and_the_next_start(place: Any, tmp_path: Path) -> None:
    folder, url = place
    if url:
        async with served(folder, url) as one, served(tmp_path, url) as other:
            await switch_and_set(one)
            async with asyncio.timeout(5):  # by its own look, as often as it looks
                while other.house.plugins.is_on("presets") or other.house.limits["shared_pages_per_minute"] != 9:
                    await asyncio.sleep(0.02)
            assert await hears_of_it(other)
            await press_again(other)
            async with asyncio.timeout(5):
                while not one.house.plugins.is_on("presets"):
                    await asyncio.sleep(0.02)
            await switch_and_set(one, "root3@example.org")
    else:
        async with served(folder) as one:
            await switch_and_set(one)
    async with served(folder, url) as again:
        assert await hears_of_it(again)
        await press_again(again)
        root = await again.sign_up(f"root{len(url)}@example.net", role="admin")
        assert (await root.get("/x/presets/")).status_code == 200, "it was started, only silent"


async def switch_and_set(site: Site, email: str = "root1@example.org") -> None:
    root = await site.sign_up(email, role="admin")
    assert (await root.post("/admin/plugins/presets", data={"on": "0"})).status_code == 303
    wanted = {"name": "limits.shared_pages_per_minute", "value": "9"}
    assert (await root.post("/admin/settings", data=wanted)).status_code == 303
    assert await hears_of_it(site)


async def hears_of_it(site: Site) -> bool:
    return not site.house.plugins.is_on("presets") and site.house.limits["shared_pages_per_minute"] == 9


async def press_again(site: Site) -> None:
    root = await site.sign_up(f"root{site.port}@example.org", role="admin")
    assert (await root.post("/admin/plugins/presets", data={"on": "1"})).status_code == 303
    assert site.house.plugins.is_on("presets")


async def test_a_node_follows_a_press_once(tmp_path: Path) -> None:
    """What it set aside by itself afterwards stays aside."""
    async with served(tmp_path) as site:
        root = await site.sign_up("root@example.org", role="admin")
        await root.post("/admin/plugins/presets", data={"on": "1"})
        for _ in range(5):
            site.house.plugins.report_fault("presets", "a test", "broken")
        assert not site.house.plugins.is_on("presets")
        await site.house.settings.look()
        assert (await root.post("/admin/plugins/password", data={"on": "0"})).status_code == 409, "the last way in"
        assert not site.house.plugins.is_on("presets")
        await root.post("/admin/plugins/presets", data={"on": "1"})
        assert site.house.plugins.is_on("presets")


async def test_every_sentence_is_there_and_nodes_look_often_enough(tmp_path: Path) -> None:
    assert house_settings.LOOK_EVERY_S < 5
    async with served(tmp_path) as site:
        root = await site.sign_up("root@example.org", role="admin")
        page = (await root.get("/admin/settings", headers={"accept-language": "fr"})).text
        helps = re.findall(r'-help">([^<]+)</small>', page)
        assert len(helps) >= 27 and "Où le serveur écoute." in helps


async def test_what_a_setting_takes() -> None:
    number = SettingLine("plugins.x.rate", "", "number", least=0.5)
    assert (checked(number, "0.5"), checked(number, "10"), checked(number, " 2.50 ")) == ("0.5", "10", "2.5")
    assert checked(SettingLine("limits.x", "", "number", least=0), "20000000") == "20000000"
    assert checked(SettingLine("x", "", "boolean"), "ON") == "true"
    for kind, text in (
        ("number", "nan"),
        ("number", "1e999"),
        ("number", "0.1"),
        ("number", "٣"),
        ("boolean", "perhaps"),
    ):
        with pytest.raises(BadInput, match=r"plugins\.x\.rate"):
            checked(SettingLine("plugins.x.rate", "", kind, least=0.5), text)
    for text in ("x" * 4001, "a\x00b"):
        with pytest.raises(BadInput):
            checked(SettingLine("x", ""), text)
