"""Files over HTTP: what is taken in and how much, how it is handed out again, and who may send it."""

from __future__ import annotations

import asyncio
import io
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from PIL import Image

from chatserver.testing.server import Site, SiteClient, open_site
from chatserver.testing.upstream import FakeUpstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

MB = 1024 * 1024
SANDBOX = "sandbox; default-src 'none'"


def picture(form: str = "PNG", colour: str = "teal") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (60, 40), colour).save(out, form)
    return out.getvalue()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def small_site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A site that takes files of one megabyte."""
    with FakeUpstream.in_thread() as upstream:
        folder = tmp_path_factory.mktemp("small")
        async with open_site(folder, upstream.base_url, limits={"upload_mb": 1, "storage_mb": 3}) as site:
            yield site


@pytest_asyncio.fixture(loop_scope="module")
async def ann(small_site: Site) -> SiteClient:
    accounts = await small_site.house.accounts.list()
    return await small_site.sign_up(f"ann{len(accounts)}@example.org")


async def upload(who: httpx.AsyncClient, name: str, content: bytes, media_type: str = "") -> httpx.Response:
    file: Any = (name, content, media_type) if media_type else (name, content)
    return await who.post("/api/files", files={"file": file})


def spooled(site: Site) -> list[Path]:
    return list(site.house.blobs.spool.iterdir())


async def emptied(site: Site) -> None:
    """Until nothing is left on its way: it is taken away when the answer is out."""
    async with asyncio.timeout(10):
        while spooled(site):
            await asyncio.sleep(0.01)


async def test_a_file_comes_in_and_goes_out(ann: SiteClient, small_site: Site) -> None:
    answer = await upload(ann, "notes.md", b"# Notes")
    assert answer.status_code == 201
    file = answer.json()
    assert {name: file[name] for name in ("name", "type", "size", "kind")} == {
        "name": "notes.md",
        "type": "text/markdown",
        "size": 7,
        "kind": "text",
    }
    assert (await ann.get(f"/api/files/{file['id']}")).json() == file
    listed = (await ann.get("/api/files")).json()
    assert (listed["files"], listed["used_bytes"], listed["limit_bytes"]) == ([file], 7, 3 * MB)
    content = await ann.get(f"/files/{file['id']}")
    assert content.content == b"# Notes"
    assert content.headers["content-disposition"] == "attachment; filename=\"notes.md\"; filename*=UTF-8''notes.md"
    assert content.headers["content-type"] == "text/plain; charset=utf-8"
    assert (await ann.delete(f"/api/files/{file['id']}")).status_code == 204
    assert (await ann.get(f"/files/{file['id']}")).status_code == 404
    await emptied(small_site)


async def test_a_key_brings_files_in_too(small_site: Site, ann: SiteClient) -> None:
    assert ann.actor is not None
    program = small_site.api(await small_site.make_key(ann.actor.account.email))
    file = (await upload(program, "a.txt", b"words")).json()
    assert (await program.get(f"/files/{file['id']}")).content == b"words"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"),
        ("a.html", b"<!doctype html><script>alert(1)</script>"),
        ("a.png", b"<script>alert(1)</script>"),
        ("a.pdf", b"%PDF-1.7\n<script>alert(1)</script>"),
        ("a.js", b"alert(1)"),
        ("a.xml", b"<?xml version='1.0'?><x:script xmlns:x='http://www.w3.org/1999/xhtml'>alert(1)</x:script>"),
    ],
)
async def test_nothing_but_our_own_pictures_is_ever_shown(ann: SiteClient, name: str, content: bytes) -> None:
    """Whatever it is called, and whatever the sender says that it is."""
    file = (await upload(ann, name, content, "image/png")).json()
    answer = await ann.get(f"/files/{file['id']}")
    assert answer.status_code == 200
    assert answer.headers["content-disposition"].startswith("attachment;")
    assert answer.headers["content-type"] in ("text/plain; charset=utf-8", "application/pdf")
    assert answer.headers["content-security-policy"] == SANDBOX
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_picture_is_shown_in_a_sandbox_and_small_where_asked(ann: SiteClient) -> None:
    file = (await upload(ann, "shot.jpg", picture("JPEG"), "text/html")).json()
    assert (file["type"], file["kind"], file["width"], file["height"]) == ("image/jpeg", "image", 60, 40)
    answer = await ann.get(f"/files/{file['id']}")
    assert answer.headers["content-disposition"].startswith("inline;")
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["content-security-policy"] == SANDBOX
    assert len(answer.content) == file["size"]
    small = await ann.get(f"/files/{file['id']}?size=thumbnail")
    assert small.headers["content-type"] == "image/webp"
    assert (await ann.get(f"/files/{file['id']}?size=huge")).status_code == 400
    text = (await upload(ann, "a.txt", b"words")).json()
    assert (await ann.get(f"/files/{text['id']}?size=thumbnail")).status_code == 400


async def test_a_part_can_be_asked_for(ann: SiteClient) -> None:
    file = (await upload(ann, "digits.txt", b"0123456789")).json()
    for asked, status, body, told in (
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=5-99", 206, b"56789", "bytes 5-9/10"),
        ("bytes=0-9", 200, b"0123456789", None),
        ("bytes=4-2", 200, b"0123456789", None),
        ("bytes=1-2,4-5", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
    ):
        answer = await ann.get(f"/files/{file['id']}", headers={"range": asked})
        assert (answer.status_code, answer.content, answer.headers.get("content-range")) == (status, body, told), asked
    assert (await ann.get(f"/files/{file['id']}", headers={"range": "bytes=10-"})).status_code == 416
    head = await ann.head(f"/files/{file['id']}")
    assert (head.status_code, head.headers["content-length"], head.content) == (200, "10", b"")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("naïve 象.txt", "attachment; filename=\"na_ve _.txt\"; filename*=UTF-8''na%C3%AFve%20%E8%B1%A1.txt"),
        ('quo"te\\.txt', "attachment; filename=\"quo_te_.txt\"; filename*=UTF-8''quo%22te%5C.txt"),
        ("../../../etc/passwd", "attachment; filename=\"passwd\"; filename*=UTF-8''passwd"),
        ("a;b\r\nSet-Cookie: x=1.txt", None),
    ],
)
async def test_a_name_stays_a_name(ann: SiteClient, name: str, told: str | None) -> None:
    body = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="'
        + name.replace("\\", "\\\\").replace('"', '\\"').encode()
        + b'"\r\n\r\nwords\r\n--x--\r\n'
    )
    answer = await ann.post("/api/files", content=body, headers={"content-type": "multipart/form-data; boundary=x"})
    if told is None:
        assert answer.status_code == 400
        return
    if "\\" in name:  # what stands before a backslash is a folder
        told = told.replace("quo_te_.txt", ".txt").replace("quo%22te%5C.txt", ".txt")
    shown = (await ann.get(f"/files/{answer.json()['id']}")).headers["content-disposition"]
    assert shown == told or shown.endswith("''txt")


async def test_a_file_over_the_limit_names_it_and_leaves_nothing(ann: SiteClient, small_site: Site) -> None:
    assert (await upload(ann, "fits.txt", b"x" * MB)).status_code == 201
    over = await upload(ann, "over.txt", b"x" * (MB + 1))
    assert (over.status_code, over.json()["error"]["code"]) == (429, "upload_mb")
    assert "1 MB" in over.json()["error"]["message"]
    assert (await upload(ann, "a.txt", b"y" * MB)).status_code == 201
    full = await upload(ann, "b.txt", b"z" * MB)
    assert full.status_code == 201
    full = await upload(ann, "c.txt", b"no room for this")
    assert (full.status_code, full.json()["error"]["code"]) == (429, "storage_mb")
    await emptied(small_site)


async def test_a_body_of_a_hundred_megabytes_is_refused_without_being_kept(ann: SiteClient, small_site: Site) -> None:
    """Its sender gets an answer, and nobody's memory or disk gets its bytes."""
    written = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal written
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="big.bin"\r\n\r\n'
        for _ in range(100):
            written += MB
            assert sum(path.stat().st_size for path in spooled(small_site)) <= 2 * MB
            yield bytes(MB)
        yield b"\r\n--x--\r\n"

    headers = {"content-type": "multipart/form-data; boundary=x"}
    try:
        answer = await ann.post("/api/files", content=endless(), headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
    except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
        assert written < 100 * MB, "cut off while it was sending"
    await emptied(small_site)
    reader, writer = await asyncio.open_connection("127.0.0.1", small_site.port)
    head = f"POST /api/files HTTP/1.1\r\nHost: 127.0.0.1:{small_site.port}\r\nContent-Length: {100 * MB}\r\n"
    head += f"Cookie: sid={ann.cookies['sid']}\r\nX-CSRF: {ann.csrf}\r\nSec-Fetch-Site: same-origin\r\n"
    writer.write(f"{head}Content-Type: multipart/form-data; boundary=x\r\n\r\n".encode())
    async with asyncio.timeout(10):
        assert (await reader.readline()).startswith(b"HTTP/1.1 413"), "refused before anything of it was sent"
    writer.close()
    await writer.wait_closed()
    assert (await upload(ann, "a.txt", b"words")).status_code == 201, "and goes on"


def part(name: str, filename: str | None, content: bytes) -> bytes:
    told = f'; filename="{filename}"' if filename is not None else ""
    return f'--x\r\nContent-Disposition: form-data; name="{name}"{told}\r\n\r\n'.encode() + content + b"\r\n"


@pytest.mark.parametrize(
    ("what", "body", "status", "code"),
    [
        ("two files", part("file", "a.txt", b"a") + part("file", "b.txt", b"b") + b"--x--\r\n", 400, "no_file"),
        ("no file", part("text", None, b"a") + b"--x--\r\n", 400, "no_file"),
        ("another field", part("other", "a.txt", b"a") + b"--x--\r\n", 400, "no_file"),
        ("an empty input", part("file", "", b"") + b"--x--\r\n", 400, "no_file"),
        ("an empty file", part("file", "a.txt", b"") + b"--x--\r\n", 422, "empty_file"),
        ("cut off", part("file", "a.txt", b"a"), 400, "bad_input"),
        ("no parts", b"--x--\r\n", 400, "no_file"),
        ("rubbish", b"rubbish", 400, "bad_input"),
        ("another boundary", b"--y\r\n\r\n--y--", 400, "bad_input"),
        ("eleven files", part("file", "a.txt", b"a") * 11 + b"--x--\r\n", 413, "too_many_files"),
        ("many fields", part("f", None, b"a") * 300 + b"--x--\r\n", 400, "bad_input"),
        ("long texts", part("f", None, b"a" * 600_000) * 2 + b"--x--\r\n", 413, "too_large"),
        ("no text", part("f", None, b"\xff") + b"--x--\r\n", 400, "bad_input"),
        ("a program", part("file", "a.txt", b"MZ\x00\x01") + b"--x--\r\n", 415, "file_type"),
        ("a long header", b"--x\r\nX: " + b"a" * 100_000 + b"\r\n\r\n\r\n--x--\r\n", 400, "bad_input"),
    ],
)
async def test_a_strange_form_is_a_4xx_and_leaves_nothing(
    ann: SiteClient, small_site: Site, what: str, body: bytes, status: int, code: str
) -> None:
    answer = await ann.post("/api/files", content=body, headers={"content-type": "multipart/form-data; boundary=x"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), what
    await emptied(small_site)


@pytest.mark.parametrize(
    "content_type", ["multipart/form-data", "multipart/form-data; boundary=", "application/json", ""]
)
async def test_a_request_without_a_form_is_a_4xx(ann: SiteClient, content_type: str) -> None:
    headers = {"content-type": content_type} if content_type else {}
    answer = await ann.post("/api/files", content=b"{}", headers=headers)
    assert answer.status_code == 400


async def test_a_stranger_brings_nothing_in(small_site: Site) -> None:
    answer = await upload(small_site.browser(), "a.txt", b"words")
    assert answer.status_code == 401
    await emptied(small_site)


async def test_a_forged_form_is_refused_before_its_first_file(small_site: Site, ann: SiteClient) -> None:
    body = part("csrf", None, b"forged") + part("file", "a.txt", b"words") + b"--x--\r\n"
    headers = {"content-type": "multipart/form-data; boundary=x", "x-csrf": ""}
    for path in ("/api/files", "/send"):
        answer = await ann.post(path, content=body, headers=headers)
        assert answer.status_code == 403
        late = part("file", "a.txt", b"words") + part("csrf", None, ann.csrf.encode()) + b"--x--\r\n"
        assert (await ann.post(path, content=late, headers=headers)).status_code == 403, "the token comes first"
        cross = {**headers, "sec-fetch-site": "cross-site", "x-csrf": ann.csrf}
        assert (await ann.post(path, content=body, headers=cross)).status_code == 403
    assert (await ann.get("/api/files")).json()["files"] == []
    good = part("csrf", None, ann.csrf.encode()) + part("file", "a.txt", b"words") + b"--x--\r\n"
    assert (await ann.post("/api/files", content=good, headers=headers)).status_code == 201


async def test_a_form_without_a_script_sends_its_files_along(small_site: Site, ann: SiteClient) -> None:
    page = (await ann.get("/")).text
    assert re.search(r'<form[^>]*id="composer"[^>]*enctype="multipart/form-data"', page)
    assert re.search(r'<input type="file"[^>]*name="files"[^>]*multiple', page)
    fields = {"csrf": ann.csrf, "text": "What are these?", "model": "fake-n5", "conversation_id": "", "parent_id": ""}
    files = [("files", ("shot.png", picture())), ("files", ("notes.txt", b"words")), ("files", ("", b""))]
    answer = await ann.post("/send", data=fields, files=files, headers={"x-csrf": ""})
    assert answer.status_code == 303, answer.text
    shown = (await ann.get(answer.headers["location"])).text
    assert "notes.txt" in shown
    assert re.search(r'<img[^>]*src="/files/[0-9a-z]{26}\?size=thumbnail"[^>]*alt="shot.png"', shown)
    refused = await ann.post(
        "/send",
        data={**fields, "text": "And this?"},
        files=[("files", ("run.exe", b"MZ\x00\x01"))],
        headers={"x-csrf": ""},
    )
    assert refused.status_code == 415
    assert "kind of file" in refused.text


async def test_files_named_in_a_send_are_shown_in_the_message(ann: SiteClient) -> None:
    shot = (await upload(ann, "shot.png", picture())).json()
    report = (await upload(ann, "report.pdf", b"%PDF-1.7")).json()
    fields = {"text": "", "model": "fake-n5", "attachments": [shot["id"], report["id"]]}
    answer = await ann.post("/send", data=fields, headers={"hx-request": "true"})
    assert answer.status_code == 200, answer.text
    assert "report.pdf" in answer.text
    assert f"/files/{report['id']}" in answer.text
    conversation = re.search(r"/c/([0-9a-z]{26})/", answer.headers["hx-push-url"])
    assert conversation
    (question, _) = (await ann.get(f"/api/conversations/{conversation[1]}/messages")).json()["messages"]
    assert [one["type"] for one in question["parts"]] == ["image", "file"]
    assert question["parts"][0]["file_id"] == shot["id"]
    assert (await ann.delete(f"/api/files/{shot['id']}")).status_code == 409


async def test_the_api_sends_files_along(ann: SiteClient) -> None:
    made = (await ann.post("/api/conversations", json={})).json()["id"]
    note = (await upload(ann, "note.txt", b"words")).json()
    body = {"parent_id": None, "text": "Read", "model": "fake-n5", "attachments": [note["id"]]}
    first = await ann.post(f"/api/conversations/{made}/messages", json=body, headers={"idempotency-key": "k"})
    again = await ann.post(f"/api/conversations/{made}/messages", json=body, headers={"idempotency-key": "k"})
    assert first.status_code == again.status_code == 202
    assert first.json() == again.json()


async def test_so_many_uploads_at_once_and_no_more(small_site: Site, ann: SiteClient) -> None:
    may_end = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield part("file", "a.txt", b"words")
        await may_end.wait()
        yield b"--x--\r\n"

    async def send() -> int:
        headers = {"content-type": "multipart/form-data; boundary=x"}
        return (await ann.post("/api/files", content=slow(), headers=headers)).status_code

    sending = [asyncio.create_task(send()) for _ in range(4)]
    async with asyncio.timeout(10):
        while len(spooled(small_site)) < 4:
            await asyncio.sleep(0.01)
    refused = await upload(ann, "b.txt", b"more")
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "uploads_at_once")
    may_end.set()
    assert await asyncio.gather(*sending) == [201] * 4
    assert (await upload(ann, "b.txt", b"more")).status_code == 201


async def test_who_hangs_up_leaves_nothing(small_site: Site, ann: SiteClient) -> None:
    async def breaks_off() -> AsyncIterator[bytes]:
        yield part("file", "a.txt", b"x" * 300_000)
        async with asyncio.timeout(10):
            while not spooled(small_site):
                await asyncio.sleep(0.01)
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await ann.post("/api/files", content=breaks_off(), headers={"content-type": "multipart/form-data; boundary=x"})
    await emptied(small_site)


async def test_a_full_disk_answers_507(small_site: Site, ann: SiteClient, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    def full(*_: object, **__: object) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("chatserver.store.folder._create", full)
        answer = await upload(ann, "a.txt", b"new words")
        assert (answer.status_code, answer.json()["error"]["code"]) == (507, "storage_full")
        assert answer.headers["retry-after"]
    with monkeypatch.context() as patch:
        patch.setattr(type(small_site.house.blobs.spool), "open", full)
        answer = await upload(ann, "a.txt", b"new words")
        assert (answer.status_code, answer.json()["error"]["code"]) == (507, "storage_full")
    assert (await upload(ann, "a.txt", b"new words")).status_code == 201
