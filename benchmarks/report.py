"""The figures as Markdown tables, and their place in docs/performance.md."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Sequence
from pathlib import Path

from benchmarks.browsing import PAINT_TARGET_MS, SLOWDOWN, TYPING_TARGET_MS, Browsed
from benchmarks.carrying import Carried
from benchmarks.finding import Ingested
from benchmarks.finding import Searched as Found
from benchmarks.grading import FIRST, KINDS, TOGETHER, WAYS, Graded, grade
from benchmarks.keeping import Opened, Searched, Sends, Started
from benchmarks.load import Result
from benchmarks.relaying import Whole

DOCUMENT = Path(__file__).parent.parent / "docs" / "performance.md"
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"
_FIGURES = re.compile(re.escape(BEGIN) + "(.*?)" + re.escape(END), re.DOTALL)


def number(value: float, digits: int = 1) -> str:
    return "–" if math.isnan(value) else f"{value:,.{digits}f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["--:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, rule, *rows])


def streams_table(results: dict[str, list[Result]]) -> str:
    head = [
        "chats at once", "by way of", "first token p50 ms", "p99 ms", "other tokens p50 ms", "p99 ms", "tokens/s",
        "CPU s per 1,000 tokens", "memory MB", "answers", "failed",
    ]  # fmt: skip
    rows = []
    for streams in sorted({result.streams for found in results.values() for result in found}):
        for name, found in results.items():
            for one in found:
                if one.streams == streams:
                    rows.append(
                        [
                            f"{streams:,}",
                            name,
                            number(one.first_p50),
                            number(one.first_p99),
                            number(one.delay_p50, 2),
                            number(one.delay_p99, 2),
                            number(one.tokens_per_s, 0),
                            number(one.cpu_s_per_1000, 3),
                            number(one.memory_mb, 0),
                            str(one.done),
                            str(one.failed),
                        ]
                    )
    return table(head, rows)


def whole_table(found: dict[str, Whole]) -> str:
    head = ["whole answers, 32 clients, by way of", "per second", "p50 ms", "p99 ms", "CPU ms each", "failed"]
    rows = [
        [name, number(one.per_s, 0), number(one.p50), number(one.p99), number(one.cpu_ms, 2), str(one.failed)]
        for name, one in found.items()
    ]
    return table(head, rows)


def faults(results: dict[str, list[Result]]) -> str:
    lines = [f"- {name}, {one.streams}: {one.why}" for name, found in results.items() for one in found if one.why]
    return "\n".join(lines)


def lengths_table(found: dict[str, list[Opened]], sync_ms: float) -> str:
    head = ["kept in", "messages in the chat", "save one, p50 ms", "to one of ten", "the same less one sync",
            "whole path as JSON, p50 ms", "kB", "page, p50 ms", "kB"]  # fmt: skip
    rows = [
        [
            engine, f"{one.length:,}", number(one.save_p50), f"{one.save_p50 / opened[0].save_p50:.2f}",
            number(max(0.0, one.save_p50 - sync_ms)), number(one.json_p50), number(one.json_kb, 0),
            number(one.page_p50), number(one.page_kb, 0),
        ]
        for engine, opened in found.items()
        for one in opened
    ]  # fmt: skip
    return table(head, rows)


def search_table(found: dict[str, list[Searched]]) -> str:
    head = ["kept in", "messages of one's own", "of all", "accounts", "an absent word, p50 ms", "a rare word",
            "a word in most of them"]  # fmt: skip
    rows = [
        [
            engine, f"{one.own:,}", f"{one.messages:,}", f"{one.accounts:,}", number(one.absent_p50),
            number(one.rare_p50), number(one.common_p50),
        ]
        for engine, searched in found.items()
        for one in searched
    ]  # fmt: skip
    return table(head, rows)


def found_table(found: dict[str, Found]) -> str:
    head = ["kept in", "passages", "first search, which fills the memory, ms", "p50 ms", "p99 ms",
            "of that, the question's vector", "bare numpy, vectors only"]  # fmt: skip
    rows = [
        [
            engine, f"{one.passages:,}", number(one.first, 0), number(one.p50), number(one.p99), number(one.model_p50),
            number(one.bare_p50),
        ]
        for engine, one in found.items()
    ]  # fmt: skip
    return table(head, rows)


def ingested_table(found: dict[str, Ingested]) -> str:
    head = ["kept in", "pages", "passages", "reading, s", "embedding, s", "steps seen", "/healthz meanwhile p50 ms",
            "p99 ms", "slowest"]  # fmt: skip
    rows = [
        [
            engine, str(one.pages), str(one.passages), number(one.pages_s), number(one.passages_s), str(one.steps),
            number(one.beat_p50), number(one.beat_p99), number(one.beat_most),
        ]
        for engine, one in found.items()
    ]  # fmt: skip
    return table(head, rows)


def quality_table(graded: list[Graded]) -> str:
    head = ["questions", "how many", *(f"{way}: recall@{FIRST}, MRR" for way in WAYS)]
    rows = []
    for name, kinds in (
        ("all", KINDS),
        ("names and paraphrases", TOGETHER),
        *((kind, (kind,)) for kind in KINDS),
    ):
        marks = [grade(graded, way, kinds) for way in WAYS]
        many = sum(one.question.kind in kinds for one in graded)
        rows.append([name, str(many), *(f"{mark.recall:.3f}, {mark.mrr:.3f}" for mark in marks)])
    return table(head, rows)


def sends_table(found: dict[str, Sends], syncs: float) -> str:
    head = ["kept in", "senders at once", "durable sends per s", "p50 ms", "p99 ms", "failed",
            "the disk's own syncs per s"]  # fmt: skip
    rows = [
        [
            engine, str(one.senders), number(one.per_s, 0), number(one.p50), number(one.p99), str(one.failed),
            number(syncs, 0),
        ]
        for engine, one in found.items()
    ]  # fmt: skip
    return table(head, rows)


def carry_table(found: dict[str, Carried]) -> str:
    rows = [
        [engine, f"{one.messages:,}", number(one.export_per_s, 0), number(one.import_per_s, 0)]
        for engine, one in found.items()
    ]
    return table(["kept in", "messages", "exported per second", "imported per second"], rows)


def start_table(found: list[Started]) -> str:
    head = ["start to the end of the first answer, s", "memory when idle, MB"]
    best = min(found, key=lambda one: one.first_answer_s)
    return table(head, [[number(best.first_answer_s, 2), number(best.memory_mb, 0)]])


def browser_table(found: Browsed) -> str:
    head = [f"Chromium, processor slowed {SLOWDOWN}-fold", "median ms", "p95 ms", "target ms"]
    rows = [
        [name, number(statistics.median(values), 0), number(_p95(values), 0), number(target, 0)]
        for name, values, target in (
            ("largest paint of a chat, nothing cached", found.paints_ms, PAINT_TARGET_MS),
            ("a key while an answer streams, press to picture", found.keys_ms, TYPING_TARGET_MS),
        )
    ]
    return table(head, rows)


def _p95(values: list[float]) -> float:
    return sorted(values)[math.ceil(len(values) * 0.95) - 1]


def write(figures: str, document: Path = DOCUMENT) -> None:
    """Put the figures into a document, in place of those before."""
    text = document.read_text()
    document.write_text(_FIGURES.sub(lambda _: f"{BEGIN}\n{figures.strip()}\n{END}", text))


def write_sections(head: str, sections: dict[str, str], document: Path = DOCUMENT) -> None:
    """Put what a run measured into the document, a section a title, each with the run's head; those it did not measure
    stay as they are."""
    found = _FIGURES.search(document.read_text())
    assert found is not None, f"{document} has lost its markers"
    kept = dict(re.findall(r"^### (.+?)\n\n(.*?)(?=\n\n### |\Z)", found[1].strip(), re.MULTILINE | re.DOTALL))
    kept |= {title: f"{head}\n\n{text}" for title, text in sections.items()}
    write("\n\n".join(f"### {title}\n\n{text}" for title, text in kept.items()), document)
