"""Which versions a requirement allows: the part of Python's rules that a plugin's `chatserver>=0.1,<0.3` needs."""

from __future__ import annotations

import re

_VERSION = re.compile(r"v?(\d+(?:\.\d+)*)(?:[._-]?(a|b|rc|post|dev)[._-]?(\d*))?(?:[._-]?dev\d*)?(?:\+[\w.]+)?", re.I)
_PHASES = {"dev": -4, "a": -3, "b": -2, "rc": -1, "": 0, "post": 1}
_CLAUSE = re.compile(r"(===|==|!=|~=|<=|>=|<|>)\s*([\w.+!-]+?)(\.\*)?")
_REQUIREMENT = re.compile(
    r"\s*([A-Za-z0-9][\w.-]*)\s*(?:\[[^\]]*\])?\s*\(?\s*((?:[<>=!~][^;()@]*?)?)\s*\)?\s*(?:;(.*))?", re.S
)

Version = tuple[tuple[int, ...], int, int]
"""Numbers without zeros at their end; before the release (negative), it (0) or after; which of those."""


class Unreadable(ValueError):
    """A version or a range that is written in no way known here."""


def plain_name(name: str) -> str:
    """A distribution's name as everybody compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_requirement(text: str) -> tuple[str, str, str] | None:
    """(plain name, range, condition) of `name[extra]>=1,<2; condition`; None when it is no such text."""
    found = _REQUIREMENT.fullmatch(text)
    return (plain_name(found[1]), found[2].replace(" ", ""), (found[3] or "").strip()) if found else None


def read_version(text: str) -> Version:
    """Raises Unreadable."""
    found = _VERSION.fullmatch(text.strip())
    if found is None:
        raise Unreadable(f"{text[:40]!r} is no version")
    release = [int(number) for number in found[1].split(".")]
    while len(release) > 1 and not release[-1]:
        release.pop()
    return tuple(release), _PHASES[(found[2] or "").lower()], int(found[3] or 0)


def allows(wanted: str, version: str) -> bool:
    """Whether a range, `>=0.1,<0.3`, has a place for a version, what comes before a release included. Raises
    Unreadable."""
    return all(_allows(clause.strip(), version) for clause in wanted.split(",") if clause.strip())


def _allows(clause: str, text: str) -> bool:
    found = _CLAUSE.fullmatch(clause)
    if found is None:
        raise Unreadable(f"{clause[:40]!r} is no range of versions")
    operator, bound_text, star = found[1], found[2], found[3]
    if operator == "===":
        return text == bound_text
    version, bound = read_version(text), read_version(bound_text)
    numbers = tuple(int(number) for number in re.findall(r"\d+", bound_text.split("+")[0]))
    if star or operator == "~=":
        kept = numbers if star else numbers[:-1]
        begins = _padded(version[0], len(kept)) == kept
        return begins != (operator == "!=") if star else begins and version >= bound
    if operator == "<":
        # Nor is what comes before a release below it.
        return version < bound and not (version[0] == bound[0] and version[1] < 0 <= bound[1])
    if operator == ">":
        return version > bound and not (version[0] == bound[0] and version[1] > 0 >= bound[1])
    return {"==": version == bound, "!=": version != bound, "<=": version <= bound, ">=": version >= bound}[operator]


def _padded(release: tuple[int, ...], length: int) -> tuple[int, ...]:
    return (*release, *[0] * (length - len(release)))[:length]
