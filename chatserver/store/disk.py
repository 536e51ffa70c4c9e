"""The disk below the database: space held back for the day it is full, and whether it is a network's."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

FULL = {errno.ENOSPC, errno.EDQUOT}
"""How the system says that a disk takes no more, or no more of this user's."""
RESERVE_BYTES = 16 * 1024 * 1024
NETWORK_FILESYSTEMS = {
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ncpfs", "9p", "ceph", "glusterfs", "lustre", "gfs2", "ocfs2",
    "fuse.sshfs", "fuse.rclone", "fuse.s3fs", "fuse.gcsfuse", "fuse.glusterfs", "fuse.ceph", "davfs", "fuse.davfs2",
}  # fmt: skip


class Reserve:
    """A file of `size_bytes` that only holds room: taken away when the disk is full, made again when there is space."""

    def __init__(self, path: Path, size_bytes: int = RESERVE_BYTES) -> None:
        self.path = path
        self.size_bytes = size_bytes

    def hold(self) -> bool:
        """Whether the room is held now; what is missing is asked of the disk."""
        if self.size_bytes == 0:
            return True
        try:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(handle, 0, self.size_bytes)
                else:
                    _write_zeros(handle, self.size_bytes)
            finally:
                os.close(handle)
        except OSError:
            self.release()
            return False
        return True

    def release(self) -> None:
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


def _write_zeros(handle: int, size_bytes: int) -> None:
    block = bytes(1024 * 1024)
    for start in range(0, size_bytes, len(block)):
        os.pwrite(handle, block[: size_bytes - start], start)
    os.fsync(handle)


def network_filesystem(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """The kind of network filesystem `path` lies on (`nfs4`, `cifs`…), or '' when it is local or not known."""
    try:
        lines = mounts.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    target = path.resolve()
    best, kind = -1, ""
    for line in lines:
        fields, _, tail = line.partition(" - ")
        columns = fields.split()
        if len(columns) < 5 or not tail:
            continue
        point = Path(columns[4].replace("\\040", " "))
        if len(point.parts) >= best and target.is_relative_to(point):
            best, kind = len(point.parts), tail.split()[0]
    return kind if kind in NETWORK_FILESYSTEMS else ""
