"""A growing message as operations on the page: finished blocks are sent once, only the open one again."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from chatserver.web.dialect import Block, Parsed, TooMuchMarkup, Writer, normalised, parse
from chatserver.web.markdown import RENDERED_CHARS, RENDERED_WEIGHT, render_now, weight

# Above this an open block is not written again until it ends; its text is appended as it comes.
REWRITTEN_CHARS = 4_096
# Each char that arrives pays for this many chars to be read again: what a hostile order of words can cost is bounded.
REREAD_PER_CHAR = 40
REREAD_AT_FIRST = 20_000
UNDECIDED_CHARS = 200

# A line made of these alone may yet become a list, a heading, a rule, a table or a fence: nothing is shown of it.
_UNDECIDED = re.compile(r"[-+*=#`~|$\\:_>\d.)\[\] \t]*")
# These lines make sense only when they are whole.
_WHOLE_LINES = re.compile(r"[ \t>]*(?:[-+*][ \t]+|\d{1,9}[.)][ \t]+)*(?:```|~~~|\$\$|\\\[|\|)")
_LIST_ITEM = re.compile(r"[ \t]*(?:[-+*]|\d{1,9}[.)])[ \t]")
_FENCE_END = re.compile(r" {0,3}(`{3,}|~{3,})[ \t]*")
_FENCE_END_BEGUN = re.compile(r" {0,3}(?:`*|~*)[ \t]*")
# Blocks that a blank line ends for good.
_ENDED_BY_BLANK = ("paragraph_open", "table_open")
# Blocks that their last line ends for good.
_ENDED_BY_LINE = ("heading_open", "hr", "math_block")
_TAIL = " data-tail>"


class Op(msgspec.Struct, frozen=True):
    """append: more finished blocks. open: what stands after them now. more: escaped text at the end of that.
    reset: finished blocks instead of all there was, and nothing open. `html` is safe in all four."""

    kind: Literal["append", "open", "more", "reset"]
    html: str


def fold(ops: Iterable[Op]) -> list[Op]:
    """The same outcome in as few operations as can be, for a reader that is given several steps at once."""
    reset: str | None = None
    opened: str | None = None
    appended = grown = ""
    for op in ops:
        if op.kind == "append":
            appended += op.html
        elif op.kind == "open":
            opened, grown = op.html, ""
        elif op.kind == "more":
            grown += op.html
        else:
            reset, opened, appended, grown = op.html, None, "", ""
    folded = []
    if reset is not None:
        folded.append(Op("reset", reset))
    if appended:
        folded.append(Op("append", appended))
    if opened is not None:
        folded.append(Op("open", opened))
    if grown:
        folded.append(Op("more", grown))
    return folded


class BlockStream:
    """Feed it text as it comes; after close() the page equals `markdown.render` of all of it."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._chars = 0
        self._weight = 0
        self._allowance = REREAD_AT_FIRST
        self._writer = Writer()
        self._references: dict[str, Any] = {}
        self._done: list[str] = []
        self._open = ("", "")
        self._grown: list[str] = []
        # The text of what is open, and how much of it the page shows.
        self._buffer = ""
        self._shown = 0
        self._shown_blocks = 0
        self._has_tail = False
        self._is_rows = False
        # Long blocks and fences are kept in pieces, so that a letter costs a letter.
        self._pieces: list[str] = []
        self._line = ""
        self._line_shown = 0
        self._fence = ""
        self._is_long = False
        self._was_blank = False
        self._is_plain = False
        self._return_pending = False

    def feed(self, text: str) -> list[Op]:
        """What the next words change. Several tokens at once cost no more than one."""
        if self._return_pending:
            text = "\r" + text
        self._return_pending = text.endswith("\r")
        text = normalised(text.removesuffix("\r"))
        if not text:
            return []
        self._text.append(text)
        self._chars += len(text)
        self._weight += weight(text)
        self._allowance += REREAD_PER_CHAR * len(text)
        ops: list[Op] = []
        if not self._is_plain and (self._chars > RENDERED_CHARS or self._weight > RENDERED_WEIGHT):
            self._give_up(ops)
        if self._is_plain:
            self._more(text, ops)
        else:
            self._take(text, ops)
        return ops

    def close(self) -> list[Op]:
        """What makes the page equal to a full render."""
        ops: list[Op] = []
        if self._return_pending:
            self._return_pending = False
            ops = self.feed("\n")
        final = render_now("".join(self._text), self._writer)
        done = "".join(self._done)
        if not final.startswith(done):
            self._done, self._open, self._grown = [final], ("", ""), []
            return [*ops, Op("reset", final)]
        if len(final) > len(done):
            self._append(final[len(done) :], ops)
        self._show("", ops)
        return ops

    def snapshot(self) -> tuple[str, str]:
        """The finished and the open HTML that all operations so far have made."""
        if len(self._done) > 1:
            self._done = ["".join(self._done)]
        return "".join(self._done), self._open[0] + "".join(self._grown) + self._open[1]

    def text(self) -> str:
        """All that was fed."""
        return "".join(self._text)

    # -- what the page shows ---------------------------------------------------------------------------------------

    def _append(self, finished: str, ops: list[Op]) -> None:
        self._done.append(finished)
        ops.append(Op("append", finished))

    def _show(self, growing: str, ops: list[Op]) -> None:
        if not growing and self._open == ("", "") and not self._grown:
            self._has_tail = False
            return
        at = growing.rfind(_TAIL)
        # The element that grows holds escaped text only: its end is the next tag.
        at = growing.find("<", at + len(_TAIL)) if at >= 0 else len(growing)
        self._has_tail = at < len(growing)
        self._open = (growing[:at], growing[at:])
        self._grown = []
        while ops and ops[-1].kind in ("open", "more"):
            ops.pop()
        ops.append(Op("open", growing))

    def _more(self, text: str, ops: list[Op]) -> None:
        if not text:
            return
        escaped = html.escape(text, quote=False)
        self._grown.append(escaped)
        if ops and ops[-1].kind == "more":
            escaped = ops.pop().html + escaped
        ops.append(Op("more", escaped))

    # -- what arrives ----------------------------------------------------------------------------------------------

    def _take(self, text: str, ops: list[Op]) -> None:
        while text and not self._is_plain:
            if self._fence:
                text = self._take_code(text, ops)
            elif self._is_long:
                text = self._take_long(text, ops)
            else:
                text = self._take_lines(text, ops)
        if text:
            self._more(text, ops)

    def _take_lines(self, text: str, ops: list[Op]) -> str:
        """The ordinary case. Returns what must be taken in another mode."""
        end = text.find("\n") + 1
        if not end:
            self._buffer += text
            self._take_words(ops)
            return ""
        # Several lines at once are read once, unless a fence begins in them.
        last = text.rfind("\n") + 1
        if last > end and "```" not in text and "~~~" not in text and "```" not in self._line_begun():
            end = last
        self._buffer += text[:end]
        self._end_line(ops)
        return text[end:]

    def _line_begun(self) -> str:
        return self._buffer[self._buffer.rfind("\n") + 1 :]

    def _take_words(self, ops: list[Op]) -> None:
        """The last line grew and is not yet whole."""
        if len(self._buffer) > REWRITTEN_CHARS:
            self._go_long(ops)
            self._more(self._line[self._line_shown :], ops)
            self._line_shown = len(self._line)
            return
        line = self._line_begun()
        line_start = len(self._buffer) - len(line)
        is_begun = self._has_tail and self._shown > line_start
        if not is_begun and (self._is_rows or _is_undecided(line)):
            return
        may_append = is_begun and not self._closes(line, self._shown - line_start)
        if may_append or not self._reread(self._buffer, is_final=False, ops=ops):
            self._show_more(ops)

    def _closes(self, line: str, shown: int) -> bool:
        """Whether the words not yet shown may close something that the line has opened."""
        new = line[shown:]
        old = line[:shown]
        for mark in "*_`~$":
            if mark in new and (mark in old or new.count(mark) > 1):
                return True
        return (
            (")" in new and "](" in line)
            or ("]" in new and bool(self._references))
            or (">" in new and "<" in line)
            or (";" in new and "&" in line)
            or "\\" in new
        )

    def _show_more(self, ops: list[Op]) -> None:
        self._more(self._buffer[self._shown :], ops)
        self._shown = len(self._buffer)

    def _end_line(self, ops: list[Op]) -> None:
        """The buffer ends with a whole line: the only moment at which blocks may become final."""
        newline_only = self._shown >= len(self._buffer) - 1
        if newline_only and self._shown_blocks == 1 and self._has_tail and self._buffer[-2:-1] not in ("\n", ""):
            return
        if self._buffer.isspace() and self._shown_blocks == 0:
            return
        if not self._reread(self._buffer, is_final=True, ops=ops):
            self._show_more(ops)
        if not self._fence and len(self._buffer) > REWRITTEN_CHARS:
            self._go_long(ops)

    def _reread(self, source: str, *, is_final: bool, ops: list[Op]) -> bool:
        """Read the buffer again and show it; with whole lines, let go of what is final. False: too dear now."""
        cost = len(source) + 100
        if self._allowance < cost:
            return False
        self._allowance -= cost
        try:
            parsed = parse(source, self._references)
        except TooMuchMarkup:
            self._give_up(ops)
            return True
        blocks = self._let_go(parsed, source, ops) if is_final else parsed.blocks
        self._show_blocks(blocks, parsed.references, ops)
        return True

    def _let_go(self, parsed: Parsed, source: str, ops: list[Op]) -> list[Block]:
        blocks = parsed.blocks
        count = len(blocks)
        if count and not _is_ended(blocks[-1], source):
            count -= 1
        if parsed.held_from >= 0:
            while count and blocks[count - 1].end_line > parsed.held_from:
                count -= 1
        if not count:
            return blocks
        end_line = blocks[count - 1].end_line
        finished = "".join(self._writer.html_of(block, parsed.references) for block in blocks[:count])
        self._append(finished, ops)
        self._references |= {
            label: found
            for label, found in parsed.references.items()
            if label not in self._references and found["map"][1] <= end_line
        }
        offset = 0
        for _ in range(end_line):
            offset = source.find("\n", offset) + 1 or len(source)
        self._buffer = source[offset:]
        return [block._replace(first_line=block.first_line - end_line) for block in blocks[count:]]

    def _show_blocks(self, blocks: list[Block], references: dict[str, Any], ops: list[Op]) -> None:
        last = blocks[-1] if blocks else None
        self._shown = len(self._buffer)
        self._shown_blocks = len(blocks)
        self._is_rows = last is not None and last.kind == "table_open"
        if last is not None and last.kind == "paragraph_open" and _is_table_head(self._buffer):
            # The next line tells whether this is a table.
            self._shown = self._shown_blocks = 0
            self._show("", ops)
            return
        growing = "".join(
            self._writer.html_of(block, references, is_growing=block is last and not self._is_rows) for block in blocks
        )
        self._show(growing, ops)
        # Space at the end of a block is not shown by it, but belongs before the next word.
        self._shown = len(self._buffer.rstrip(" \t\n"))
        if last is not None and last.kind == "fence":
            self._enter_fence(last)

    def _give_up(self, ops: list[Op]) -> None:
        """From here on the text is only appended; close() puts it right."""
        if not self._is_plain:
            self._is_plain = True
            if self._fence or self._is_long:
                self._more(self._line[self._line_shown :], ops)
            else:
                self._more(self._buffer[self._shown :], ops)

    # -- code: one fence at the top level --------------------------------------------------------------------------

    def _enter_fence(self, block: Block) -> None:
        """Lines of an unclosed fence need no reading but for its end."""
        lines = self._buffer.split("\n")
        opener = lines[block.first_line] if block.first_line < len(lines) else ""
        if not opener.startswith(block.tokens[0].markup) or not self._buffer.endswith("\n"):
            return
        if _is_ended(block, self._buffer):
            return
        self._fence = block.tokens[0].markup
        self._shown = len(self._buffer)
        self._pieces, self._line, self._line_shown = [], "", 0

    def _take_code(self, text: str, ops: list[Op]) -> str:
        end = text.find("\n") + 1
        while end:
            line = self._line + text[: end - 1]
            match = _FENCE_END.fullmatch(line)
            if match and match[1].startswith(self._fence):
                rest = text[end:]
                self._buffer += "".join(self._pieces) + line + "\n"
                self._pieces, self._line, self._fence = [], "", ""
                self._allowance += len(self._buffer) + 100
                self._reread(self._buffer, is_final=True, ops=ops)
                return rest
            self._more(line[self._line_shown :] + "\n", ops)
            self._pieces.append(line + "\n")
            self._line, self._line_shown = "", 0
            text = text[end:]
            end = text.find("\n") + 1
        self._line += text
        if self._line_shown or not _FENCE_END_BEGUN.fullmatch(self._line):
            self._more(self._line[self._line_shown :], ops)
            self._line_shown = len(self._line)
        return ""

    # -- long blocks -----------------------------------------------------------------------------------------------

    def _go_long(self, ops: list[Op]) -> None:
        self._more(self._buffer[self._shown : self._buffer.rfind("\n") + 1], ops)
        self._is_long = True
        self._was_blank = self._buffer.endswith("\n\n")
        self._pieces = []
        start = self._buffer.rfind("\n") + 1
        self._line = self._buffer[start:]
        self._line_shown = max(0, self._shown - start)
        self._buffer = self._buffer[:start]

    def _take_long(self, text: str, ops: list[Op]) -> str:
        """Append only. A blank line, or what follows one, may be the end of the block."""
        end = text.find("\n") + 1
        if not end:
            self._line += text
            self._more(self._line[self._line_shown :], ops)
            self._line_shown = len(self._line)
            return ""
        line = self._line + text[:end]
        self._more(line[self._line_shown :], ops)
        self._pieces.append(line)
        self._line, self._line_shown = "", 0
        is_blank = not line.strip(" \t\n")
        may_end = (is_blank or self._was_blank) and not (line[:1] in " \t" or _LIST_ITEM.match(line))
        self._was_blank = is_blank
        if may_end and self._allowance >= len(self._buffer) + sum(map(len, self._pieces)):
            self._leave_long(ops)
        return text[end:]

    def _leave_long(self, ops: list[Op]) -> None:
        source = self._buffer + "".join(self._pieces)
        self._pieces = [source]
        self._allowance -= len(source)
        try:
            parsed = parse(source, self._references)
        except TooMuchMarkup:
            self._give_up(ops)
            return
        last = parsed.blocks[-1] if parsed.blocks else None
        if last is None or (len(parsed.blocks) == 1 and not _is_ended(last, source)):
            self._buffer, self._pieces = "", [source]
            return
        self._is_long = False
        self._buffer, self._pieces = source, []
        self._show_blocks(self._let_go(parsed, source, ops), parsed.references, ops)
        if not self._fence and len(self._buffer) > REWRITTEN_CHARS:
            self._go_long(ops)


def _is_ended(block: Block, source: str) -> bool:
    """Whether no line after these whole lines can belong to the block."""
    if block.kind in _ENDED_BY_LINE:
        return True
    if block.kind in _ENDED_BY_BLANK:
        return not source[source.rfind("\n", 0, -1) + 1 :].strip(" \t\n")
    if block.kind == "fence":
        lines = source.split("\n")[block.first_line : block.end_line]
        match = _FENCE_END.fullmatch(lines[-1])
        return len(lines) > 1 and match is not None and match[1].startswith(block.tokens[0].markup)
    return False


def _is_undecided(line: str) -> bool:
    """Whether it is too early to show anything of a line."""
    return (len(line) < UNDECIDED_CHARS and _UNDECIDED.fullmatch(line) is not None) or bool(_WHOLE_LINES.match(line))


def _is_table_head(buffer: str) -> bool:
    head = buffer.strip(" \t\n")
    return head.startswith("|") and "\n" not in head
