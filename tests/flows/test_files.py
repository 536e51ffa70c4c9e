"""Files through the life of a server: killed while they come in, backed up, put back, moved to a bucket and back."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from chatserver.clock import new_id
from chatserver.testing.s3 import S3Server
from chatserver.testing.upstream import FakeUpstream
from tests.running import NO_LIMITS, RunningServer

SECRET = "0123456789abcdef0123456789abcdef"
LIMITS = {**NO_LIMITS, "upload_mb": 0}


def client(server: RunningServer, key: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=server.url, headers={"authorization": f"Bearer {key}"}, timeout=30)


async def upload(who: httpx.AsyncClient, name: str, content: bytes) -> dict[str, Any]:
    answer = await who.post("/api/files", files={"file": (name, content)})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


@pytest.mark.timeout(180)
async def test_a_server_killed_while_files_come_in_keeps_what_it_acknowledged_and_nothing_half(
    tmp_path: Path, fake_upstream: FakeUpstream, database_url: str
) -> None:
    environment = {"CHATSERVER_DATABASE_URL": database_url, "CHATSERVER_SECRET_KEY": SECRET} if database_url else {}
    server = RunningServer(tmp_path, fake_upstream.base_url, limits=LIMITS, environment=environment)
    await asyncio.to_thread(server.start)
    key = await asyncio.to_thread(server.account, "ann@example.org")
    acknowledged: dict[str, bytes] = {}
    try:
        async with client(server, key) as ann:

            async def endless() -> AsyncIterator[bytes]:
                yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="half.txt"\r\n\r\n'
                while True:
                    yield b"half " * 20_000
                    await asyncio.sleep(0.01)

            async def send_half() -> None:
                headers = {"content-type": "multipart/form-data; boundary=x"}
                with pytest.raises(httpx.TransportError):
                    await ann.post("/api/files", content=endless(), headers=headers)

            async def send_whole() -> None:
                for number in range(10_000):
                    content = f"whole {number} ".encode() * 5_000
                    try:
                        file = await upload(ann, f"{number}.txt", content)
                    except httpx.TransportError:
                        return
                    acknowledged[file["id"]] = content

            sending = [asyncio.create_task(send_half()), asyncio.create_task(send_half())]
            whole = asyncio.create_task(send_whole())
            async with asyncio.timeout(60):
                while len(acknowledged) < 5:
                    await asyncio.sleep(0.01)
            await asyncio.to_thread(server.kill)
            await asyncio.gather(*sending, whole)
        await asyncio.to_thread(server.start)
        async with client(server, key) as ann:
            listed = (await ann.get("/api/files")).json()
            assert {one["name"] for one in listed["files"]} & {"half.txt"} == set()
            for file_id, content in acknowledged.items():
                assert (await ann.get(f"/files/{file_id}")).content == content
        assert "all is well" in await asyncio.to_thread(server.run, "doctor")
        said = await asyncio.to_thread(server.run, "verify")
        assert "files: all is well" in said
    finally:
        await asyncio.to_thread(server.kill)


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc what a process holds")
@pytest.mark.timeout(180)
async def test_large_files_go_through_a_server_without_filling_it(tmp_path: Path, fake_upstream: FakeUpstream) -> None:
    """Four times 100 MB in, each read again: what the process holds grows by less than a quarter of one."""
    server = RunningServer(tmp_path, fake_upstream.base_url, limits={**LIMITS, "upload_mb": 110})
    await asyncio.to_thread(server.start)
    try:
        key = await asyncio.to_thread(server.account, "ann@example.org")
        async with client(server, key) as ann:
            await upload(ann, "first.pdf", b"%PDF-1.7 small")
            before_kb = most_held_kb(server)
            for number in range(4):
                content = b"%PDF-1.7 " + bytes([number]) * 100_000_000
                file = await upload(ann, f"{number}.pdf", content)
                async with ann.stream("GET", f"/files/{file['id']}") as answer:
                    assert sum([len(chunk) async for chunk in answer.aiter_bytes()]) == len(content)
            assert most_held_kb(server) - before_kb < 25_000
    finally:
        await asyncio.to_thread(server.kill)


def most_held_kb(server: RunningServer) -> int:
    """The most memory the process ever held."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")))


@pytest.mark.timeout(240)
async def test_a_box_is_backed_up_put_back_and_moved_to_postgres_and_a_bucket_with_its_files(
    tmp_path: Path, fake_upstream: FakeUpstream, postgres_url: str, s3_server: S3Server
) -> None:
    box = RunningServer(tmp_path / "box", fake_upstream.base_url)
    await asyncio.to_thread(box.start)
    key = await asyncio.to_thread(box.account, "ann@example.org")
    async with client(box, key) as ann:
        file = await upload(ann, "kept.txt", b"to be kept")
        made = (await ann.post("/api/conversations", json={})).json()["id"]
        asked = {"parent_id": None, "text": "Read", "model": "fake-n5", "attachments": [file["id"]]}
        assert (await ann.post(f"/api/conversations/{made}/messages", json=asked)).status_code == 202
    backup = tmp_path / "box.backup"
    assert "1 contents of files" in await asyncio.to_thread(box.run, "backup", str(backup))
    assert "is sound: " in await asyncio.to_thread(box.run, "verify", str(backup))
    await asyncio.to_thread(box.stop)
    shutil.rmtree(box.data / "blobs")
    with pytest.raises(AssertionError):
        await asyncio.to_thread(box.run, "doctor")
    assert "1 contents of files" in await asyncio.to_thread(box.run, "restore", str(backup))
    assert "files: all is well, 1 contents" in await asyncio.to_thread(box.run, "verify")
    bucket = f"s3://{s3_server.create(f'cloud-{new_id()}')}/files"
    keys = {"AWS_ENDPOINT_URL": s3_server.endpoint, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    box.environment.update(keys)
    said = await asyncio.to_thread(box.run, "copy", "--to", postgres_url, "--files", bucket)
    assert "1 contents copied" in said and "equal on both sides" in said
    secret = box.config.with_suffix(".key").read_text().strip()
    environment = {"CHATSERVER_DATABASE_URL": postgres_url, "CHATSERVER_SECRET_KEY": secret, **keys}
    cloud = RunningServer(
        tmp_path / "cloud", fake_upstream.base_url, environment={**environment, "CHATSERVER_BLOB_URL": bucket}
    )
    await asyncio.to_thread(cloud.start)
    try:
        async with client(cloud, key) as ann:
            assert (await ann.get(f"/files/{file['id']}")).content == b"to be kept"
            await upload(ann, "new.txt", b"brought to the bucket")
        assert "files: all is well, 2 contents" in await asyncio.to_thread(cloud.run, "verify")
    finally:
        await asyncio.to_thread(cloud.stop)
    said = await asyncio.to_thread(cloud.run, "copy", "--to", f"sqlite://{tmp_path / 'back'}")
    assert "2 contents copied" in said
    home = RunningServer(tmp_path / "home", fake_upstream.base_url)
    home.environment["CHATSERVER_DATA"] = str(tmp_path / "back")
    assert "files: all is well, 2 contents" in await asyncio.to_thread(home.run, "verify")
    taken_along = tmp_path / "all.jsonl"
    await asyncio.to_thread(home.run, "export", "--out", str(taken_along))
    fresh = RunningServer(tmp_path / "fresh", fake_upstream.base_url)
    await asyncio.to_thread(fresh.account, "ann@example.org")
    assert "1 files came along" in await asyncio.to_thread(fresh.run, "import", str(taken_along))
    assert "files: all is well, 1 contents" in await asyncio.to_thread(fresh.run, "verify")
