"""docs/operations.md: its table has every figure, its rules speak of those there are, its line of the log is one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from chatserver.chat.meters import CallReport, _line
from chatserver.domain.calls import Attempt, Call, Usage
from chatserver.testing.server import open_site
from tests.web.test_metrics import parsed

DOCS = Path(__file__).resolve().parent.parent.parent / "docs" / "operations.md"
TEXT = DOCS.read_text()
FIGURE = re.compile(r"\b(?:chatserver|process)_[a-z_]+\b")
NO_FIGURES = {"chatserver_otel_spans_total", "chatserver_postgres_connections"}
"""Of plugins, told in their own tests."""


def examples(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def family_of(sample: str) -> str:
    return re.sub(r"_(bucket|sum|count)$", "", sample)


async def test_the_table_has_every_figure_and_no_other(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        text = (await site.browser().get("/metrics")).text
    parsed(text)
    there = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    table = TEXT[TEXT.index("## Figures") : TEXT.index("### Scraping")]
    told = set(FIGURE.findall(table)) - NO_FIGURES
    core = {name for name in there if not re.match(r"chatserver_(gateway|postgres|otel)_", name)}
    assert core <= told, f"not in the docs: {core - told}"
    assert told <= there, f"only in the docs: {told - there}"
    rules = [rule for example in examples("yaml") for rule in rules_of(yaml.safe_load(example))]
    assert len(rules) >= 10
    for rule in rules:
        assert rule["alert"] and rule["annotations"]["summary"]
        assert {family_of(name) for name in FIGURE.findall(rule["expr"])} <= there, rule["alert"]


def rules_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [rule for group in document.get("groups", ()) for rule in group["rules"]]


def test_the_line_of_a_call_is_one() -> None:
    shown = next(line for line in map(json.loads, examples("json")) if line["event"] == "call")
    call = Call("c", "a", "chat", "web", "gpt-x", "done", 0, turn_id="t")
    attempts = (Attempt("first", "rate_limit", 0, 1), Attempt("second", "done", 1, 2))
    report = CallReport(call, "done", "second", Usage(input=1204, output=310), attempts, 812_000, 5_310_000)
    line = _line(report, 5_310_000)
    assert shown.keys() == {"time", "level", "event", "request_id", *line}
    same = (
        "kind",
        "origin",
        "model",
        "channel",
        "state",
        "attempts",
        "failed",
        "first_token_ms",
        "duration_ms",
        "input",
        "output",
    )
    assert {name: shown[name] for name in same} == {name: line[name] for name in same}
