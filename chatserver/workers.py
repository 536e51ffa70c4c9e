"""Several processes that serve one socket: started at once, a dead one replaced, all told to stop when we are."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import sys
from collections.abc import Callable

import structlog

from chatserver.clock import monotonic_s

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0
HEALTHY_S = 10.0
"""A worker that lived so long was well; the next one of its place is started at once."""
CANNOT_START = 3
"""What a worker ends with when it could not be set up: at the first start that ends all of them."""
WATCHED = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}

log = structlog.get_logger("chatserver.workers")


class Place:
    """A worker's place: who sits there, since when, and when the next one may."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.pid = 0
        self.started_s = 0.0
        self.due_s = 0.0
        self.pause_s = 0.0
        self.has_lived = False


def supervise(count: int, work: Callable[[int, bool], int]) -> int:
    """Run `work(number, is_first)` in `count` processes until SIGTERM or SIGINT, and return the exit code: 0 after a
    polite end. is_first: nobody was in this place before. Call it while this process has one thread and no loop."""
    held = signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    places = [Place(number) for number in range(count)]
    is_stopping = False
    code = 0
    try:
        while True:
            now = monotonic_s()
            if not is_stopping:
                for place in places:
                    if not place.pid and place.due_s <= now:
                        _start(place, work)
            elif not any(place.pid for place in places):
                return code
            waiting = [place.due_s for place in places if not place.pid and not is_stopping]
            told = signal.sigtimedwait(WATCHED, max(0.0, min(waiting, default=now + 60) - monotonic_s()))
            if told is not None and told.si_signo != signal.SIGCHLD:
                is_stopping = True
                # Control-C in a terminal reaches the whole group by itself; a second one would end their grace.
                if told.si_code <= 0:
                    _tell(places, signal.SIGTERM if told.si_signo == signal.SIGHUP else told.si_signo)
            for place, ended in _reap(places):
                if is_stopping:
                    # ended by the signal itself: it had not begun to serve
                    code = code or (0 if ended in (128 + signal.SIGTERM, 128 + signal.SIGINT) else ended)
                elif ended == CANNOT_START and not place.has_lived:
                    is_stopping, code = True, 1
                    _tell(places, signal.SIGTERM)
                else:
                    log.error("worker_ended", number=place.number, code=ended)
    finally:
        _tell(places, signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


def _start(place: Place, work: Callable[[int, bool], int]) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    place.started_s = monotonic_s()
    place.pid = os.fork()
    if place.pid:
        return
    code = 1
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
        _die_with(parent)
        random.seed()
        code = work(place.number, not place.has_lived)
    except KeyboardInterrupt:
        code = 0
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _die_with(parent: int) -> None:
    """A supervisor that is killed takes its workers along; Linux only."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # 1: PR_SET_PDEATHSIG, from <sys/prctl.h>
        if os.getppid() != parent:
            os._exit(0)


def _reap(places: list[Place]) -> list[tuple[Place, int]]:
    """Who ended since the last look, and how: an exit code, or 128 and the signal."""
    ended = []
    for place in places:
        if not place.pid:
            continue
        pid, status = os.waitpid(place.pid, os.WNOHANG)
        if not pid:
            continue
        place.pid = 0
        now = monotonic_s()
        lived_s = now - place.started_s
        place.pause_s = 0.0 if lived_s >= HEALTHY_S else min(max(FIRST_PAUSE_S, 2 * place.pause_s), LONGEST_PAUSE_S)
        place.due_s = now + place.pause_s
        code = os.waitstatus_to_exitcode(status)
        ended.append((place, code if code >= 0 else 128 - code))
        place.has_lived = place.has_lived or ended[-1][1] != CANNOT_START
    return ended


def _tell(places: list[Place], sign: int) -> None:
    for place in places:
        if place.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(place.pid, sign)
