"""The log: one event a line, whatever somebody managed to put into a value."""

from __future__ import annotations

import contextlib
import io
import sys

import pytest
import structlog

from chatserver import logs


def rendered(**event: object) -> str:
    return logs.render(None, "info", {"timestamp": "T", "level": "info", "event": "signed in", **event})


def test_a_line_is_time_level_event_and_pairs() -> None:
    assert rendered(account="a1", address=None) == "T info    signed in account=a1"


@pytest.mark.parametrize("text", ["a\nT error   faked", "a\rb", "a\u2028b", "a\x1b[31mb", 'x" y=1'])
def test_a_value_cannot_begin_a_line_or_a_pair(text: str) -> None:
    line = rendered(user_agent=text)
    assert len(line.splitlines()) == 1
    assert line.endswith(f"user_agent={text!r}")


def test_every_line_of_a_traceback_is_marked() -> None:
    lines = rendered(exception="Traceback\n  here\nOSError: x\nT error   faked").splitlines()
    assert len(lines) == 5
    assert all(line.startswith("  | ") for line in lines[1:])


def test_a_line_that_cannot_be_written_harms_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stderr", full)
        structlog.get_logger("test").error("the disk is full")
        monkeypatch.undo()
        with contextlib.suppress(OSError):
            full.close()
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    structlog.get_logger("test").error("nobody reads this")


def test_levels_below_the_chosen_one_are_not_written(capfd: pytest.CaptureFixture[str]) -> None:
    try:
        logs.configure("warning")
        log = structlog.get_logger("test")
        log.info("quiet")
        log.warning("heard", number=1)
        assert "heard number=1" in (text := capfd.readouterr().err)
        assert "quiet" not in text
    finally:
        logs.configure("debug")
