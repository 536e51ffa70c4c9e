"""The folder of files keeps the contract of blob stores; a full disk, a killed writer and a strange folder are told."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chatserver.errors import SetupError, StorageFull, Unavailable
from chatserver.store import folder
from chatserver.store.folder import FolderStore
from chatserver.testing.blobs import BlobStoreContract, put, read, sha256_of


class TestFolder(BlobStoreContract):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[FolderStore]:
        yield FolderStore(tmp_path / "blobs")


def files_below(path: Path) -> list[Path]:
    return sorted(one for one in path.rglob("*") if one.is_file())


async def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "blobs")
    await put(store, b"private")
    (file,) = files_below(tmp_path)
    assert file.stat().st_mode & 0o777 == 0o600
    assert {one.stat().st_mode & 0o077 for one in (tmp_path / "blobs").rglob("*") if one.is_dir()} == {0}


@pytest.mark.parametrize("step", ["write", "sync"])
async def test_a_full_disk_keeps_nothing_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    store = FolderStore(tmp_path / "blobs")
    kept = await put(store, b"from before")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        if step == "sync":
            patch.setattr(folder, "_sync", full)
        else:
            patch.setattr(folder, "_create", lambda part: open("/dev/full", "wb", buffering=0))  # noqa: SIM115
        with pytest.raises(StorageFull) as told:
            await put(store, b"new")
        assert told.value.status == 507
    assert [one.name for one in files_below(tmp_path)] == [kept]
    assert await read(store, await put(store, b"new")) == b"new"


async def test_a_damaged_file_is_mended_by_the_next_who_brings_it(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "blobs")
    sha256 = await put(store, b"whole content")
    (file,) = files_below(tmp_path)
    file.write_bytes(b"whole")
    await put(store, b"whole content")
    assert await read(store, sha256) == b"whole content"


async def test_what_a_killed_writer_left_is_taken_away_after_a_day(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "blobs")
    await put(store, b"kept")
    left = tmp_path / "blobs" / folder.UNFINISHED / "left"
    busy = tmp_path / "blobs" / folder.UNFINISHED / "busy"
    left.write_bytes(b"half")
    busy.write_bytes(b"half")
    os.utime(left, (1, 1))
    FolderStore(tmp_path / "blobs")
    assert not left.exists()
    assert busy.exists()


async def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SetupError, match="cannot be used"):
        FolderStore(tmp_path / "file")
    store = FolderStore(tmp_path / "blobs")
    sha256 = sha256_of(b"x")
    (tmp_path / "blobs" / sha256[:2]).write_bytes(b"in the way")
    with pytest.raises(Unavailable):
        await put(store, b"x")
    assert await store.size_of(sha256) is None
