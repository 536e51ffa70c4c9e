"""Words of a text as search knows them: folded, and cut into pairs where a script writes no spaces."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache

MAX_WORD = 40
MAX_INDEXED = 400_000
"""Characters of one text that are indexed; twice the longest message a person may send."""

_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u312f\u3131-\u318e\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\ua000-\ua4cf\uac00-\ud7af\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
_unspaced_run = re.compile(f"([{_UNSPACED}]+)")
_ascii_word = re.compile(f"([a-z0-9]{{1,{MAX_WORD}}})[a-z0-9]*")
_accents = re.compile("[\u0300-\u036f]+")


def fold(text: str) -> str:
    """One form for what people take for the same: lower case, no Latin, Greek or Cyrillic accents, one width."""
    if text.isascii():
        return text.lower()
    bare = _accents.sub("", unicodedata.normalize("NFKD", text))
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", bare).casefold())


def runs(folded: str) -> Iterator[tuple[str, bool]]:
    """The words of a folded text in order, and whether each is of a script without spaces."""
    if folded.isascii():
        for word in _ascii_word.findall(folded):
            yield word, False
        return
    for piece in _word().findall(folded.replace("_", " ")):
        for run in (piece,) if piece.isascii() else _unspaced_run.split(piece):
            if run:
                yield run, _unspaced_run.match(run) is not None


def words_of(text: str) -> list[str]:
    """The words a text is found by, each once. A run without spaces gives its pairs, and its last character alone."""
    folded = fold(text[:MAX_INDEXED])
    if folded.isascii():
        return list(dict.fromkeys(_ascii_word.findall(folded)))
    found: dict[str, None] = {}
    for run, is_unspaced in runs(folded):
        if is_unspaced:
            for start in range(len(run)):
                found[run[start : start + 2]] = None
        else:
            found[run[:MAX_WORD]] = None
    return list(found)


@cache
def _word() -> re.Pattern[str]:
    """Letters, digits, and the marks that Python's \\w leaves out and most Indic words hold; no variation selectors."""
    marks = "".join(
        chr(point)
        for point in range(0x0300, 0x20000)
        if unicodedata.category(chr(point))[0] == "M" and not 0xFE00 <= point <= 0xFE0F
    )
    return re.compile(rf"\w+(?:[{marks}]+\w*)*")  # the big class last: it is ten times slower than \w
