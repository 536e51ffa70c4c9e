"""What is on disk against what was installed: files changed since, and files that run code at every start."""

from __future__ import annotations

import base64
import hashlib
import sysconfig
from importlib import metadata
from pathlib import Path


def changed_files(distribution: str) -> list[str]:
    """Installed files of a distribution that are gone or differ from the hash kept at their installation."""
    changed = []
    for file in metadata.distribution(distribution).files or ():
        if file.hash is None:
            continue
        try:
            digest = hashlib.new(file.hash.mode, Path(str(file.locate())).read_bytes()).digest()
        except OSError:
            changed.append(str(file))
            continue
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != file.hash.value:
            changed.append(str(file))
    return changed


def path_files() -> list[Path]:
    """`.pth` files: lines of them are run by every start of this Python, before any of our rules."""
    folders = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    return sorted(path for folder in folders for path in Path(folder).glob("*.pth"))
