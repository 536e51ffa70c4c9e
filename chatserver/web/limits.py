"""Named limits at the door: how often one may ask, and how often one may guess a password."""

from __future__ import annotations

import ipaddress
from collections import deque
from collections.abc import Callable

from chatserver.clock import monotonic_s
from chatserver.errors import LimitReached

KEYS_MAX = 50_000
"""Beyond so many accounts or addresses, those that have been quiet for a whole window are forgotten."""
QUARTER_HOUR_S = 900.0
ADDRESS_FACTOR = 5
"""Failures allowed from one address, over all accounts, as a multiple of those allowed for one account from there."""
ACCOUNT_FACTOR = 10
"""Failures allowed for one account from everywhere; after them only browsers that signed in before may try."""


Most = int | Callable[[], int]
"""A number, or what tells the one that holds now."""


def now_most(most: Most) -> int:
    return most if isinstance(most, int) else most()


class Window:
    """At most `most` things per key in any `window_s` seconds, counted one by one."""

    def __init__(self, name: str, most: Most, window_s: float, factor: int = 1) -> None:
        """factor: the limit is so many times `most`."""
        self.name = name
        self._most = most
        self._factor = factor
        self.window_s = window_s
        self._times: dict[str, deque[float]] = {}

    @property
    def most(self) -> int:
        return now_most(self._most) * self._factor

    def wait_s(self, key: str, most: int = 0) -> float:
        """Seconds until one more is allowed; 0 when it is now. most: this key's own, 0 for everybody's."""
        most = most or self.most
        if most <= 0:
            return 0.0
        times = self._recent(key, monotonic_s())
        return 0.0 if times is None or len(times) < most else times[-most] + self.window_s - monotonic_s()

    def take(self, key: str, most: int = 0) -> None:
        """Count one. Raises LimitReached with the limit's name when the window is full."""
        if (most or self.most) <= 0:
            return
        wait_s = self.wait_s(key, most)
        if wait_s > 0:
            raise reached(self.name, wait_s)
        self.add(key)

    def add(self, key: str) -> None:
        """Count one, allowed or not."""
        if len(self._times) >= KEYS_MAX:
            self._forget_quiet()
        self._times.setdefault(key, deque()).append(monotonic_s())

    def give_back(self, key: str) -> None:
        """Forget the last one that was counted."""
        times = self._times.get(key)
        if times:
            times.pop()

    def count(self, key: str) -> int:
        times = self._recent(key, monotonic_s())
        return len(times) if times else 0

    def _recent(self, key: str, now: float) -> deque[float] | None:
        times = self._times.get(key)
        if times is None:
            return None
        oldest = now - self.window_s
        while times and times[0] <= oldest:
            times.popleft()
        if not times:
            del self._times[key]
            return None
        return times

    def _forget_quiet(self) -> None:
        now = monotonic_s()
        for key in list(self._times):
            self._recent(key, now)
        if len(self._times) >= KEYS_MAX:  # nobody is quiet: better to count anew than to look at all of them each time
            self._times.clear()


class SignInGuard:
    """How often a password may be guessed: per account and network, per address, per account; the owner gets in.

    A browser that has been signed in to the account before is counted on its own, so nobody who guesses from
    elsewhere can keep the owner out.
    """

    def __init__(self, most: Most) -> None:
        name = "sign_ins_per_quarter_hour"
        self._near = Window(name, most, QUARTER_HOUR_S)
        self._address = Window(name, most, QUARTER_HOUR_S, ADDRESS_FACTOR)
        self._account = Window(name, most, QUARTER_HOUR_S, ACCOUNT_FACTOR)

    def attempt(self, account: str, address: str, known_browser: str) -> Attempt:
        """Count a try before it is made, so that a thousand at once are no more than ten. Raises LimitReached.

        account: the address of the e-mail typed; known_browser: its cookie, or empty.
        """
        account = account.strip().lower()[:254]
        if known_browser:
            near = f"{account} browser {known_browser}"
            counted = [(self._near, near)]
        else:
            near = f"{account} from {network_of(address)}"
            counted = [(self._near, near), (self._address, address), (self._account, account)]
        wait_s = max(window.wait_s(key) for window, key in counted)
        if wait_s > 0:
            raise reached("sign_ins_per_quarter_hour", wait_s)
        for window, key in counted:
            if window.most > 0:
                window.add(key)
        return Attempt(counted, self._near.count(near))


class Attempt:
    """One counted try. `delay_s`: how long its failure is kept waiting, growing with the tries before it."""

    def __init__(self, counted: list[tuple[Window, str]], number: int) -> None:
        self._counted = counted
        self.delay_s = 0.0 if number <= 2 else min(2.0, 0.125 * 2 ** (number - 2))

    def give_back(self) -> None:
        """It was no guess: it succeeded, or was never checked."""
        for window, key in self._counted:
            window.give_back(key)


def network_of(address: str) -> str:
    """The /24 of an IPv4 address and the /56 of an IPv6 one: what one household or one attacker has at least."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    return str(ipaddress.ip_network(f"{parsed}/{24 if parsed.version == 4 else 56}", strict=False))


def reached(name: str, wait_s: float) -> LimitReached:
    seconds = max(1, int(wait_s + 0.999))
    return LimitReached(
        "That is more than the limit %(name)s allows. Try again in %(seconds)s s.",
        values={"name": name, "seconds": seconds},
        code=name,
        retry_after_s=seconds,
    )
