"""Export and import as an operator runs them: whole commands, start of the program and search index included."""

from __future__ import annotations

import time
from typing import NamedTuple

from benchmarks.servers import EMAIL, Bench

OTHER = "other@example.org"


class Carried(NamedTuple):
    messages: int
    export_per_s: float
    import_per_s: float


def measure_carrying(bench: Bench, messages: int) -> Carried:
    """One account's chats go out into a file, and into another account."""
    file = str(bench.folder / "chats.jsonl")
    bench.command("account", "create", "--email", OTHER, "--password-stdin", text="a second one of ash")
    began = time.monotonic()
    bench.command("export", "--account", EMAIL, "--out", file)
    out = time.monotonic()
    bench.command("import", file, "--account", OTHER)
    return Carried(messages, messages / (out - began), messages / (time.monotonic() - out))
