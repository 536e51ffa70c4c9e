"""Chats brought along from a file: each program's, our own, packed; bombs and rubbish are refused."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path
from typing import Any

import chatserver_imports
import msgspec
import pytest
from PIL import Image

from chatserver.chat import bringing, import_child
from chatserver.confined import Bounds
from chatserver.testing.server import Site, SiteClient, open_site
from chatserver.testing.upstream import FakeUpstream

pytestmark = pytest.mark.asyncio(loop_scope="module")
FIXTURES = Path(__file__).resolve().parents[2] / "plugins" / "imports" / "tests" / "fixtures"


async def bring(client: SiteClient, name: str, content: bytes, **options: Any) -> Any:
    files = {"file": (name, content, "application/octet-stream")}
    return await client.post("/settings/data/import", files=files, **options)


async def chats(client: SiteClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.get("/api/conversations")).json()["conversations"]
    return found


def zipped(**entries: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name.replace("__", "."), content)
    return out.getvalue()


@pytest.mark.parametrize("fixture", ["chatgpt", "claude", "openwebui", "lobechat", "librechat-tree"])
async def test_what_other_programs_hand_out_is_taken_in_once(shared_site: Site, fixture: str) -> None:
    ada = await shared_site.sign_up(f"brings-{fixture}@example.org")
    content = (FIXTURES / f"{fixture}.json").read_bytes()
    first = await bring(ada, "conversations.json", content)
    assert first.status_code == 200 and "Taken in from" in first.text, first.text
    held = await chats(ada)
    assert held
    again = await bring(ada, "conversations.json", content)
    assert "here already" in again.text and await chats(ada) == held


async def test_ones_own_export_comes_back_whole(shared_site: Site) -> None:
    ada = await shared_site.sign_up("own-out@example.org")
    bob = await shared_site.sign_up("own-in@example.org")
    await bring(ada, "chats.json", (FIXTURES / "chatgpt.json").read_bytes())
    packed = (await ada.get("/api/account/export")).content
    for name, content in (("all.jsonl.gz", packed), ("all.jsonl", gzip.decompress(packed))):
        answer = await bring(bob, name, content)
        assert answer.status_code == 200 and "from chatserver" in answer.text
    assert sorted(c["title"] for c in await chats(bob)) == sorted(c["title"] for c in await chats(ada))
    (one, *_) = await chats(ada)
    single = await ada.get(f"/api/conversations/{one['id']}/export", params={"format": "json", "scope": "tree"})
    cleo = await shared_site.sign_up("own-single@example.org")
    assert "1 chat" in (await bring(cleo, "chat.json", single.content)).text and len(await chats(cleo)) == 1


async def test_files_come_along(shared_site: Site) -> None:
    ada = await shared_site.sign_up("files-out@example.org")
    bob = await shared_site.sign_up("files-in@example.org")
    out = io.BytesIO()
    Image.new("RGB", (40, 30), "teal").save(out, "PNG")
    held = {"file": ("garden.png", out.getvalue())}, {"file": ("notes.txt", "Straße".encode())}
    ids = [(await ada.post("/api/files", files=one)).json()["id"] for one in held]
    chat = (await ada.post("/api/conversations", json={"title": "With files"})).json()["id"]
    body = {"parent_id": None, "text": "Look", "model": "fake-n5", "attachments": ids}
    assert (await ada.post(f"/api/conversations/{chat}/messages", json=body)).status_code in (200, 201, 202)
    assert "your files: 2 files" in (await ada.get("/settings/data")).text
    packed = (await ada.get("/api/account/export")).content
    for words in ("2 files came along", "1 chat was here already"):
        answer = await bring(bob, "all.jsonl.gz", packed)
        assert answer.status_code == 200 and words in answer.text, answer.text
    own = (await bob.get("/api/files")).json()["files"]
    assert sorted(one["name"] for one in own) == ["garden.png", "notes.txt"]
    assert not {one["id"] for one in own} & set(ids)
    for one in own:
        assert (await bob.get(f"/files/{one['id']}")).status_code == 200
    page = await bob.get(f"/c/{(await chats(bob))[0]['id']}")
    assert all(f"/files/{one['id']}" in page.text for one in own)
    assert not list(shared_site.house.blobs.spool.iterdir())


async def test_an_archive_is_looked_through(shared_site: Site) -> None:
    ada = await shared_site.sign_up("zip@example.org")
    content = zipped(conversations__json=(FIXTURES / "chatgpt.json").read_bytes(), chat__html=b"<p>not this</p>")
    answer = await bring(ada, "export.zip", content)
    assert "Taken in from ChatGPT" in answer.text and "1 file in the archive holds no chats" in answer.text
    assert await chats(ada)


async def test_what_is_wrong_is_said_and_nothing_is_taken(shared_site: Site) -> None:
    ada = await shared_site.sign_up("wrong-file@example.org")
    good = (FIXTURES / "chatgpt.json").read_bytes()
    for content in (
        b"",
        b"hello",
        b"\x89PNG\r\n",
        b"{}",
        good[:-50],
        zipped(x__json=b"{}"),
        b"\x1f\x8bnonsense",
        b"PK\x03\x04bad",
    ):
        answer = await bring(ada, "<b>odd</b>.json", content)
        assert answer.status_code in (400, 422), content[:20]
        assert "Nothing was taken in." in answer.text and "<b>odd</b>" not in answer.text
        assert "/spool/" not in answer.text and str(shared_site.house.blobs.spool) not in answer.text
    missing = await ada.post("/settings/data/import", data={})
    assert missing.status_code == 422 and "Choose a file first" in missing.text
    assert await chats(ada) == [] and not list(shared_site.house.blobs.spool.iterdir())


async def test_a_circle_far_down_takes_nothing_of_what_stands_before_it(shared_site: Site) -> None:
    ada = await shared_site.sign_up("circle@example.org")
    bob = await shared_site.sign_up("circle-out@example.org")
    await bring(bob, "chats.json", (FIXTURES / "chatgpt.json").read_bytes())
    lines = gzip.decompress((await bob.get("/api/account/export")).content).splitlines(keepends=True)
    first = next(at for at, line in enumerate(lines) if b'"type":"message"' in line)
    roots = [at for at, line in enumerate(lines) if b'"parent_id":null' in line]
    own_id = msgspec.json.decode(lines[roots[-1]])["id"].encode()
    lines[roots[-1]] = lines[roots[-1]].replace(b'"parent_id":null', b'"parent_id":"%s"' % own_id)
    assert first < roots[-1]
    answer = await bring(ada, "circle.jsonl", b"".join(lines))
    assert answer.status_code == 422 and "runs in a circle" in answer.text
    assert await chats(ada) == []
    cut = await bring(ada, "mine.json", b'[{"mapping":{}},')
    assert "mine.json is damaged or was cut" in cut.text
    odd = await bring(ada, "mine.json", b'[{"mapping": {"a": {"message": {"content": {"parts": ["\xff"]}}}}}]')
    assert odd.status_code == 422 and "tell its author" not in odd.text, odd.text


async def test_a_bomb_harms_nobody(shared_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = await shared_site.sign_up("bomb@example.org")
    for name, content in (
        ("bomb.zip", zipped(conversations__json=b"[" + b" " * 50_000_000 + b"]")),
        ("bomb.gz", gzip.compress(b"0" * 50_000_000)),
    ):
        answer = await bring(ada, name, content)
        assert answer.status_code in (400, 422) and "too much" in answer.text
    deep = await bring(ada, "deep.json", b"[" * 900_000)
    assert deep.status_code in (400, 422)
    monkeypatch.setattr(bringing, "BOUNDS", Bounds(cpu_s=1, wall_s=0.05))
    slow = await bring(ada, "slow.json", (FIXTURES / "chatgpt.json").read_bytes())
    assert slow.status_code == 422 and "too large or too odd" in slow.text
    assert await chats(ada) == []


async def test_a_disk_without_room_for_what_the_file_holds_is_not_the_files_fault(
    shared_site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await shared_site.sign_up("no-room@example.org")
    source = tmp_path / "chats.json"
    source.write_bytes((FIXTURES / "chatgpt.json").read_bytes())

    def never(_: object) -> bytes:
        with open("/dev/full", "wb", buffering=0) as full:
            full.write(b"x")
        raise AssertionError("it took what it never takes")

    monkeypatch.setattr(import_child, "encode_line", never)
    importers = [import_child.ImporterName.of(one) for one in chatserver_imports.register_importers()]
    told = import_child.main(source, tmp_path / "trees", tmp_path, [one for one in importers if one is not None])
    assert told.refused is not None and told.refused[0] == "storage_full"

    async def as_the_child(*_: object) -> bytes:
        return msgspec.json.encode(told)

    monkeypatch.setattr(bringing, "run_confined", as_the_child)
    answer = await bring(ada, "chats.json", source.read_bytes())
    assert answer.status_code == 507 and "no room to unpack the file" in answer.text
    assert await chats(ada) == [] and not list(shared_site.house.blobs.spool.iterdir())


async def test_only_from_a_page_of_ours_and_never_with_a_key(shared_site: Site) -> None:
    ada = await shared_site.sign_up("forged-import@example.org")
    content = (FIXTURES / "chatgpt.json").read_bytes()
    for headers in ({"sec-fetch-site": "cross-site"}, {"x-csrf": "wrong"}):
        assert (await bring(ada, "x.json", content, headers=headers)).status_code == 403
    key = shared_site.api(await shared_site.make_key("forged-import@example.org"))
    assert (await key.post("/settings/data/import", files={"file": ("x.json", content)})).status_code == 403
    nobody = await shared_site.browser().post("/settings/data/import", files={"file": ("x.json", content)})
    assert nobody.status_code in (303, 401, 403)
    assert await chats(ada) == []


async def test_a_file_over_the_limit_is_told_which(tmp_path: Path, fake_upstream: FakeUpstream) -> None:
    async with open_site(tmp_path, fake_upstream.base_url, limits={"upload_mb": 1}) as site:
        ada = await site.sign_up("large@example.org")
        assert "Up to 1 MB" in (await ada.get("/settings/data")).text
        answer = await bring(ada, "large.json", b"[" + b" " * 1_200_000 + b"]")
        assert answer.status_code == 429 and "1 MB" in answer.text
