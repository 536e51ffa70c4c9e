"""How a log line looks: time, level, event, then key=value; whatever a value holds, it cannot begin a new line."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure(level: str = "info") -> None:
    """Once, at start. Lines go to standard error; libraries that use the standard module are heard from warnings on."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%Y-%m-%dT%H:%M:%SZ", utc=True),
            structlog.processors.format_exc_info,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: StandardError(),
    )
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)r", force=True)


class StandardError:
    """Writes lines to what standard error is at that moment. A full disk or a closed pipe behind it costs the line,
    never the request that wanted to write it."""

    def msg(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(line + "\n")
            sys.stderr.flush()

    debug = info = warning = warn = error = critical = exception = fatal = msg


def render(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    time, level = event.pop("timestamp", ""), event.pop("level", "")
    name, exception = event.pop("event", ""), event.pop("exception", "")
    head = [part for part in (str(time), f"{level:<7}", _plain(name)) if part]
    pairs = [f"{key}={_plain(value)}" for key, value in event.items() if value is not None]
    lines = [" ".join([*head, *pairs])]
    # Every line of a traceback is marked, so that the text of an error is never taken for a line of the log.
    lines += [f"  | {line}" for line in exception.splitlines()]
    return "\n".join(lines)


def _plain(value: Any) -> str:
    text = str(value)
    return text if text.isprintable() and '"' not in text and "=" not in text else repr(text)
