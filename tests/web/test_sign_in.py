"""Signing in and out, sessions that end when they should, guessing that gets nowhere, and exactly one first admin."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from chatserver.chat import accounts as use_cases
from chatserver.chat import credentials
from chatserver.chat.accounts import Accounts
from chatserver.clock import now_us
from chatserver.domain.extend import Refusal, SignInAttempt
from chatserver.testing.server import PASSWORD, Site, open_site
from chatserver.web import limits
from chatserver.web.limits import SignInGuard
from chatserver.web.security import Origin

pytestmark = pytest.mark.asyncio(loop_scope="module")
GUESS = {"email": "ada@example.org", "password": "a wrong password"}


class QuickBackend:
    """A way to sign in without the cost of hashing: the password is PASSWORD."""

    name = "quick"
    accounts: Accounts

    async def sign_in(self, attempt: SignInAttempt) -> str | Refusal | None:
        account = await self.accounts.by_email(attempt.fields.get("email", ""))
        if account is None or attempt.fields.get("password") != PASSWORD:
            return use_cases.WRONG
        return account.id

    async def enroll(self, account_id: str, secret: str) -> Refusal | None:
        await asyncio.sleep(0)
        return None if len(secret) >= 8 else Refusal("too_short", "Longer, please.", status=400)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, shared_site: Site) -> QuickBackend:
    backend = QuickBackend()
    backend.accounts = shared_site.house.accounts
    monkeypatch.setattr(shared_site.house.accounts, "_backends", lambda: [("quick", backend)])
    return backend


def cookie_line(response: Any) -> str:
    return str(response.headers.get("set-cookie", ""))


async def test_a_form_signs_in_and_a_button_signs_out(shared_site: Site) -> None:
    site = shared_site
    await site.house.accounts.create("form@example.org", secret=PASSWORD)
    browser = await site.sign_in("Form@Example.org")
    line = browser.cookies["sid"]
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", line)
    assert (await browser.get("/settings")).status_code == 200
    gone = await browser.post("/sign-out")
    assert (gone.status_code, gone.headers["location"]) == (303, "/sign-in")
    assert (await browser.get("/settings")).status_code == 303
    again = site.browser(cookies={"sid": line})
    assert (await again.get("/api/account")).status_code == 401


async def test_the_cookie_is_as_strict_as_the_connection_allows(shared_site: Site, quick: QuickBackend) -> None:
    await shared_site.house.accounts.create("cookie@example.org")
    answer = await shared_site.browser().post("/sign-in", data={"email": "cookie@example.org", "password": PASSWORD})
    assert re.fullmatch(r"sid=[\w-]{43}; Path=/; HttpOnly; SameSite=Lax; Max-Age=7776000", cookie_line(answer))
    assert Origin("https://chat.example").cookie_name == "__Host-sid"
    assert Origin("http://10.0.0.2:8000").cookie_name == "sid"


async def test_a_session_is_stored_as_a_hash_and_rotated_at_sign_in(shared_site: Site, quick: QuickBackend) -> None:
    site = shared_site
    await site.house.accounts.create("rotate@example.org")
    browser = site.browser()
    fields = {"email": "rotate@example.org", "password": PASSWORD}
    assert (await browser.post("/sign-in", data=fields)).status_code == 303
    first = browser.cookies["sid"]
    assert not await site.house.db.read(lambda tx: tx.one(str, "SELECT id FROM sessions WHERE id = :id", id=first))
    assert (await browser.post("/sign-in", data=fields)).status_code == 303
    second = browser.cookies["sid"]
    assert first != second
    assert (await site.browser(cookies={"sid": first}).get("/api/account")).status_code == 401
    assert (await site.browser(cookies={"sid": second}).get("/api/account")).status_code == 200


@pytest.mark.parametrize("planted", ["x" * 43, "A" * 42, "", "../../etc", "ä" * 43])
async def test_a_planted_cookie_is_never_taken_over(shared_site: Site, quick: QuickBackend, planted: str) -> None:
    await shared_site.house.accounts.create(f"planted{abs(hash(planted))}@example.org")
    email = f"planted{abs(hash(planted))}@example.org"
    headers = {"cookie": f"sid={planted}".encode()}
    browser = shared_site.browser()
    answer = await browser.post("/sign-in", data={"email": email, "password": PASSWORD}, headers=headers)
    assert answer.status_code == 303
    assert planted == "" or planted not in cookie_line(answer)


async def test_unknown_and_wrong_are_told_alike(shared_site: Site, quick: QuickBackend) -> None:
    site = shared_site
    await site.house.accounts.create("known@example.org")
    await site.house.accounts.update((await site.house.accounts.create("gone@example.org")).id, state="disabled")
    pages = []
    for email in ("known@example.org", "never@example.org", "gone@example.org"):
        password = PASSWORD if email.startswith("gone") else "wrong password"
        answer = await site.browser().post("/sign-in", data={"email": email, "password": password})
        assert cookie_line(answer) == ""
        pages.append((answer.status_code, answer.text.replace(email, "…")))
    assert pages[0] == pages[1] == pages[2]
    assert pages[0][0] == 401


@pytest.mark.parametrize(
    ("where", "goes"),
    [
        ("/c/abc?x=1", "/c/abc?x=1"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("/\r\nset-cookie: a=b", "/"),
        ("javascript:alert(1)", "/"),
        ("", "/"),
    ],
)
async def test_after_signing_in_one_stays_on_this_server(
    shared_site: Site, quick: QuickBackend, where: str, goes: str
) -> None:
    if await shared_site.house.accounts.by_email("next@example.org") is None:
        await shared_site.house.accounts.create("next@example.org")
    fields = {"email": "next@example.org", "password": PASSWORD, "next": where}
    plain = await shared_site.browser().post("/sign-in", data=fields)
    assert (plain.status_code, plain.headers["location"]) == (303, goes)
    htmx = await shared_site.browser().post("/sign-in", data=fields, headers={"hx-request": "true"})
    assert (htmx.status_code, htmx.headers["hx-redirect"]) == (200, goes)


async def test_a_thousand_guesses_are_ten(
    shared_site: Site, quick: QuickBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = shared_site
    monkeypatch.setattr(site.app.state.sign_in, "guard", SignInGuard(10))
    await site.house.accounts.create("ada@example.org")
    tried = 0

    class Counting(QuickBackend):
        accounts = site.house.accounts

        async def sign_in(self, attempt: SignInAttempt) -> str | Refusal | None:
            nonlocal tried
            tried += 1
            return await super().sign_in(attempt)

    monkeypatch.setattr(site.house.accounts, "_backends", lambda: [("quick", Counting())])
    owner = site.browser()
    assert (await owner.post("/sign-in", data=GUESS | {"password": PASSWORD})).status_code == 303
    tried = 0
    browser = site.browser()
    gate = asyncio.Semaphore(50)

    async def guess(number: int) -> int:
        async with gate:
            return (await browser.post("/sign-in", data=GUESS | {"password": f"guess {number}"})).status_code

    codes = await asyncio.gather(*(guess(number) for number in range(1000)))
    assert tried == 10
    assert (codes.count(401), codes.count(429)) == (10, 990)
    last = await browser.post("/sign-in", data=GUESS | {"password": PASSWORD})
    assert last.status_code == 429
    assert 0 < int(last.headers["retry-after"]) <= 900
    known = await owner.post("/sign-in", data=GUESS | {"password": PASSWORD})
    assert known.status_code == 303, "the owner's own browser is let in while somebody guesses"


async def test_a_browser_that_signed_out_is_still_known(shared_site: Site, quick: QuickBackend) -> None:
    site = shared_site
    accounts = site.house.accounts
    account = await accounts.create("known.browser@example.org")
    cookie = await accounts.open_session(account)
    left = accounts.mark_browser(account.id)
    for value in (cookie, left):
        assert await accounts.has_signed_in_before("known.browser@example.org", value)
    assert not await accounts.has_signed_in_before("form@example.org", cookie)
    assert not await accounts.has_signed_in_before("known.browser@example.org", "x" * 43)
    assert await accounts.actor_of_cookie(left) is None


async def test_guessing_from_everywhere_leaves_only_known_browsers() -> None:
    guard = SignInGuard(10)
    let_through = 0
    for number in range(500):
        try:
            guard.attempt("ada@example.org", f"10.{number % 250}.{number // 250}.1", "")
            let_through += 1
        except limits.LimitReached as refused:
            assert refused.code == "sign_ins_per_quarter_hour"
    assert let_through == 100
    guard.attempt("ada@example.org", "192.0.2.1", "the owner's cookie")


async def test_one_address_guesses_for_fifty_accounts_at_most() -> None:
    guard = SignInGuard(10)
    refused = 0
    for number in range(80):
        try:
            guard.attempt(f"{number}@example.org", "192.0.2.7", "")
        except limits.LimitReached:
            refused += 1
    assert refused == 30


async def test_a_failed_try_waits_longer_each_time() -> None:
    guard = SignInGuard(10)
    delays = [guard.attempt("ada@example.org", "192.0.2.1", "").delay_s for _ in range(10)]
    assert delays[:2] == [0, 0]
    assert delays == sorted(delays)
    assert delays[-1] == 2.0


async def test_networks_are_what_one_attacker_has_at_least() -> None:
    assert limits.network_of("192.0.2.77") == limits.network_of("::ffff:192.0.2.1") == "192.0.2.0/24"
    assert limits.network_of("2001:db8:0:ff01::1") == limits.network_of("2001:db8:0:ff02::9") == "2001:db8:0:ff00::/56"
    assert limits.network_of("unix") == "unix"


async def test_a_window_slides() -> None:
    clock = [0.0]
    window = limits.Window("x", 2, 60)
    original, limits.monotonic_s = limits.monotonic_s, lambda: clock[0]
    try:
        window.take("a")
        clock[0] = 30
        window.take("a")
        with pytest.raises(limits.LimitReached):
            window.take("a")
        window.take("b")
        clock[0] = 60
        window.take("a")
        clock[0] = 89
        with pytest.raises(limits.LimitReached) as refused:
            window.take("a")
        assert refused.value.retry_after_s == 1
    finally:
        limits.monotonic_s = original


async def test_sessions_end_by_idleness_by_age_and_by_hand(shared_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    accounts = shared_site.house.accounts
    account = await accounts.create("ends@example.org")
    cookie = await accounts.open_session(account)
    start, day = now_us(), 86_400_000_000

    async def is_open_after(days: float) -> bool:
        monkeypatch.setattr(credentials, "now_us", lambda: int(start + days * day))
        accounts.forget_credentials()
        return await accounts.actor_of_cookie(cookie) is not None

    assert await is_open_after(0)
    assert await is_open_after(13.9)
    assert await is_open_after(27)
    assert not await is_open_after(27 + 14.1)
    assert await is_open_after(27 + 13)
    assert await is_open_after(40 + 13)
    assert await is_open_after(53 + 13)
    assert await is_open_after(66 + 13)
    assert await is_open_after(89.9)
    assert not await is_open_after(90.1)
    assert await is_open_after(89.9 - 3), "a clock set back signs nobody out"


async def test_a_suspended_account_is_out_at_once_with_cookie_and_key(shared_site: Site) -> None:
    site = shared_site
    ada = await site.sign_up("suspended@example.org")
    program = site.api(await site.make_key("suspended@example.org"))
    assert [(await c.get("/api/account")).status_code for c in (ada, program)] == [200, 200]
    assert ada.actor is not None
    await site.house.accounts.update(ada.actor.account_id, state="suspended")
    assert [(await c.get("/api/account")).status_code for c in (ada, program)] == [401, 401]


async def test_what_another_process_revoked_is_refused_within_a_second(shared_site: Site) -> None:
    """The command line writes beside the server: nothing here hears of it, so what is known must age."""
    site = shared_site
    ada = await site.sign_up("elsewhere@example.org")
    program = site.api(await site.make_key("elsewhere@example.org"))
    assert [(await c.get("/api/account")).status_code for c in (ada, program)] == [200, 200]
    elsewhere = Accounts(site.house.db, site.house.plugins, site.house.secret_key)
    assert ada.actor is not None
    for key in await elsewhere.keys(ada.actor):
        await elsewhere.revoke_key(ada.actor, key.id)
    await elsewhere.end_session(ada.actor)
    async with asyncio.timeout(1.0):
        while (await ada.get("/api/account")).status_code != 401:
            pass
        while (await program.get("/api/account")).status_code != 401:
            pass


async def test_a_new_role_ends_the_sessions_of_before(shared_site: Site) -> None:
    ada = await shared_site.sign_up("promoted@example.org")
    assert ada.actor is not None
    await shared_site.house.accounts.update(ada.actor.account_id, role="admin")
    assert (await ada.get("/api/account")).status_code == 401


async def test_nobody_becomes_admin_by_asking(shared_site: Site) -> None:
    ada = await shared_site.sign_up("climber@example.org")
    fields = {"role": "admin", "is_admin": "1", "groups": "admin", "name": "x", "theme": "dark", "state": "active"}
    for path in ("/settings/look", "/settings/keys"):
        await ada.post(path, data=fields)
    await ada.post("/api/conversations", json=fields)
    for headers in ({"x-admin": "1"}, {"x-forwarded-user": "admin"}, {"x-original-url": "/admin"}):
        assert (await ada.get("/api/account", headers=headers)).json()["role"] == "member"


async def test_the_link_makes_exactly_one_admin_of_fifty_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_site(tmp_path) as site:
        backend = QuickBackend()
        backend.accounts = site.house.accounts
        monkeypatch.setattr(site.house.accounts, "_backends", lambda: [("quick", backend)])
        old = await site.house.accounts.mint_setup_token()
        token = await site.house.accounts.mint_setup_token()
        assert token is not None
        assert (await site.browser().get(f"/setup/{old}")).status_code == 404
        assert (await site.browser().get("/setup/" + "x" * 43)).status_code == 404
        for _ in range(3):
            page = await site.browser().get(f"/setup/{token}")
            assert page.status_code == 200
        assert not await site.house.accounts.has_admin(), "looking changes nothing"
        short = await site.browser().post(f"/setup/{token}", data={"email": "a@b.example", "password": "short"})
        assert (short.status_code, "Longer, please." in short.text) == (400, True)
        bad = await site.browser().post(f"/setup/{token}", data={"email": "nonsense", "password": PASSWORD})
        assert bad.status_code == 400

        browsers = [site.browser() for _ in range(50)]
        answers = await asyncio.gather(
            *(
                browser.post(f"/setup/{token}", data={"email": f"admin{number}@example.org", "password": PASSWORD})
                for number, browser in enumerate(browsers)
            )
        )
        codes = [answer.status_code for answer in answers]
        assert (codes.count(303), codes.count(404)) == (1, 49)
        everybody = await site.house.accounts.list()
        assert [account.role for account in everybody] == ["admin"]
        winner = browsers[codes.index(303)]
        assert answers[codes.index(303)].headers["location"] == "/"
        assert (await winner.get("/")).status_code == 200
        assert await site.house.accounts.mint_setup_token() is None


async def test_two_nodes_at_once_make_one_admin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the lock of one node: the guarded UPDATE alone must hold."""
    async with open_site(tmp_path) as site:
        monkeypatch.setattr(Accounts, "_backends", lambda self: [("quick", QuickBackend())])
        token = await site.house.accounts.mint_setup_token()
        assert token is not None
        nodes = [Accounts(site.house.db, site.house.plugins, site.house.secret_key) for _ in range(50)]
        tries = (node.create_first_admin(token, f"a{n}@example.org", PASSWORD) for n, node in enumerate(nodes))
        results = await asyncio.gather(*tries, return_exceptions=True)
        assert sum(not isinstance(result, Exception) for result in results) == 1
        assert len(await site.house.accounts.list()) == 1


async def test_the_whole_first_minute_with_real_passwords(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        token = await site.house.accounts.mint_setup_token()
        common = await site.browser().post(f"/setup/{token}", data={"email": "a@b.example", "password": "password1"})
        assert common.status_code == 400
        assert "first anybody tries" in common.text
        browser = site.browser()
        done = await browser.post(f"/setup/{token}", data={"email": "Me@Example.org", "password": PASSWORD})
        assert done.status_code == 303
        assert (await browser.get("/api/account")).json()["role"] == "admin"
        again = await site.sign_in("me@example.org")
        assert (await again.get("/")).status_code == 200


async def test_a_way_to_sign_in_that_breaks_is_reported_and_nobody_gets_in(
    shared_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(QuickBackend):
        async def sign_in(self, attempt: SignInAttempt) -> str | Refusal | None:
            raise RuntimeError("broken inside")

    told: list[tuple[str, str]] = []
    plugins = shared_site.house.plugins
    monkeypatch.setattr(plugins, "report_fault", lambda name, where, error: told.append((name, where)))
    monkeypatch.setattr(shared_site.house.accounts, "_backends", lambda: [("password", Broken())])
    answer = await shared_site.browser().post("/sign-in", data=GUESS | {"email": "broken@example.org"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert cookie_line(answer) == ""
    assert "inside" not in answer.text
    assert told == [("password", "sign_in")]


async def test_housekeeping_forgets_sessions_that_open_nothing(
    shared_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chatserver.chat import housekeeping
    from chatserver.chat.housekeeping import Housekeeping

    accounts = shared_site.house.accounts
    account = await accounts.create("tidy@example.org")
    cookie = await accounts.open_session(account)
    actor = await accounts.actor_of_cookie(cookie)
    assert actor is not None
    start, day = now_us(), 86_400_000_000

    async def left_after(days: int) -> int:
        monkeypatch.setattr(housekeeping, "now_us", lambda: start + days * day)
        await Housekeeping(shared_site.house.db, lambda: True).run({})
        return len(await accounts.sessions(actor))

    assert [await left_after(days) for days in (13, 20, 22)] == [1, 1, 0]
