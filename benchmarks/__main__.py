"""python -m benchmarks [start v1 streams page sends lengths search carry knowledge quality workers browser]
[--quick] [--write]."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import uvloop

from benchmarks import browsing, carrying, finding, grading, keeping, machine, relaying, report, storing
from benchmarks.load import QUICK, TALK, Floor, Result, Server, Target, measure
from benchmarks.servers import Bench
from chatserver.testing.postgres import PostgresServer

PARTS = ("start", "v1", "streams", "page", "workers", "sends", "lengths", "search", "carry", "knowledge", "quality",
         "browser")  # fmt: skip
ON_BOTH = {"sends", "lengths", "search", "carry", "knowledge"}
STORED = {"lengths", "search", "carry"}
RELAY_LEVELS = (1, 50, 200, 500)
SERVED_LEVELS = (*RELAY_LEVELS, 600)
"""Through /v1; the last is the number of streams at which no token may be late by a tenth of a second."""
SLOW_LEVELS = (1, 50, 200)
"""Of what answers hardly anybody when asked by more."""
PAGE_LEVELS = (1, 50, 300)
WORKER_LEVELS = (200, 500)
SQLITE, POSTGRES = "SQLite", "PostgreSQL"
Add = Callable[[str, str], None]


def say(text: str) -> None:
    print(text, flush=True)


class Run:
    """One run of everything asked for; both engines one after the other, the same disk below."""

    def __init__(self, parts: set[str], quick: bool, folder: Path, add: Add) -> None:
        self.parts, self.quick, self.folder, self.add = parts, quick, folder, add
        self.syncs = 0.0
        self.streamed: dict[str, list[Result]] = {}
        self.relayed: dict[str, list[Result]] = {}
        self.whole: dict[str, relaying.Whole] = {}
        self.sends: dict[str, keeping.Sends] = {}
        self.lengths: dict[str, list[keeping.Opened]] = {}
        self.searched: dict[str, list[keeping.Searched]] = {}
        self.carried: dict[str, carrying.Carried] = {}
        self.found: dict[str, finding.Searched] = {}
        self.ingested: dict[str, finding.Ingested] = {}
        self.graded: list[grading.Graded] = []

    async def all(self) -> str:
        self.syncs = machine.syncs_per_s(self.folder, 1 if self.quick else 3)
        head = (
            f"{datetime.date.today():%d %B %Y} · {machine.name()} · load average {machine.load_average():.1f} at the"
            f" start · the disk makes {self.syncs:,.0f} small writes a second durable, one after another"
        )
        if "quality" in self.parts:
            say("Grading what knowledge finds…")
            self.graded = grading.grade_all()
        if self.parts - {"workers", "quality"}:
            await self.on_sqlite(Bench(self.folder / "sqlite"))
        if self.parts & (ON_BOTH | {"workers", "v1"}):
            with postgres(self.folder) as url:
                await self.on_postgres(Bench(self.folder / "postgres", url))
        self.tell()
        return head

    async def on_sqlite(self, bench: Bench) -> None:
        bench.prepare()
        stored = await self.store(bench, SQLITE)
        with machine.pinned(machine.LOAD_CPU):
            async with bench.upstream():
                if "start" in self.parts:
                    started = [await keeping.measure_start(bench) for _ in range(1 if self.quick else 3)]
                    self.add("Starting", report.start_table(started))
                await self.relay(bench)
                await self.stream(bench)
                if "browser" in self.parts:
                    async with bench.server() as running:
                        found = await browsing.measure_browsing(running, 2 if self.quick else 4)
                    self.add("In the browser", report.browser_table(found))
                await self.keep(bench, SQLITE, stored)

    async def on_postgres(self, bench: Bench) -> None:
        bench.prepare()
        stored = await self.store(bench, POSTGRES)
        with machine.pinned(machine.LOAD_CPU):
            async with bench.upstream():
                if "workers" in self.parts:
                    for workers in (1, 2):
                        say(f"{workers} of its processes, on PostgreSQL…")
                        async with bench.server(workers) as running:
                            name = f"PostgreSQL, {workers} worker{'s' if workers > 1 else ''}, JSON"
                            target = Server(running, bench.key, is_page=False)
                            self.streamed[name] = await self.levels(target, WORKER_LEVELS)
                if "v1" in self.parts:
                    await self.relay_whole(bench)
                await self.keep(bench, POSTGRES, stored)
                if "sends" in self.parts:
                    say("Sending, two of its processes on PostgreSQL…")
                    async with bench.server(2) as running:
                        self.sends[f"{POSTGRES}, 2 workers"] = await keeping.measure_sends(running, bench.key)

    async def relay_whole(self, bench: Bench) -> None:
        """Whole answers by one process and by two of them; several need PostgreSQL."""
        for workers in (1, 2):
            name = f"the server, /v1, PostgreSQL, {workers} worker{'s' if workers > 1 else ''}"
            say(f"{name}, whole answers…")
            async with bench.server(workers) as running:
                target = relaying.Relayed(running, bench.key)
                self.whole[name] = await relaying.measure_whole(target, 2 if self.quick else 4)
            say(f"  {self.whole[name]}")

    async def store(self, bench: Bench, engine: str) -> storing.Stored | None:
        """What is to be searched, and the part that needs no server."""
        if not self.parts & STORED:
            return None
        began = time.monotonic()
        count = storing.QUICK_MESSAGES if self.quick else storing.ALL_MESSAGES
        say(f"Storing {count:,} messages in {engine}…")
        bench.command("account", "create", "--email", storing.NEIGHBOUR, "--password-stdin", text="a bench of beech")
        stored = await storing.store(bench, count, say)
        say(f"  in {time.monotonic() - began:.0f} s")
        if "carry" in self.parts:
            self.carried[engine] = carrying.measure_carrying(bench, storing.OWN_MESSAGES)
        return stored

    async def relay(self, bench: Bench) -> None:
        """The served API, and what else relays: the floor, and those that are installed."""
        if "v1" not in self.parts:
            return
        for name, open_ in (
            ("nginx", relaying.nginx),
            ("the floor", Bench.floor),
            ("the server, /v1", Bench.server),
            ("LiteLLM's proxy", relaying.litellm),
        ):
            async with open_(bench) as running:
                if running is None:
                    say(f"{name} is not installed here.")
                    continue
                say(f"{name}, relaying…")
                key = relaying.LITELLM_KEY if open_ is relaying.litellm else bench.key
                target = relaying.Relayed(running, key)
                is_slow = open_ is relaying.litellm
                self.relayed[name] = await self.levels(target, SLOW_LEVELS if is_slow else SERVED_LEVELS)
                self.whole[name] = await relaying.measure_whole(target, 2 if self.quick else 4)
                say(f"  whole: {self.whole[name]}")

    async def stream(self, bench: Bench) -> None:
        if not self.parts & {"streams", "page"}:
            return
        levels = {*(RELAY_LEVELS if "streams" in self.parts else ()), *(PAGE_LEVELS if "page" in self.parts else ())}
        say("The floor…")
        async with bench.floor() as running:
            self.streamed["the floor"] = await self.levels(Floor(running), sorted(levels))
        for name, part, wanted in (("JSON", "streams", RELAY_LEVELS), ("HTML", "page", PAGE_LEVELS)):
            if part in self.parts:
                say(f"The server, {name}…")
                async with bench.server() as running:
                    target = Server(running, bench.key, is_page=part == "page")
                    self.streamed[f"the server, {name}"] = await self.levels(target, wanted)

    async def levels(self, target: Target, levels: Iterable[int]) -> list[Result]:
        found = []
        for level in levels:
            if level == 1:
                result = await measure(target, QUICK, 1, 3 if self.quick else 8, 1)
            else:
                result = await measure(target, TALK, level, 5 if self.quick else 10, 5)
            say(f"  {level} at once: {result}")
            found.append(result)
        return found

    async def keep(self, bench: Bench, engine: str, stored: storing.Stored | None) -> None:
        if not self.parts & (ON_BOTH - {"carry"}):
            return
        collection, vectors = await finding.store(bench) if "knowledge" in self.parts else ("", None)
        neighbour = bench.key_of(storing.NEIGHBOUR) if stored else ""
        async with bench.server() as running:
            if stored and "lengths" in self.parts:
                say(f"Saving and opening, {engine}…")
                self.lengths[engine] = await keeping.measure_lengths(running, bench.key, stored.by_length)
            if stored and "search" in self.parts:
                say(f"Searching, {engine}…")
                self.searched[engine] = [
                    await keeping.measure_search(running, key, own, stored)
                    for key, own in ((bench.key, storing.OWN_MESSAGES), (neighbour, storing.EACH_MESSAGES))
                ]
            if collection:
                say(f"Searching passages and reading a file, {engine}…")
                self.found[engine] = await finding.measure_search(running, bench.key, collection, vectors)
                pages = finding.QUICK_PAGES if self.quick else finding.PAGES
                self.ingested[engine] = await finding.measure_ingest(running, bench.key, pages)
            if "sends" in self.parts:
                say(f"Sending, {engine}…")
                self.sends[engine] = await keeping.measure_sends(running, bench.key)

    def tell(self) -> None:
        if self.relayed:
            text = report.streams_table(self.relayed) + "\n\n" + report.whole_table(self.whole)
            self.add("Relaying through /v1", f"{text}\n\n{relaying.versions()}")
            if faults := report.faults(self.relayed):
                self.add("What failed while relaying", faults)
        if self.streamed:
            self.add("Answers as they stream", report.streams_table(self.streamed))
            if faults := report.faults(self.streamed):
                self.add("What failed", faults)
        if self.sends:
            self.add("Sending", report.sends_table(self.sends, self.syncs))
        if self.lengths:
            self.add("Saving and opening", report.lengths_table(self.lengths, 1000 / self.syncs))
        if self.searched:
            self.add("Searching", report.search_table(self.searched))
        if self.found:
            self.add("Knowledge", f"{report.found_table(self.found)}\n\n{report.ingested_table(self.ingested)}")
        if self.graded:
            kept = "kept" if grading.keeps_its_promise(self.graded) else "BROKEN"
            say(f"\n## What knowledge finds\n\n{report.quality_table(self.graded)}\n\nThe promise is {kept}.\n")
        if self.carried:
            self.add("Export and import", report.carry_table(self.carried))


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """A server on the same disk, as durable as a real one; it runs on any processor."""
    server = PostgresServer(folder / "server", durable=True).start()
    try:
        yield server.url(server.create())
    finally:
        server.remove()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="all of them when none is named")
    parser.add_argument("--quick", action="store_true", help="shorter, and rougher")
    parser.add_argument("--write", action="store_true", help="put the figures into docs/performance.md")
    parser.add_argument("--first", action="store_true", help="go before all other work on this machine (root)")
    parser.add_argument("--keep", metavar="DIR", help="leave the data and the logs there")
    given = parser.parse_args()
    if given.first and not machine.go_first():
        say("Going first takes root's rights. Neighbours on this machine will show in the figures.")
    sections: dict[str, str] = {}

    def add(title: str, text: str) -> None:
        say(f"\n## {title}\n\n{text}\n")
        sections[title] = text

    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = Path(given.keep or scratch)
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)  # PostgreSQL runs as somebody else where we are root
        run = Run(set(given.parts) or set(PARTS), given.quick, folder, add)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            head = runner.run(run.all())
    say(f"In {(time.monotonic() - began) / 60:.0f} minutes.")
    if given.write:
        if sections:
            report.write_sections(head, sections)
        if run.graded:
            report.write(report.quality_table(run.graded), grading.DOCUMENT)


if __name__ == "__main__":
    main()
