"""python -m benchmarks [streams page sends lengths search carry start] [--quick] [--write] : measure, print tables."""

from __future__ import annotations

import argparse
import asyncio
import datetime
import tempfile
from collections.abc import Iterable
from pathlib import Path

import uvloop

from benchmarks import carrying, keeping, machine, report
from benchmarks.load import QUICK, TALK, Floor, Result, Server, measure
from benchmarks.servers import Bench, Running

PARTS = ("start", "streams", "page", "sends", "lengths", "search", "carry")
RELAY_LEVELS = (1, 50, 200, 500)
PAGE_LEVELS = (1, 50, 300)


async def streams(target: Floor | Server, levels: Iterable[int], quick: bool) -> list[Result]:
    found = []
    for level in levels:
        if level == 1:
            result = await measure(target, QUICK, 1, 3 if quick else 8, 1)
        else:
            result = await measure(target, TALK, level, 5 if quick else 10, 5)
        say(f"  {level} at once: {result}")
        found.append(result)
    return found


def say(text: str) -> None:
    print(text, flush=True)


async def run(parts: set[str], quick: bool, folder: Path) -> str:
    bench = Bench(folder)
    bench.prepare()
    syncs = machine.syncs_per_s(folder, 1 if quick else 3)
    pages = [
        f"{datetime.date.today():%d %B %Y} · {machine.name()} · load average {machine.load_average():.1f} at the"
        f" start · the disk makes {syncs:,.0f} small writes a second durable, one after another"
    ]

    def add(title: str, text: str) -> None:
        say(f"\n## {title}\n\n{text}\n")
        pages.append(f"### {title}\n\n{text}")

    stored: dict[int, str] = {}
    if parts & {"lengths", "search", "carry"}:
        say(f"Storing {keeping.STORED_MESSAGES:,} messages…")
        stored = await keeping.store(bench)
    if "carry" in parts:
        add("Export and import", report.carry_table(carrying.measure_carrying(bench, keeping.STORED_MESSAGES)))
    machine.pin(0, machine.LOAD_CPU)
    async with bench.upstream():
        if "start" in parts:
            started = [await keeping.measure_start(bench) for _ in range(1 if quick else 3)]
            add("Starting", report.start_table(started))
        found: dict[str, list[Result]] = {}
        if parts & {"streams", "page"}:
            levels = sorted({*(RELAY_LEVELS if "streams" in parts else ()), *(PAGE_LEVELS if "page" in parts else ())})
            say("The floor…")
            async with bench.floor() as running:
                found["the floor"] = await streams(Floor(running), levels, quick)
        if "streams" in parts:
            say("The server, as JSON events…")
            async with bench.server() as running:
                found["the server, JSON"] = await streams(
                    Server(running, bench.key, is_page=False), RELAY_LEVELS, quick
                )
        if "page" in parts:
            say("The server, as the page sees it…")
            async with bench.server() as running:
                found["the server, HTML"] = await streams(Server(running, bench.key, is_page=True), PAGE_LEVELS, quick)
        if found:
            add("Answers as they stream", report.streams_table(found))
            if report.faults(found):
                add("What failed", report.faults(found))
        if parts & {"sends", "lengths", "search"}:
            async with bench.server() as running:
                await keep(parts, running, bench, stored, syncs, add)
    return "\n\n".join(pages)


async def keep(parts: set[str], running: Running, bench: Bench, stored: dict[int, str], syncs: float, add) -> None:  # type: ignore[no-untyped-def]
    if "lengths" in parts:
        lengths = await keeping.measure_lengths(running, bench.key, stored)
        add("Saving and opening", report.lengths_table(lengths, 1000 / syncs))
    if "search" in parts:
        add("Searching", report.search_table(await keeping.measure_search(running, bench.key)))
    if "sends" in parts:
        add("Sending", report.sends_table(await keeping.measure_sends(running, bench.key), syncs))


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
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = Path(given.keep or scratch)
        folder.mkdir(parents=True, exist_ok=True)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            figures = runner.run(run(set(given.parts) or set(PARTS), given.quick, folder))
    if given.write:
        report.write(figures)


if __name__ == "__main__":
    main()
