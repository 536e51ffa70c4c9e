"""The folder a backup of many nodes is made in: with room or a sentence, and gone in the end, however that came."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from chatserver.chat.shared_backups import _scratch
from chatserver.errors import StorageFull
from chatserver.store.lock import hold_lock


def test_what_a_killed_backup_left_is_taken_away_and_what_another_makes_is_not(tmp_path: Path) -> None:
    left, busy, fresh = (tmp_path / f".chatserver-{name}" for name in ("left", "busy", "fresh"))
    for folder in (left, busy, fresh):
        folder.mkdir()
        (folder / "copy.db").write_bytes(b"everybody's chats")
    with hold_lock(busy / "copy.db"):
        for folder in (left, busy):
            os.utime(folder, (1, 1))
        with _scratch(tmp_path) as path:
            assert not left.exists() and busy.exists() and fresh.exists() and path.parent.parent == tmp_path
    assert not path.parent.exists()


def test_a_folder_that_is_not_there_is_made_as_for_a_box(tmp_path: Path) -> None:
    with _scratch(tmp_path / "no" / "such") as path:
        assert path.parent.is_dir()


def test_a_disk_without_room_is_told_by_its_folder(tmp_path: Path) -> None:
    with pytest.raises(StorageFull, match="no room for a copy of the database in"), _scratch(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device", "house.backup")
    with pytest.raises(PermissionError), _scratch(tmp_path):
        raise PermissionError(errno.EACCES, "Permission denied")
