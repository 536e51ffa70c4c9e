"""Formulas: from TeX to MathML that a browser draws by itself, or to the TeX as written."""

from __future__ import annotations

import functools
import html
import re
from typing import Any

import nh3

FORMULA_CHARS = 2_000
NESTED_GROUPS = 30
# Own commands would let a few lines grow into millions of nodes.
_DEFINES = re.compile(r"\\(?:re|provide)?newcommand|\\(?:[egx]?def|let|newenvironment|DeclareMathOperator)\b")
_TAG_NAMES = (
    "math mrow mi mo mn ms mtext mspace mfrac msqrt mroot mstyle msub msup msubsup munder mover munderover "
    "mmultiscripts mprescripts mtable mtr mtd mpadded mphantom menclose merror"
)
_TAGS = frozenset(_TAG_NAMES.split())
_ATTRIBUTES = {
    "math": {"display"},
    "mo": {"stretchy", "fence", "form", "lspace", "rspace", "minsize", "maxsize", "movablelimits", "separator"},
    "mi": {"mathvariant"},
    "mstyle": {"displaystyle", "scriptlevel"},
    "mspace": {"width", "height", "linebreak"},
    "mpadded": {"width", "height", "depth", "lspace", "voffset"},
    "mfrac": {"linethickness"},
    "mtable": {"columnalign", "columnlines", "rowlines", "columnspacing", "rowspacing"},
    "mtd": {"columnalign", "columnspan", "rowspan"},
    "menclose": {"notation"},
    "munder": {"accentunder"},
    "mover": {"accent"},
    "munderover": {"accent", "accentunder"},
}
_PLAIN_VALUE = re.compile(r"[\w .%+-]{1,40}")
_cleaner = nh3.Cleaner(tags=set(_TAGS), attributes=_ATTRIBUTES, clean_content_tags=set(), link_rel=None)


@functools.lru_cache(maxsize=512)
def to_mathml(tex: str, *, display: bool) -> str:
    """Safe HTML for one formula. TeX that is too long, too deep or not understood comes back as code."""
    tex = tex.strip()
    return _convert(tex, display) or f"<code>{html.escape(tex, quote=False)}</code>"


def _convert(tex: str, display: bool) -> str:
    if len(tex) > FORMULA_CHARS or tex.count("{") + tex.count("\\left") > 10 * NESTED_GROUPS or _DEFINES.search(tex):
        return ""
    if _depth(tex) > NESTED_GROUPS:
        return ""
    from latex2mathml import converter

    try:
        tree = converter.Converter(display="block" if display else "inline").convert_to_element(tex)
    except _unreadable():
        return ""
    parts: list[str] = []
    _write(tree, parts)
    return _cleaner.clean("".join(parts))


@functools.cache
def _unreadable() -> tuple[type[Exception], ...]:
    """The library's errors have no base of their own, and half-written TeX also ends in plain ones."""
    from latex2mathml import exceptions

    named = [kind for kind in vars(exceptions).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    return (*named, LookupError, ValueError, TypeError, AttributeError, RuntimeError)


def _depth(tex: str) -> int:
    deepest = depth = 0
    for character in tex:
        if character == "{":
            depth += 1
            deepest = max(deepest, depth)
        elif character == "}":
            depth -= 1
    return deepest


def _write(element: Any, parts: list[str]) -> None:
    """The library's own writer unescapes what it wrote; a formula may hold `<script>` as text."""
    tag = element.tag if element.tag in _TAGS else "mrow"
    allowed = _ATTRIBUTES.get(tag, frozenset[str]())
    attributes = "".join(
        f' {name}="{value}"'
        for name, value in element.attrib.items()
        if name in allowed and _PLAIN_VALUE.fullmatch(value)
    )
    parts.append(f"<{tag}{attributes}>")
    if element.text:
        # Symbols arrive as character references inside the text.
        parts.append(html.escape(html.unescape(element.text), quote=False))
    for child in element:
        _write(child, parts)
        if child.tail:
            parts.append(html.escape(html.unescape(child.tail), quote=False))
    parts.append(f"</{tag}>")
