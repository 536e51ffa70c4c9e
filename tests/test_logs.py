"""The log: one event a line, whatever somebody managed to put into a value."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from chatserver import logs
from chatserver.errors import UpstreamError


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
        logs.configure("warning", "text")
        log = structlog.get_logger("test")
        log.info("quiet")
        log.warning("heard", number=1)
        assert "heard number=1" in (text := capfd.readouterr().err)
        assert "quiet" not in text
    finally:
        logs.configure("debug")


HOSTILE = 'a\nT error   faked\r\u2028\u2029\x85\x1b[31m\ud800" \U0001f333 ü'


@pytest.fixture
def restored() -> Iterator[None]:
    yield
    logs.configure("debug")


def lines_of(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Each line as it is parsed; what is no line of JSON fails."""
    return [json.loads(line) for line in capfd.readouterr().err.splitlines()]


def test_beside_a_terminal_a_line_is_json(restored: None, capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    structlog.get_logger("test").info("heard", text=HOSTILE, number=1, nothing=None, long="x" * 10_000)
    logging.getLogger("library").warning("said %s", HOSTILE)
    ours, theirs = lines_of(capfd)
    assert list(ours)[:3] == ["time", "level", "event"]
    assert (ours["level"], ours["event"], ours["number"]) == ("info", "heard", 1)
    assert ours["text"] == HOSTILE.replace("\ud800", "?")
    assert len(ours["long"]) == logs.VALUE_LIMIT
    assert "nothing" not in ours
    assert (theirs["level"], theirs["logger"]) == ("warning", "library")
    assert theirs["event"].startswith("said a\nT error")


CAUSE = "a secret cause"


def fail(error: Exception) -> None:
    log = structlog.get_logger("test")
    try:
        try:
            raise KeyError(CAUSE)
        except KeyError:
            raise error  # noqa: B904 - the cause is what is looked at
    except type(error) as caught:
        log.error("broke", reason=caught, exc_info=caught)
        log.exception("broke again")
        logging.getLogger("library").error("broke there", exc_info=caught)


@pytest.mark.parametrize("form", ["json", "text"])
def test_the_words_of_a_surprise_are_for_the_level_debug(
    form: str, restored: None, capfd: pytest.CaptureFixture[str]
) -> None:
    logs.configure("info", form)
    fail(ValueError("a secret word"))
    fail(UpstreamError("a secret echo", kind="server", retryable=True))
    said = capfd.readouterr().err
    assert "secret" not in said
    assert "ValueError" in said and "KeyError" in said and "upstream_server" in said
    assert "in fail" in said
    fail(OSError(28, "No space left"))
    assert capfd.readouterr().err.count("No space left") == 4
    logs.configure("debug", form)
    fail(ValueError("a secret word"))
    assert "a secret word" in (said := capfd.readouterr().err) and "a secret cause" in said


def test_asyncio_tells_no_representations(restored: None, capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "text")
    logging.getLogger("asyncio").error("Task exception was never retrieved\nfuture: <Task ValueError('a secret')>")
    said = capfd.readouterr().err
    assert "never retrieved" in said and "secret" not in said
