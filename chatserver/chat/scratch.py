"""What an import puts aside while it reads: when the disk has no room for that, it is said as such."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from chatserver.errors import StorageFull
from chatserver.store.disk import FULL


@contextlib.contextmanager
def needing_room() -> Iterator[None]:
    """Raises StorageFull for a disk that takes no more of what is written in here."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise StorageFull(
            "The server's disk has no room to unpack the file. Free some space there, then bring the file again."
        ) from error
