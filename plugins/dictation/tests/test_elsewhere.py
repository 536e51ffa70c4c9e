"""A transcriber at an address: what it is sent, what becomes of its answers, and that its key is shown to nobody."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from chatserver.testing.server import Site, open_site

SECRET = "sk-canary-5151"
SOUND = base64.b64encode(b"OggS" + bytes(60)).decode()


class Ear:
    """An /audio/transcriptions over real HTTP. heard: the forms and keys it saw; answers: what it says, by form."""

    def __init__(self) -> None:
        self.heard: list[tuple[bytes, str]] = []
        self.answers: dict[str, tuple[int, Any]] = {}
        self.url = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1)[0:1] + line.split(": ", 1)[1:] for line in head[1:] if ": " in line)
        body = await reader.readexactly(int(headers["content-length"]))
        self.heard.append((body, headers.get("authorization", "")))
        status, told = self.answers["verbose_json" if b"verbose_json" in body else "json"]
        text = json.dumps(told).encode()
        writer.write(
            b"HTTP/1.1 %d Told\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % (status, len(text)) + text
        )
        await writer.drain()
        writer.close()


@pytest.fixture
async def ear() -> AsyncIterator[Ear]:
    ear = Ear()
    server = await asyncio.start_server(ear.answer, "127.0.0.1", 0)
    ear.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    yield ear
    server.close()


@pytest.fixture(params=["sqlite", "postgres"])
async def site(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """Without a model of its own."""
    monkeypatch.setattr("chatserver_dictation.whisper.packaged", lambda: "")
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else ""
    async with open_site(tmp_path, database_url=url) as site:
        yield site


async def test_recordings_go_to_the_address_an_admin_named(site: Site, ear: Ear) -> None:
    ada = await site.sign_up("ada@example.org", role="admin")
    assert 'aria-label="Dictate"' not in (await ada.get("/")).text  # nobody would listen
    told = await ada.post("/x/dictation/hear", json={"audio": SOUND})
    assert (told.status_code, told.json()["error"]["code"]) == (404, "no_transcriber")
    row = {"title": "An ear", "base_url": ear.url, "model": "whisper-1", "key": SECRET}
    for wrong in ({"title": " "}, {"base_url": "ftp://x.example"}, {"model": ""}):
        refused = await ada.post("/x/dictation/admin", data={**row, **wrong})
        assert refused.status_code == 422 and SECRET not in refused.text
    assert (await ada.post("/x/dictation/admin", data=row)).status_code == 303
    page = (await ada.get("/x/dictation/admin")).text
    assert "An ear" in page and "with a key" in page and SECRET not in page
    assert 'aria-label="Dictate"' in (await ada.get("/")).text

    ear.answers["verbose_json"] = (
        200,
        {"text": " Hello there. ", "language": "english", "duration": 2.5, "segments": []},
    )
    heard = await ada.post("/x/dictation/hear", json={"audio": SOUND, "language": "en"})
    assert heard.json() == {"text": "Hello there.", "language": "en", "seconds": 2.5}
    form, key = ear.heard[-1]
    assert key == f"Bearer {SECRET}" and b'filename="recording.ogg"' in form and b"OggS" in form
    assert b'name="language"\r\n\r\nen\r\n' in form and b'name="model"\r\n\r\nwhisper-1\r\n' in form

    ear.answers |= {"verbose_json": (400, {}), "json": (200, {"text": "Only words."})}
    assert (await ada.post("/x/dictation/hear", json={"audio": SOUND})).json()["text"] == "Only words."
    for status, told_status in ((401, 503), (503, 503), (422, 400)):
        ear.answers["verbose_json"] = (status, {})
        told = await ada.post("/x/dictation/hear", json={"audio": SOUND})
        assert told.status_code == told_status and SECRET not in told.text, told.text
    ear.answers["verbose_json"] = (200, ["no transcript"])
    assert (await ada.post("/x/dictation/hear", json={"audio": SOUND})).status_code == 503

    assert (await ada.post("/x/dictation/admin/remove")).status_code == 303
    assert (await ada.post("/x/dictation/admin/remove")).status_code == 404
    assert ada.actor is not None
    removed, kept = (await site.house.audit.entries(ada.actor))[:2]
    assert (kept.action, removed.action) == ("dictation.address_set", "dictation.address_removed")
    assert SECRET not in (await ada.get("/admin/audit")).text
    assert 'aria-label="Dictate"' not in (await ada.get("/")).text


async def test_the_page_is_for_admins(site: Site, ear: Ear) -> None:
    eve = await site.sign_up("eve@example.org")
    assert (await eve.get("/x/dictation/admin")).status_code == 403
    row = {"title": "Mine", "base_url": ear.url, "model": "m"}
    assert (await eve.post("/x/dictation/admin", data=row)).status_code == 403


def test_weights_in_pieces_are_joined_and_their_sum_is_asked_for(tmp_path: Path) -> None:
    from chatserver_dictation.child import joined

    folders = [tmp_path / "one", tmp_path / "two"]
    for number, folder in enumerate(folders, 1):
        folder.mkdir()
        (folder / f"model.bin.part{number}").write_bytes(b"half" * number)
    (folders[0] / "config.json").write_text("{}")
    sha256 = hashlib.sha256(b"halfhalfhalf").hexdigest()
    assert joined(folders, sha256) == {"config.json": b"{}", "model.bin": b"halfhalfhalf"}
    with pytest.raises(ValueError, match="weights"):
        joined(folders[::-1][:1], sha256)
