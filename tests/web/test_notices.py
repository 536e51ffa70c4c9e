"""Notices in the page: a quiet line for admins, a list, a button; nothing of it for anybody else."""

from __future__ import annotations

import pytest

from chatserver.testing.server import Site

pytestmark = pytest.mark.asyncio(loop_scope="module")
LINE = 'href="/admin/notices"'


async def test_an_admin_reads_and_puts_away(shared_site: Site) -> None:
    root = await shared_site.sign_up("root@example.org", role="admin")
    assert LINE not in (await root.get("/")).text
    assert "All is well." in (await root.get("/admin/notices")).text
    board = shared_site.house.notices.of_plugin("gateway")
    await board.tell("key one", "The key of the channel %(channel)s was refused.", "error", channel="<b>one</b>")
    await shared_site.house.notices.core.tell("disk", "The disk is nearly full.")
    assert "2 notices" in (await root.get("/")).text
    page = (await root.get("/admin/notices")).text
    assert "The key of the channel &lt;b&gt;one&lt;/b&gt; was refused." in page and "gateway ·" in page
    for _ in range(2):
        answer = await root.post("/admin/notices/put-away", data={"source": "gateway", "key": "key one"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/admin/notices")
    assert "1 notice<" in (await root.get("/")).text
    assert (await root.post("/admin/notices/put-away", data={"key": "gone"})).status_code == 303


async def test_nobody_else_sees_them(shared_site: Site) -> None:
    await shared_site.house.notices.core.tell("disk", "The disk is really full.")
    ann = await shared_site.sign_up("ann@example.org")
    assert LINE not in (await ann.get("/")).text
    assert (await ann.get("/admin/notices")).status_code == 403
    assert (await ann.post("/admin/notices/put-away", data={"key": "disk"})).status_code == 403
    assert (await shared_site.browser().get("/admin/notices")).status_code == 303
    root = await shared_site.house.accounts.by_email("root@example.org")
    assert root is not None
    key = (await shared_site.house.accounts.create_key(root, "narrow", ["chat"])).secret
    assert (await shared_site.api(key).get("/admin/notices")).status_code == 403
