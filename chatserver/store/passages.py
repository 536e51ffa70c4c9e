"""What is shown of a text that was found: the passage around the first word, and where its words stand."""

from __future__ import annotations

import re

from chatserver.store.words import fold

MAX_PASSAGE = 240
ROW_ENDS = re.compile(r"(?:\|[ :-]*(?<=[- ]))+\|")
"""What stands between two rows of a table, the rule below its head included."""


def marks_in(text: str, needles: list[str]) -> tuple[tuple[int, int], ...]:
    """Where words of a text begin like one of the needles: from and to, in order, none within another. Empty where
    the folded text is not that of its characters one by one, so that no mark stands beside its word."""
    folded = fold(text)
    pieces = list(folded) if len(folded) == len(text) else [fold(character) for character in text]
    if "".join(pieces) != folded:
        return ()
    origins = [at for at, piece in enumerate(pieces) for _ in piece]
    found = sorted(
        (origins[match.start()], origins[match.end() - 1] + 1)
        for needle in needles
        for match in re.finditer(r"(?<![^\W_])" + re.escape(needle) if needle.isascii() else re.escape(needle), folded)
    )
    marks: list[tuple[int, int]] = []
    for start, end in found:
        if not marks or start >= marks[-1][1]:
            marks.append((start, end))
    return tuple(marks)


def passage(text: str, needles: list[str]) -> str:
    """At most 240 characters of `text` on one line, around the first needle found in it. needles: folded words."""
    folded = fold(text)
    at = 0
    for needle in needles:
        position = _position(folded, needle)
        if position >= 0:
            at = position if len(folded) == len(text) else position * len(text) // max(len(folded), 1)
            break
    start = max(0, min(at - MAX_PASSAGE // 3, len(text) - MAX_PASSAGE))
    piece = text[start : start + MAX_PASSAGE]
    is_cut = start + MAX_PASSAGE < len(text)
    if start > 0:
        piece = "…" + _after_space(piece, at - start)
    piece = ROW_ENDS.sub("|", " ".join(piece.split()))
    if is_cut:
        piece = _before_space(piece[: MAX_PASSAGE - 1]) + "…"
    return piece[:MAX_PASSAGE]


def _position(folded: str, needle: str) -> int:
    """Where a word begins like the needle, else where the needle stands at all, else -1."""
    match = re.search(r"(?<![^\W_])" + re.escape(needle), folded)
    return match.start() if match else folded.find(needle)


def _after_space(piece: str, keep: int) -> str:
    space = piece.find(" ", 0, min(keep, 30))
    return piece[max(space + 1, 1) :]


def _before_space(piece: str) -> str:
    space = piece.rfind(" ", len(piece) - 30)
    return piece[:space] if space > 0 else piece
