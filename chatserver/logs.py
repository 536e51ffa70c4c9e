"""The log: an event a line, for people on a terminal and as JSON everywhere else; never the text of a surprise.

Whatever a value holds, it cannot begin a line of its own. What an exception says may hold what a person wrote, so at
the usual level only those are repeated whose words are known to be the machine's; the level `debug` shows them all.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import traceback
from collections.abc import Callable, Iterator, MutableMapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog

from chatserver.errors import ChatserverError, SetupError, StorageFull, Unavailable

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
FORMATS = ("auto", "text", "json")
VALUE_LIMIT = 2_000
"""Characters of a value; an exception's frames have more room."""
EXCEPTION_LIMIT = 20_000
CHAIN_LIMIT = 8

Event = MutableMapping[str, Any]

_PLAIN_SPOKEN = (
    OSError,
    AttributeError,
    NameError,
    ImportError,
    IndexError,
    ZeroDivisionError,
    RecursionError,
    MemoryError,
    NotImplementedError,
    AssertionError,
    SetupError,
    Unavailable,
    StorageFull,
)
"""Their words name files, attributes, tables and next steps. A ValueError or a KeyError repeats what it was given."""

_encode = msgspec.json.Encoder(enc_hook=str).encode
_shows_texts = False


def configure(level: str = "info", form: str = "auto") -> None:
    """Once, at start. Lines go to standard error; libraries that use the standard module are heard from warnings on.

    form: `text`, `json`, or `auto`, which is text on a terminal and else JSON.
    """
    global _shows_texts
    _shows_texts = level == "debug"
    is_json = form == "json" or (form == "auto" and not _is_terminal())
    write = render_json if is_json else render
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%Y-%m-%dT%H:%M:%S.%fZ", utc=True),
            tell_exceptions,
            write,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: StandardError(),
    )
    handler = _Handler()
    handler.setFormatter(_Formatter(write))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


class StandardError:
    """Writes lines to what standard error is at that moment. A full disk or a closed pipe behind it costs the line,
    never the request that wanted to write it."""

    def msg(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(line + "\n")
            sys.stderr.flush()

    debug = info = warning = warn = error = critical = exception = fatal = msg


def tell_exceptions(_logger: Any, _method: str, event: Event) -> Event:
    """`exc_info` becomes the frames of the exception, an exception as a value what may be said of it."""
    info = event.pop("exc_info", None)
    error = sys.exc_info()[1] if info is True else info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        event["exception"] = frames_of(error)[-EXCEPTION_LIMIT:]
    for key, value in event.items():
        if isinstance(value, BaseException):
            event[key] = words_of(value)
    return event


def words_of(error: BaseException) -> str:
    """The exception in a line, without what it may repeat of somebody's words."""
    name = type(error).__qualname__
    if _shows_texts or isinstance(error, _PLAIN_SPOKEN) or type(error).__module__ == "sqlite3":
        words = str(error)[:VALUE_LIMIT]
    elif isinstance(error, ChatserverError):
        words = error.code
    else:
        words = "its words are shown at the level debug"
    return f"{name}: {words}" if words else name


def frames_of(error: BaseException) -> str:
    """The traceback, the oldest cause first, each ended by `words_of`."""
    pieces = []
    for one in reversed(list(_chain(error))):
        pieces.append("Traceback (most recent call last):\n" + "".join(traceback.format_tb(one.__traceback__)))
        pieces.append(words_of(one) + "\n")
    return "".join(pieces).rstrip("\n")


def _chain(error: BaseException) -> Iterator[BaseException]:
    current: BaseException | None = error
    for _ in range(CHAIN_LIMIT):
        if current is None:
            return
        yield current
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)


def render(_logger: Any, _method: str, event: Event) -> str:
    """A line for people: time, level, event, then key=value."""
    time, level = event.pop("timestamp", ""), event.pop("level", "")
    name, exception = event.pop("event", ""), event.pop("exception", "")
    head = [part for part in (str(time), f"{level:<7}", _plain(name)) if part]
    pairs = [f"{key}={_plain(value)}" for key, value in event.items() if value is not None]
    lines = [" ".join([*head, *pairs])]
    # Every line of a traceback is marked, so that the text of an error is never taken for a line of the log.
    lines += [f"  | {line}" for line in exception.splitlines()]
    return "\n".join(lines)


def render_json(_logger: Any, _method: str, event: Event) -> str:
    """A line for programs: `time`, `level`, `event`, then the rest; ASCII is all that needs no escape."""
    line = {"time": event.pop("timestamp", ""), "level": event.pop("level", ""), "event": event.pop("event", "")}
    line = {key: _cut(key, value) for key, value in {**line, **event}.items() if value is not None}
    text: str = _encode(line).decode()
    return text if text.isascii() else "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(character: str) -> str:
    """U+2028 and its kind are no line ends in JSON, but to some readers of logs."""
    pair = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{pair[place : place + 4]}" for place in range(0, len(pair), 4))


def _cut(key: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return value[: EXCEPTION_LIMIT if key == "exception" else VALUE_LIMIT].encode("utf-8", "replace").decode()


def _plain(value: Any) -> str:
    text = str(value)[:VALUE_LIMIT]
    return text if text.isprintable() and '"' not in text and "=" not in text else repr(text)


def _is_terminal() -> bool:
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):
        return False


class _Handler(logging.Handler):
    """The standard module's records, written where ours are."""

    def emit(self, record: logging.LogRecord) -> None:
        StandardError().msg(self.format(record))


class _Formatter(logging.Formatter):
    """A record of the standard module as one of our lines."""

    def __init__(self, write: Callable[[Any, str, Event], str]) -> None:
        super().__init__()
        self._write = write

    def format(self, record: logging.LogRecord) -> str:
        said = record.getMessage()
        if record.name == "asyncio" and not _shows_texts:  # what follows is the representation of tasks and exceptions
            said = said.partition("\n")[0]
        event: Event = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "level": record.levelname.lower(),
            "event": said,
            "logger": record.name,
            "exc_info": record.exc_info,
        }
        event = structlog.contextvars.merge_contextvars(None, "", event)
        return self._write(None, "", tell_exceptions(None, "", event))
