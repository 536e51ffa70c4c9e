"""Acts of consequence want a sign-in of the last 15 minutes; who is asked for it loses nothing of what was typed."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from html import unescape
from typing import Any

import httpx
import pytest
import pytest_asyncio

from chatserver import Actor, ApiAnswer, ApiVisit, PageAnswer, PageVisit, Refusal, Route, SignInAttempt, hookimpl
from chatserver.clock import now_us
from chatserver.testing.server import PASSWORD, Site, SiteClient, open_site
from tests.engines import ENGINES, postgres_with_schema

pytestmark = pytest.mark.asyncio(loop_scope="module")
MINUTE_US = 60 * 1_000_000
KEY = "sk-canary-77aa"
HTML = {"accept": "text/html"}


class Elsewhere:
    """A way to sign in with a page of its own, and a plugin's page only admins may send to."""

    name = "elsewhere"
    road = "/x/elsewhere/begin"

    def __init__(self) -> None:
        self.done: list[str] = []

    async def sign_in(self, attempt: SignInAttempt) -> str | Refusal | None:
        return None

    async def enroll(self, account_id: str, secret: str) -> Refusal | None:
        return Refusal("no", "No.")

    async def forget(self, account_id: str) -> None:
        return None

    @hookimpl
    def register_auth_backends(self) -> list[Any]:
        return [self]

    @hookimpl
    def register_routes(self) -> list[Route]:
        post, admins = ("POST",), "admin.console"
        return [
            Route("/do", page=self.do, methods=post, permission=admins),
            Route("/look", page=self.do, methods=post, permission=admins, is_light=True),
            Route("/told", api=self.tell, methods=post, permission=admins),
        ]

    async def tell(self, visit: ApiVisit) -> ApiAnswer:
        self.done.append("told")
        return ApiAnswer({})

    async def do(self, visit: PageVisit) -> PageAnswer:
        self.done.append(visit.form.get("word", ""))
        return visit.go("/x/presets/")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=ENGINES)
async def each_site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A site on each engine in turn, with a second way to sign in beside the password."""
    folder = tmp_path_factory.mktemp("site")
    options: dict[str, Any] = {"plugins": [("elsewhere", Elsewhere())]}
    if request.param == "sqlite":
        async with open_site(folder, **options) as site:
            yield site
    else:
        async with (
            postgres_with_schema(request.getfixturevalue("postgres_server")) as url,
            open_site(folder, database_url=url, **options) as site,
        ):
            yield site


async def grow_old(site: Site, client: SiteClient, minutes: int = 16) -> None:
    """The session was opened, and proved, so long ago."""
    assert client.actor is not None
    then, session_id = now_us() - minutes * MINUTE_US, client.actor.session_id

    def write(tx: Any) -> None:
        tx.run("UPDATE sessions SET created_at = :t, proved_at = :t WHERE id = :id", t=then, id=session_id)

    await site.house.db.write(write)
    site.house.accounts.forget_credentials()


async def admin(site: Site, email: str) -> SiteClient:
    """Signed up with a password, so that it can be given again."""
    client = await site.sign_up(email, role="admin")
    assert client.actor is not None
    await site.house.accounts.set_secret(client.actor.account_id, PASSWORD, keep=client.actor)
    return client


def held_in(page: httpx.Response) -> str:
    assert page.status_code == 403 and "Is it still you?" in page.text, page.text[:500]
    found = re.search(r'name="held" value="([^"]+)"', page.text)
    assert found is not None
    return unescape(found[1])


async def test_what_was_being_done_goes_on_with_all_that_was_typed(each_site: Site) -> None:
    site = each_site
    root = await admin(site, "root@example.org")
    form = {"name": "Ours & <theirs>", "provider": "openai", "base_url": "http://127.0.0.1:9/v1", "api_key": KEY}
    form |= {"models": "a\nb", "note": "né à 5 %"}
    await grow_old(site, root, 14)
    assert (await root.post("/admin/settings", data={"name": "limits.upload_mb", "value": "31"})).status_code == 303
    await grow_old(site, root)
    asked = await root.post("/admin/channels", data=form)
    held = held_in(asked)
    assert KEY not in asked.text and "theirs" not in asked.text, "what was typed is in the page, but sealed"
    assert asked.headers["cache-control"] == "no-store"
    wrong = await root.post("/prove", data={"held": held, "password": "not this one"})
    assert "This is not your password" in wrong.text and held_in(wrong) == held
    assert all(one.wish.name != form["name"] for one in await site.house.console.entries(actor_of(root)))
    done = await root.post("/prove", data={"held": held, "password": PASSWORD})
    assert done.status_code == 303 and "did=added" in done.headers["location"]
    (made,) = [one.wish for one in await site.house.console.entries(actor_of(root)) if one.wish.name == form["name"]]
    assert (made.models, made.note) == (("a", "b"), "né à 5 %")
    again = await root.post("/admin/settings", data={"name": "limits.upload_mb", "value": "32"})
    assert again.status_code == 303, "for a quarter of an hour nobody is asked again"
    assert "proved_again" in {one.action for one in await site.house.audit.entries(actor_of(root))}


def actor_of(client: SiteClient) -> Actor:
    assert client.actor is not None
    return client.actor


async def test_a_form_that_is_refused_afterwards_is_shown_with_what_was_typed(each_site: Site) -> None:
    root = await admin(each_site, "chief@example.org")
    await grow_old(each_site, root)
    held = held_in(await root.post("/admin/channels", data={"name": "", "note": "keep me", "provider": "openai"}))
    page = await root.post("/prove", data={"held": held, "password": PASSWORD})
    assert page.status_code == 422 and 'value="keep me"' in page.text


async def test_every_act_of_consequence_asks_and_what_is_of_none_does_not(each_site: Site) -> None:
    site = each_site
    root = await admin(site, "head@example.org")
    ann = await site.sign_up(f"ann-{site.port}@example.org")
    acts = (
        ("/admin/accounts", {"email": "new@example.org"}),
        (f"/admin/accounts/{actor_of(ann).account_id}", {"role": "admin"}),
        (f"/admin/accounts/{actor_of(ann).account_id}", {"state": "suspended"}),
        ("/admin/plugins/presets", {"on": "0"}),
        ("/admin/settings", {"name": "limits.upload_mb", "value": "9"}),
        ("/admin/models", {"model": "fake-n5", "on": "0"}),
        ("/admin/channels", {"name": "x"}),
        (f"/admin/channels/{'0' * 26}", {"name": "x"}),
        (f"/admin/channels/{'0' * 26}/switch", {"on": "0"}),
        (f"/admin/channels/{'0' * 26}/remove", {}),
        ("/welcome/connect", {"service": "x"}),
        ("/welcome/disconnect", {"channel": "x"}),
        ("/settings/keys", {"name": "mine"}),
        ("/x/elsewhere/do", {"word": "now"}),
        ("/x/mcp/", {"name": "n", "url": "http://127.0.0.1:9"}),
        ("/x/voices/admin", {"id": "v"}),
    )
    await grow_old(site, root)
    for path, form in acts:
        held_in(await root.post(path, data=form, headers=HTML))
    asked = await root.post("/x/elsewhere/do", data={"word": "now"}, headers={"accept": "application/json"})
    assert (asked.status_code, asked.json()["error"]["code"]) == (403, "proof_needed")
    key = site.api((await site.house.accounts.create_key(actor_of(root).account, "k")).secret)
    for path in ("/admin/settings", "/x/elsewhere/do"):
        refused = await key.post(path, data={"name": "limits.upload_mb", "value": "9"}, headers=HTML)
        assert refused.status_code == 403 and "An API key may not do this." in refused.text
    assert await site.house.accounts.by_id(actor_of(ann).account_id) == actor_of(ann).account
    assert site.house.plugins.is_on("presets") and not await site.house.accounts.by_email("new@example.org")
    for path, form in (
        ("/admin/channels/test", {"name": "nobody's"}),
        ("/admin/notices/put-away", {"source": "x", "key": "y"}),
        ("/welcome/skip", {}),
        ("/x/elsewhere/look", {"word": "light"}),
        ("/settings/look", {"theme": "dark"}),
    ):
        assert "Is it still you?" not in (await root.post(path, data=form, headers=HTML)).text, path
    for path in ("/admin", "/admin/settings", "/admin/accounts", "/admin/audit"):
        assert (await root.get(path)).status_code == 200, "looking needs no proof"
    await grow_old(site, ann)
    assert (await ann.post("/settings/keys", data={"name": "mine"})).status_code == 200, "of members nothing is asked"
    assert (await ann.post("/admin/plugins/presets", data={"on": "0"})).status_code == 403


async def test_who_may_not_anyhow_is_not_asked_to_sign_in_again(each_site: Site) -> None:
    eve = await each_site.sign_up("eve-anyhow@example.org")
    await grow_old(each_site, eve)
    for path in ("/x/elsewhere/do", "/x/elsewhere/told"):
        refused = await eve.post(path, data={}, headers={"accept": "application/json"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "not_allowed"), path
    root = await each_site.sign_up("root-anyhow@example.org", role="admin")
    await grow_old(each_site, root)
    asked = await root.post("/x/elsewhere/told", json={}, headers={"accept": "application/json"})
    assert asked.json()["error"]["code"] == "proof_needed"


async def test_nobody_can_use_what_was_held_for_another(each_site: Site) -> None:
    site = each_site
    root, other = await admin(site, "one@example.org"), await admin(site, "two@example.org")
    await grow_old(site, root)
    held = held_in(await root.post("/admin/settings", data={"name": "limits.upload_mb", "value": "66"}))
    for client, told in ((other, held), (root, held[:-4] + "AAAA"), (root, ""), (other, "x1.e30=")):
        refused = await client.post("/prove", data={"held": told, "password": PASSWORD}, headers=HTML)
        assert refused.status_code == 403 and "Do it once more." in refused.text
    stranger = await site.browser().post("/prove", data={"held": held, "password": PASSWORD}, headers=HTML)
    assert stranger.status_code in (303, 403)
    forged = await root.post("/prove", data={"held": held}, headers={"sec-fetch-site": "cross-site"})
    assert forged.status_code == 403 and "Is it still you?" not in forged.text
    assert site.house.limits["upload_mb"] != 66
    assert (await root.get("/prove", headers=HTML)).status_code == 404


async def test_another_way_to_sign_in_proves_it_too(each_site: Site) -> None:
    """It has no password to give: its own page opens beside this one, and this one goes on."""
    site = each_site
    root = await site.sign_up("keyless@example.org", role="admin")
    await grow_old(site, root)
    asked = await root.post("/x/elsewhere/do", data={"word": "typed"}, headers=HTML)
    held = held_in(asked)
    assert 'href="/x/elsewhere/begin"' in asked.text and "Sign in again with elsewhere" in asked.text
    early = await root.post("/prove", data={"held": held}, headers=HTML)
    assert held_in(early) == held and "sign in again as you usually do" in early.text
    cookie = await site.house.accounts.open_session(actor_of(root).account, replaces=root.cookies["sid"])
    root.cookies.set("sid", cookie)  # the page still has the token of the session before
    done = await root.post("/prove", data={"held": held}, headers=HTML)
    assert done.status_code == 303
    (plugin,) = [one for name, one in site.house.plugins.registered("register_auth_backends") if name == "elsewhere"]
    assert plugin.done[-1] == "typed"


async def test_what_is_too_large_to_be_held_is_sent_again(each_site: Site) -> None:
    root = await admin(each_site, "large@example.org")
    await grow_old(each_site, root)
    big = {"name": "limits.upload_mb", "value": "9" * 600_000}
    held = held_in(await root.post("/admin/settings", data=big))
    page = await root.post("/prove", data={"held": held, "password": PASSWORD})
    assert page.status_code == 200 and "<h1" in page.text
    assert (await root.post("/admin/settings", data=big)).status_code == 422
