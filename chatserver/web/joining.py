"""Joins a script with the modules it is made of, so that a page asks for one file."""

from __future__ import annotations

import re
from collections.abc import Mapping

IMPORT = re.compile(r'^import (?:\{[^{}]*\} from )?"\./([\w-]+\.js)"\n', re.M)
EXPORT = re.compile(r"^export (?=(?:async )?function\b|const\b|let\b)", re.M)
SPARE = re.compile(r"^(?:\s+|//.*\n)+", re.M)


def join_script(modules: Mapping[str, str], entry: str) -> tuple[str, frozenset[str]]:
    """`entry` as one module, what it imports before it in the order a browser would run it, and the names of all that
    is in it, as lean as `lean` makes them.

    The modules share one scope then: what they declare at the left margin has one name in all of them, imports stand
    on one line and rename nothing (`import * as` of the entry itself stays), and only the entry exports by a list.
    """
    order: list[str] = []
    seen: set[str] = set()

    def visit(name: str) -> None:
        seen.add(name)
        for wanted in IMPORT.findall(modules[name]):
            if wanted not in seen:
                visit(wanted)
        order.append(name)

    visit(entry)
    texts = [IMPORT.sub("", modules[name]) for name in order]
    texts[:-1] = [EXPORT.sub("", text) for text in texts[:-1]]
    return lean("\n".join(texts)), frozenset(order)


def lean(text: str) -> str:
    """A module without remarks on lines of their own, blank lines and indents. It holds no text of several lines."""
    return SPARE.sub("", text)
