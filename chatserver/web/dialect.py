"""The Markdown we read: its rules, its limits, and the safe HTML of one top-level block."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, MutableMapping
from typing import Any, NamedTuple

import nh3
from markdown_it import MarkdownIt
from markdown_it.parser_block import ParserBlock
from markdown_it.parser_inline import ParserInline
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

from chatserver.web.figures import COLOURED_CHARS, figure
from chatserver.web.formulas import FORMULA_CHARS, to_mathml

NESTED_BLOCKS = 40
# A link label may be looked through again from each bracket before it: bounded by what one paragraph may cost.
SKIPS_PER_CHAR = 4
SKIPS_AT_LEAST = 4_000
FORMULA_LINES = 100
UNCLOSED_FORMULAS = 50

_SCHEMES = ("http://", "https://", "mailto:")
_BARE_URL = re.compile(r"https?://[^\s<>\"'`\\|]{1,2000}", re.IGNORECASE)
_HOST = re.compile(r"https?://(?:[^/?#]*@)?([^/?#]+)", re.IGNORECASE)
_TASK = re.compile(r"\[([ xX])\]\s")
_LOOKS_LIKE_TEX = re.compile(r"[\\^_={}<>+*/|-]|^\s*\w{1,3}\s*$")
# Not what an address follows. Only ASCII digits.
_CITED = re.compile(r"\[ ?([0-9]{1,3}(?: ?[,;，、] ?[0-9]{1,3}){0,9}) ?\](?!\()")
_NUMBER = re.compile("[0-9]+")
_HEADINGS = {"h1": "h3", "h2": "h3", "h3": "h4", "h4": "h5", "h5": "h6", "h6": "h6"}
# Writers begin at any size; below the author's name (a second-level heading) the order must not skip a level.
_LEVELS = {"h4": "3", "h5": "4", "h6": "4"}
_ALIGNED = {"text-align:right": ' class="r"', "text-align:center": ' class="mid"'}
_MARKS = {
    "strong_open": "<strong>",
    "strong_close": "</strong>",
    "em_open": "<em>",
    "em_close": "</em>",
    "s_open": "<s>",
    "s_close": "</s>",
    "softbreak": "\n",
    "hardbreak": "<br>",
}
# Stands where HTML of our own templates goes once the rest is sanitised. No text and no attribute can write it:
# text is escaped, and attributes lose their angle brackets.
_SLOT = "<samp></samp>"
TAIL_OPEN, TAIL_CLOSE = "<span data-tail>", "</span>"

_DIRECTED = ("p", "h3", "h4", "h5", "h6", "ul", "ol", "blockquote", "td", "th")
_cleaner = nh3.Cleaner(
    tags={*_DIRECTED, "li", "hr", "br", "strong", "em", "s", "a", "code", "div", "samp"}
    | {"table", "thead", "tbody", "tr"},
    clean_content_tags={"script", "style"},
    attributes={"a": {"href", "title"}, "ol": {"start"}},
    tag_attribute_values={
        **{tag: {"dir": {"auto"}} for tag in _DIRECTED},
        **{tag: {"dir": {"auto"}, "aria-level": {level}} for tag, level in _LEVELS.items()},
        "div": {"role": {"group"}, "tabindex": {"0"}, "aria-label": {"Table"}},
    },
    allowed_classes={"td": {"r", "mid"}, "th": {"r", "mid"}, "div": {"tbl"}},
    url_schemes={"http", "https", "mailto"},
    link_rel="noopener noreferrer nofollow ugc",
)


class TooMuchMarkup(Exception):
    """What was written would cost more to read than a message is worth: show it as it is."""


class Block(NamedTuple):
    """A top-level block: its tokens and the lines it takes, the last one excluded."""

    kind: str
    tokens: list[Token]
    first_line: int
    end_line: int


class Parsed(NamedTuple):
    """`held_from` is the first line that something not yet closed may still swallow; -1 where nothing is open."""

    blocks: list[Block]
    references: dict[str, Any]
    held_from: int


class _Blocks(ParserBlock):
    def tokenize(self, state: StateBlock, startLine: int, endLine: int) -> None:
        if state.level >= NESTED_BLOCKS:
            raise TooMuchMarkup
        super().tokenize(state, startLine, endLine)


class _Inlines(ParserInline):
    def skipToken(self, state: StateInline) -> None:
        state.env["skips"] -= 1
        if state.env["skips"] < 0:
            raise TooMuchMarkup
        super().skipToken(state)


def _math_block(state: StateBlock, startLine: int, endLine: int, silent: bool) -> bool:
    """`$$ … $$` and `\\[ … \\]` that open and close a line."""
    start = state.bMarks[startLine] + state.tShift[startLine]
    opener = state.src[start : start + 2]
    if opener == "$$":
        closer = "$$"
    elif opener == "\\[":
        closer = "\\]"
    else:
        return False
    if state.is_code_block(startLine) or state.env["unclosed"] > UNCLOSED_FORMULAS:
        return False
    first = state.src[start + 2 : state.eMarks[startLine]].rstrip(" \t")
    line = startLine
    if first.endswith(closer) and len(first) > 2:
        content = first[:-2]
        if closer in content:
            return False
    elif closer in first:
        return False
    else:
        lines = [first]
        for line in range(startLine + 1, min(endLine, startLine + FORMULA_LINES)):
            if state.sCount[line] < state.blkIndent and not state.isEmpty(line):
                return False
            text = state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]].rstrip(" \t")
            if text.endswith(closer):
                lines.append(text[:-2])
                break
            lines.append(text)
        else:
            state.env["unclosed"] += 1
            if endLine <= startLine + FORMULA_LINES and endLine >= state.env["lines"]:
                state.env["held"] = min(state.env["held"], startLine)
            return False
        content = "\n".join(lines)
    if closer in content or not content.strip() or len(content) > FORMULA_CHARS:
        return False
    if not silent:
        token = state.push("math_block", "math", 0)
        token.content = content
        token.map = [startLine, line + 1]
        state.line = line + 1
    return True


def _math_inline(state: StateInline, silent: bool) -> bool:
    """`$x$` by the rules that leave prices alone, `$$x$$` and `\\(x\\)`."""
    src, pos = state.src, state.pos
    if src[pos] == "$":
        width = 2 if src.startswith("$$", pos) else 1
        closer = "$" * width
        if pos and (src[pos - 1] == "$" or (width == 1 and src[pos - 1].isalnum())):
            return False
    elif src.startswith("\\(", pos):
        width, closer = 2, "\\)"
    else:
        return False
    start = pos + width
    limit = min(state.posMax, start + FORMULA_CHARS)
    end = src.find(closer, start, limit)
    while end > 0 and src[end - 1] == "\\" and closer[0] == "$":
        end = src.find(closer, end + 1, limit)
    if end < 0:
        return False
    content = src[start:end]
    after = src[end + width : end + width + 1]
    if not content.strip() or "\n\n" in content or "`" in content:
        return False
    if width == 1 and (content[0].isspace() or content[-1].isspace() or after.isalnum() or after == "$"):
        return False
    if closer == "\\)" and not _LOOKS_LIKE_TEX.search(content):
        return False
    if not silent:
        token = state.push("math_inline", "math", 0)
        token.content = content
        token.markup = "$$" if closer == "$$" else "$"
    state.pos = end + width
    return True


def _citation(state: StateInline, silent: bool) -> bool:
    """`[2]` and `[1, 3]` with numbers that are known here, before they can be taken for links."""
    if silent or state.src[state.pos] != "[" or state.linkLevel or not state.env["cites"]:
        return False  # silent: the end of a link's words is looked for, and in them numbers are words
    found = _CITED.match(state.src, state.pos, state.posMax)
    if found is None:
        return False
    numbers = [int(one) for one in _NUMBER.findall(found[1])]
    if not state.env["cites"].issuperset(numbers):
        return False
    for one in numbers:
        state.push("citation", "a", 0).content = str(one)
    state.pos = found.end()
    return True


def _make_parser() -> MarkdownIt:
    parser = MarkdownIt("js-default", {"html": False, "maxNesting": NESTED_BLOCKS})
    parser.block = _Blocks()
    parser.inline = _Inlines()
    parser.disable(["html_block", "html_inline", "linkify"])
    parser.block.ruler.before(
        "fence", "math_block", _math_block, {"alt": ["paragraph", "reference", "blockquote", "list"]}
    )
    parser.inline.ruler.before("escape", "math_inline", _math_inline)
    parser.inline.ruler.before("link", "citation", _citation)
    # A refused scheme is no link at all: what was written stays readable.
    parser.validateLink = lambda url: url[:8].lower().startswith(_SCHEMES)  # type: ignore[method-assign]
    return parser


_parser = _make_parser()


def normalised(text: str) -> str:
    """Line ends as `\\n`, no NUL: what the parser expects."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.replace("\0", "\ufffd") if "\0" in text else text


def parse(source: str, references: dict[str, Any]) -> Parsed:
    """The top-level blocks of normalised text, after the given link definitions. Raises TooMuchMarkup."""
    env: MutableMapping[str, Any] = {
        "references": dict(references),
        "lines": source.count("\n") + (not source.endswith("\n")),
        "held": 1 << 60,
        "unclosed": 0,
    }
    tokens: list[Token] = []
    _parser.block.parse(source, _parser, env, tokens)
    blocks = [Block(group[0].type, group, *_lines(group[0])) for group in _top_level(tokens)]
    return Parsed(blocks, env["references"], env["held"] if env["held"] < 1 << 60 else -1)


def _lines(token: Token) -> tuple[int, int]:
    assert token.map is not None
    return token.map[0], token.map[1]


def _top_level(tokens: list[Token]) -> Iterator[list[Token]]:
    start = depth = 0
    for i, token in enumerate(tokens):
        depth += token.nesting
        if depth == 0:
            yield tokens[start : i + 1]
            start = i + 1


class Writer:
    """Writes blocks as safe HTML and remembers the inline HTML it made, since one list is written many times.

    cites: the numbers in brackets that stand for sources; `<a data-cite="2"></a>` is left where one stands.
    """

    def __init__(self, cites: frozenset[int] = frozenset()) -> None:
        self._cites = cites
        self._written: dict[str, tuple[str, tuple[str, ...]]] = {}
        self._references: dict[str, Any] = {}
        self._figures: dict[tuple[str, str], str] = {}
        self._colourable = COLOURED_CHARS

    def html_of(self, block: Block, references: dict[str, Any], *, is_growing: bool = False) -> str:
        """Safe HTML. A growing block says, by `data-tail`, where its text goes on."""
        if references != self._references:
            self._written.clear()
            self._references = references
        slots: list[str] = []
        raw: list[str] = []
        grows_at = _grows_at(block) if is_growing else -1
        for i, token in enumerate(block.tokens):
            kind = token.type
            if kind == "inline":
                if i == grows_at:
                    written, filled = _write_inline(token.content, references, self._cites)
                else:
                    written, filled = self._inline(token.content, references)
                if written.startswith("[") and i > 1 and block.tokens[i - 2].type == "list_item_open":
                    written = _TASK.sub(lambda box: "☐ " if box[1] == " " else "☑ ", written, count=1)
                raw.append(written)
                slots += filled
                if i == grows_at:
                    raw.append(_SLOT)
                    slots.append(TAIL_OPEN + TAIL_CLOSE)
            elif kind == "fence" or kind == "code_block":
                raw.append(_SLOT)
                slots.append(self._figure(token.content, token.info, is_finished=i != grows_at))
            elif kind == "math_block":
                raw.append(_SLOT)
                slots.append(f'<div class="math">{to_mathml(token.content, display=True)}</div>')
            elif not token.hidden:
                raw.append(_tag(token))
        return _fill(_cleaner.clean("".join(raw)), slots)

    def _inline(self, content: str, references: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
        found = self._written.get(content)
        if found is None:
            found = self._written[content] = _write_inline(content, references, self._cites)
        return found

    def _figure(self, code: str, info: str, *, is_finished: bool) -> str:
        if not is_finished:
            return figure(code, info, is_finished=False, is_coloured=False)
        found = self._figures.get((code, info))
        if found is None:
            is_coloured = len(code) <= self._colourable
            if is_coloured:
                self._colourable -= len(code)
            found = self._figures[code, info] = figure(code, info, is_finished=True, is_coloured=is_coloured)
        return found


def _grows_at(block: Block) -> int:
    """The token that the next words of the block would belong to; -1 where that cannot be said."""
    for i in range(len(block.tokens) - 1, -1, -1):
        kind = block.tokens[i].type
        if kind in ("inline", "fence"):
            return i
        if kind in ("code_block", "math_block", "table_close", "hr"):
            return -1
    return -1


def _tag(token: Token) -> str:
    tag = _HEADINGS.get(token.tag, token.tag)
    if token.nesting < 0:
        return f"</{tag}></div>" if tag == "table" else f"</{tag}>"
    attributes = ' dir="auto"' if tag in ("td", "th") or (token.level == 0 and tag in _DIRECTED) else ""
    if tag in ("td", "th"):
        attributes += _ALIGNED.get(str(token.attrGet("style")), "")
    elif tag == "ol" and token.attrGet("start") is not None:
        attributes += f' start="{int(token.attrGet("start") or 0)}"'
    elif tag in _LEVELS:
        attributes += f' aria-level="{_LEVELS[tag]}"'
    elif tag == "table":
        return '<div class="tbl" role="group" tabindex="0" aria-label="Table"><table>'
    return f"<{tag}{attributes}>"


def _fill(clean: str, slots: list[str]) -> str:
    if not slots:
        return clean
    pieces = clean.split(_SLOT)
    assert len(pieces) == len(slots) + 1, "a slot was lost or forged"
    return "".join(piece + slot for piece, slot in zip(pieces, [*slots, ""], strict=True))


def _write_inline(
    content: str, references: dict[str, Any], cites: frozenset[int] = frozenset()
) -> tuple[str, tuple[str, ...]]:
    env: MutableMapping[str, Any] = {
        "references": references,
        "cites": cites,
        "skips": SKIPS_AT_LEAST + SKIPS_PER_CHAR * len(content),
    }
    tokens: list[Token] = []
    try:
        _parser.inline.parse(content, _parser, env, tokens)
    except TooMuchMarkup:
        return html.escape(content, quote=False), ()
    slots: list[str] = []
    parts: list[str] = []
    links = 0
    for token in tokens:
        kind = token.type
        if kind == "text" or kind == "text_special":
            text = token.content
            parts.append(_with_links(text) if "://" in text and not links else html.escape(text, quote=False))
        elif kind == "code_inline":
            parts.append(f"<code>{html.escape(token.content, quote=False)}</code>")
        elif kind == "link_open":
            links += 1
            parts.append(_link(str(token.attrGet("href")), str(token.attrGet("title") or "")))
        elif kind == "link_close":
            links -= 1
            parts.append("</a>")
        elif kind == "image":
            parts.append(_image(token, is_linked=links > 0))
        elif kind == "math_inline":
            parts.append(_SLOT)
            slots.append(to_mathml(token.content, display=token.markup == "$$"))
        elif kind == "citation":
            parts.append(_SLOT)
            slots.append(f'<a data-cite="{token.content}"></a>')
        else:
            parts.append(_MARKS[kind])
    return "".join(parts), tuple(slots)


def _link(href: str, title: str = "") -> str:
    return f'<a href="{_attribute(href)}" title="{_attribute(title)}">' if title else f'<a href="{_attribute(href)}">'


def _attribute(value: str) -> str:
    return html.escape(value.replace("<", "‹").replace(">", "›"))


def _image(token: Token, *, is_linked: bool) -> str:
    """No picture is fetched from elsewhere: a link that says where it leads."""
    source = str(token.attrGet("src") or "")
    host = _HOST.match(source)
    name = html.escape(token.content.strip() or "Image", quote=False)
    if host is None or is_linked:
        return name
    return f"{_link(source)}{name} ({html.escape(host[1], quote=False)})</a>"


def _with_links(text: str) -> str:
    parts: list[str] = []
    end = 0
    for match in _BARE_URL.finditer(text):
        url = _without_trailing(match[0])
        if len(url) < 11 or (match.start() and text[match.start() - 1].isalnum()):
            continue
        parts.append(html.escape(text[end : match.start()], quote=False))
        parts.append(f"{_link(_parser.normalizeLink(url))}{html.escape(url, quote=False)}</a>")
        end = match.start() + len(url)
    parts.append(html.escape(text[end:], quote=False))
    return "".join(parts)


def _without_trailing(url: str) -> str:
    """Punctuation after an address belongs to the sentence; a closing bracket only with its opening one."""
    while url:
        last = url[-1]
        is_unopened = last in ")]" and url.count(last) > url.count("(" if last == ")" else "[")
        if not is_unopened and last not in ".,;:!?*_~'\"…。，、）】」":
            break
        url = url[:-1]
    return url
