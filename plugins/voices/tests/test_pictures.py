"""The picture of a voice: brought with a form, written anew, shown from this server, gone with its voice."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from chatserver.testing.server import Site

from .conftest import Elsewhere
from .test_reading import add_voice

pytestmark = pytest.mark.timeout(60)

PLACE = "/x/voices/admin/ada/picture"


def portrait(colour: str) -> bytes:
    """A picture that carries more than its pixels."""
    told = PngImagePlugin.PngInfo()
    told.add_text("Comment", "<script>alert('where it was taken')</script>")
    out = io.BytesIO()
    Image.new("RGB", (900, 700), colour).save(out, "PNG", pnginfo=told)
    return out.getvalue() + b"behind its end: alert(1)"


async def shown_in(browser: Any, page: str) -> list[str]:
    return re.findall(r'<img class="voice-face" src="([^"]+)"', (await browser.get(page)).text)


async def held(site: Site) -> list[str]:
    """The hashes of what the plugin keeps; nothing was spoken here."""
    sql = "SELECT sha256 FROM blob_holds WHERE holder = 'plugin:voices'"
    return list(await site.house.db.read(lambda tx: tx.all(str, sql)))


async def test_a_picture_is_written_anew_and_goes_with_its_voice(site: Site, elsewhere: Elsewhere) -> None:
    boss = await site.sign_up("boss@example.org", role="admin")
    assert (await add_voice(boss, elsewhere, groups="singers")).status_code == 303
    brought = await boss.post(PLACE, files={"picture": ("me.png", portrait("teal"), "text/html")})
    assert brought.status_code == 303, brought.text
    (address,) = await shown_in(boss, "/x/voices/admin")
    eve = await site.sign_up("eve@example.org")
    assert await shown_in(eve, "/x/voices/") == [address], "greyed, and with its picture"
    picture = await eve.get(address)
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/webp")
    assert picture.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert b"alert" not in picture.content
    with Image.open(io.BytesIO(picture.content)) as small:
        assert max(small.size) == 512 and small.format == "WEBP"
    assert (await site.browser().get(address)).status_code == 401

    await boss.post(PLACE, files={"picture": ("me.png", portrait("navy"), "image/png")})
    (other,) = await shown_in(boss, "/x/voices/admin")
    assert other != address and (await eve.get(address)).status_code == 404
    assert len(await held(site)) == 1
    assert (await boss.post("/x/voices/admin/ada/remove", data={})).status_code == 303
    assert (await eve.get(other)).status_code == 404 and await held(site) == []


async def test_a_picture_is_taken_away_alone(site: Site, elsewhere: Elsewhere) -> None:
    boss = await site.sign_up("boss@example.org", role="admin")
    await add_voice(boss, elsewhere)
    await add_voice(boss, elsewhere, id="bea")
    await boss.post(PLACE, files={"picture": ("a.png", portrait("teal"))})
    await boss.post("/x/voices/admin/bea/picture", files={"picture": ("b.png", portrait("teal"))})
    first, second = await shown_in(boss, "/x/voices/admin")
    assert first == second, "equal pictures are kept once"
    assert (await boss.post(f"{PLACE}/remove", data={})).status_code == 303
    assert await shown_in(boss, "/x/voices/admin") == [second]
    assert (await boss.get(second)).status_code == 200, "the other voice still shows it"
    assert (await boss.post(f"{PLACE}/remove", data={})).status_code == 404


async def test_what_is_no_picture_is_not_kept(site: Site, elsewhere: Elsewhere) -> None:
    boss, eve = await site.sign_up("boss@example.org", role="admin"), await site.sign_up("eve@example.org")
    await add_voice(boss, elsewhere)
    for content, status in ((b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415), (b"hello", 415), (b"", 415)):
        told = await boss.post(PLACE, files={"picture": ("a.png", content)})
        assert told.status_code == status, told.text
    broken = await boss.post(PLACE, files={"picture": ("a.png", portrait("teal")[:60])})
    assert broken.status_code == 422 and "Try another copy" in broken.text
    assert (await boss.post(PLACE, data={})).status_code == 422
    good = {"picture": ("a.png", portrait("red"))}
    assert (await boss.post("/x/voices/admin/nobody/picture", files=good)).status_code == 404
    assert (await eve.post(PLACE, files=good)).status_code == 403
    assert (await boss.post(PLACE, files=good, headers={"x-csrf": "wrong"})).status_code == 403
    assert (await boss.post("/x/voices/admin", files=good)).status_code == 415, "a route that takes no files takes none"
    assert await shown_in(boss, "/x/voices/admin") == [] and await held(site) == []
