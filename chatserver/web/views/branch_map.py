"""The map of a tree as the panel shows it: rows that are links, lines between them, and the branches below."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from datetime import tzinfo

import msgspec
from markupsafe import Markup

from chatserver.chat.branches import Mapped
from chatserver.domain.branch_map import BranchMap, Row
from chatserver.domain.conversations import Difference
from chatserver.domain.messages import FilePart, ImagePart, Message, ToolCallPart, text_of
from chatserver.web.views.messages import Render
from chatserver.web.views.times import clock_text
from chatserver.words import gettext as _
from chatserver.words import ngettext, number_text

ROW_PX, COLUMN_PX, LEFT_PX = 46, 26, 20
"""How far rows and columns lie apart, and the first column from the edge. The style sheet says the same of rows."""
TITLE_LIMIT = 90
BRANCHES_SHOWN = 60
_MARKS = re.compile(r"\[([^\]]*)\]\([^)]*\)|\*\*|__|`")
"""What Markdown writes around words; of a link its words stay."""
WORDS_COMPARED = 4_000
"""Words of a message that are compared one by one; of longer ones only the whole is shown."""


class RowView(msgspec.Struct, frozen=True):
    """One line: a message, or a fold with the address that opens it."""

    id: str
    href: str
    title: str
    note: str
    lane: int
    on_path: bool
    is_tip: bool
    folded: int


class BranchView(msgspec.Struct, frozen=True):
    """A branch of the list below the map. named: what a person called it, '' when the title is its first words."""

    tip_id: str
    start_id: str
    href: str
    title: str
    named: str
    note: str
    lane: int
    is_current: bool


class MapView(msgspec.Struct, frozen=True):
    """The panel's content. picture: the lines and dots. more_href: rows above those that are shown."""

    conversation_id: str
    tip_id: str
    rows: tuple[RowView, ...]
    branches: tuple[BranchView, ...]
    picture: Markup
    columns: int
    summary: str
    more_href: str = ""
    more_branches: int = 0
    has_sources: bool = False


class SideView(msgspec.Struct, frozen=True):
    """One message of a side of a difference; html is safe."""

    id: str
    author: str
    html: Markup


class DifferenceView(msgspec.Struct, frozen=True):
    """Two branches side by side. shared: a sentence on what stands above both."""

    conversation_id: str
    shared: str
    last_shared: str
    left_title: str
    right_title: str
    left: tuple[SideView, ...]
    right: tuple[SideView, ...]


def map_view(mapped: Mapped, *, titles: Mapping[str, str], opened: Sequence[str], zone: tzinfo | None) -> MapView:
    """titles: the name people know a model by."""
    drawn = mapped.map
    base = f"/c/{mapped.conversation.id}"
    here = f"{base}/{mapped.tip_id}/map"
    forks = sum(1 for row in drawn.rows if row.is_fork)
    return MapView(
        conversation_id=mapped.conversation.id,
        tip_id=mapped.tip_id or "",
        rows=tuple(_row(mapped, row, titles=titles, opened=opened, zone=zone) for row in drawn.rows),
        branches=tuple(
            BranchView(
                tip_id=branch.tip_id,
                start_id=branch.start_id,
                href=f"{base}/{branch.tip_id}",
                title=mapped.name_of(branch) or _title(mapped.messages.get(branch.start_id)),
                named=mapped.name_of(branch),
                note=_counted(branch.messages, branch.tokens),
                lane=branch.lane,
                is_current=branch.is_current,
            )
            for branch in drawn.branches[:BRANCHES_SHOWN]
        ),
        picture=picture_of(drawn),
        columns=max((row.column for row in drawn.rows), default=0) + 1,
        summary=_summary(drawn.messages, len(drawn.branches), forks),
        more_href=f"{here}?rows={len(drawn.rows) + drawn.more}" if drawn.more else "",
        more_branches=max(0, len(drawn.branches) - BRANCHES_SHOWN),
        has_sources=mapped.has_sources,
    )


def _row(mapped: Mapped, row: Row, *, titles: Mapping[str, str], opened: Sequence[str], zone: tzinfo | None) -> RowView:
    base = f"/c/{mapped.conversation.id}"
    if row.folded:
        folds = "".join(f"&open={id_}" for id_ in opened)
        title = ngettext("{count} more message", "{count} more messages", row.folded).format(
            count=number_text(row.folded)
        )
        href = f"{base}/{mapped.tip_id}/map?open={row.id}{folds}"
        return RowView(row.id, href, title, "", row.lane, row.on_path, False, row.folded)
    node, message = mapped.nodes[row.id], mapped.messages.get(row.id)
    if node.role == "assistant":
        notes = [titles.get(node.model, node.model) or _("Assistant")]
        if node.state == "running":
            notes.append(_("answering"))
        elif node.tokens:
            notes.append(
                ngettext("{count} token", "{count} tokens", node.tokens).format(count=number_text(node.tokens))
            )
    else:
        notes = [_("You"), clock_text(node.created_at, zone)]
    if row.versions > 1:
        notes.append(
            ngettext("{count} version", "{count} versions", row.versions).format(count=number_text(row.versions))
        )
    return RowView(
        id=row.id,
        href=f"{base}/{row.id}/latest#m-{row.id}",
        title=_title(message),
        note=" · ".join(notes),
        lane=row.lane,
        on_path=row.on_path,
        is_tip=row.is_tip,
        folded=0,
    )


def picture_of(drawn: BranchMap) -> Markup:
    """Lines and dots as SVG, drawn for people who see; the rows say the same in words."""
    if not drawn.rows:
        return Markup("")
    width = LEFT_PX * 2 + COLUMN_PX * max(row.column for row in drawn.rows)
    height = ROW_PX * len(drawn.rows)
    shapes = []
    for number, row in enumerate(drawn.rows):
        if row.above >= 0:
            above = drawn.rows[row.above]
            kind = "" if row.on_path and above.on_path else " off"
            shapes.append(f'<path class="lane-{row.lane}{kind}" d="{_line(above, row.above, row, number)}"/>')
    for number, row in enumerate(drawn.rows):
        shapes.append(_dot(row, number))
    return Markup(
        f'<svg class="lanes" width="{width}" height="{height}" viewBox="0 0 {width} {height}" aria-hidden="true">'
        f"{''.join(shapes)}</svg>"
    )


def _place(row: Row, number: int) -> tuple[int, int]:
    return LEFT_PX + COLUMN_PX * row.column, ROW_PX * number + ROW_PX // 2


def _line(above: Row, above_number: int, row: Row, number: int) -> str:
    """Straight down in one column; out of another one by a curve no longer than a row."""
    (x0, y0), (x1, y1) = _place(above, above_number), _place(row, number)
    if x0 == x1:
        return f"M{x0} {y0}V{y1}"
    bend = y0 + ROW_PX - 8
    return f"M{x0} {y0}C{x0} {y0 + 24} {x1} {y0 + 12} {x1} {bend}V{y1}"


def _dot(row: Row, number: int) -> str:
    x, y = _place(row, number)
    kind = "dot" if row.on_path else "dot off"
    if row.folded:
        return "".join(f'<circle class="lane-{row.lane} more" cx="{x}" cy="{y + at}" r="1.75"/>' for at in (-7, 0, 7))
    if row.is_fork:
        square = f'<rect class="lane-{row.lane} {kind}" x="{x - 4.5}" y="{y - 4.5}" width="9" height="9" rx="1.5" '
        shape = f'{square}transform="rotate(45 {x} {y})"/>'
    else:
        shape = f'<circle class="lane-{row.lane} {kind}" cx="{x}" cy="{y}" r="5"/>'
    return f'<circle class="lane-{row.lane} halo" cx="{x}" cy="{y}" r="9"/>{shape}' if row.is_tip else shape


def _title(message: Message | None) -> str:
    """The first words of a message, or what it holds when it has none."""
    if message is None:
        return _("Message")
    line = next((line.strip() for line in text_of(message.parts).splitlines() if line.strip(" #>*-`")), "")
    line = _MARKS.sub(r"\1", line.lstrip("#>*-` ")).strip()
    if line:
        return line if len(line) <= TITLE_LIMIT else line[: TITLE_LIMIT - 1].rstrip() + "…"
    if any(isinstance(part, ImagePart) for part in message.parts):
        return _("A picture")
    if any(isinstance(part, FilePart) for part in message.parts):
        return _("A file")
    if any(isinstance(part, ToolCallPart) for part in message.parts):
        return _("A tool call")
    return _("Answering…") if message.state == "running" else _("An empty answer")


def _counted(messages: int, tokens: int) -> str:
    text = ngettext("{count} message", "{count} messages", messages).format(count=number_text(messages))
    if tokens:
        text += " · " + _tokens(tokens)
    return text


def _tokens(count: int) -> str:
    return ngettext("{count} token", "{count} tokens", count).format(count=number_text(count))


def _summary(messages: int, branches: int, forks: int) -> str:
    parts = [
        ngettext("{count} message", "{count} messages", messages).format(count=number_text(messages)),
        ngettext("{count} branch", "{count} branches", branches).format(count=number_text(branches)),
    ]
    if forks:
        parts.append(ngettext("{count} fork", "{count} forks", forks).format(count=number_text(forks)))
    return " · ".join(parts)


def difference_view(
    found: Difference, conversation_id: str, *, titles: Mapping[str, str], render: Render
) -> DifferenceView:
    """Where both sides begin with a version of one message, its words are compared one by one."""
    first = compared(text_of(found.left[0].parts), text_of(found.right[0].parts)) if _replaces(found) else None

    def side(messages: Sequence[Message], marked: Markup | None) -> tuple[SideView, ...]:
        return tuple(
            SideView(
                message.id,
                _("You") if message.role == "user" else titles.get(message.model, message.model) or _("Assistant"),
                marked if number == 0 and marked is not None else _written(message, render),
            )
            for number, message in enumerate(messages)
        )

    shared = ngettext("{count} message is the same.", "{count} messages are the same.", found.shared)
    return DifferenceView(
        conversation_id=conversation_id,
        shared=shared.format(count=found.shared) if found.shared else _("They share no message."),
        last_shared=_title(found.last_shared) if found.last_shared else "",
        left_title=found.left_name or _title(found.left[0] if found.left else found.last_shared),
        right_title=found.right_name or _title(found.right[0] if found.right else found.last_shared),
        left=side(found.left, first[0] if first else None),
        right=side(found.right, first[1] if first else None),
    )


def _replaces(found: Difference) -> bool:
    return bool(found.left and found.right) and found.left[0].role == found.right[0].role


def _written(message: Message, render: Render) -> Markup:
    text = text_of(message.parts)
    if not text:
        return Markup("<p>{}</p>").format(_title(message))
    return Markup(render(text)) if message.role == "assistant" else Markup('<p class="plain">{}</p>').format(text)


def compared(left: str, right: str) -> tuple[Markup, Markup] | None:
    """Both texts with what differs marked, word by word; None for texts too long to compare, or too different to gain
    by it."""
    a, b = re.findall(r"\s+|[\w']+|[^\w\s]", left), re.findall(r"\s+|[\w']+|[^\w\s]", right)
    if not a or not b or len(a) > WORDS_COMPARED or len(b) > WORDS_COMPARED:
        return None
    matcher = difflib.SequenceMatcher(None, a, b, autojunk=len(a) > 500)
    if matcher.quick_ratio() < 0.3:
        return None
    sides: tuple[list[Markup], list[Markup]] = ([], [])
    for kind, a0, a1, b0, b1 in matcher.get_opcodes():
        for parts, run, tag in ((sides[0], a[a0:a1], "del"), (sides[1], b[b0:b1], "ins")):
            if run:
                text = Markup.escape("".join(run))
                parts.append(text if kind == "equal" else Markup(f"<{tag}>{{}}</{tag}>").format(text))
    wrap = Markup('<p class="plain">{}</p>')
    return wrap.format(Markup("").join(sides[0])), wrap.format(Markup("").join(sides[1]))
