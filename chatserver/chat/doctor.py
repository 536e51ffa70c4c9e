"""Look for broken invariants over the whole database, say them in sentences, and mend what can be mended."""

from __future__ import annotations

from functools import partial

import msgspec

from chatserver.chat.left_calls import end_left_call
from chatserver.clock import now_us
from chatserver.domain.tree import find_faults, leaves_of
from chatserver.store import calls as call_rows
from chatserver.store import integrity
from chatserver.store import messages as message_rows
from chatserver.store import turns as turn_rows
from chatserver.store.database import Database, Readable, Tx

PAGE = 200
EVENTS_CHECKED_US = 9 * 60_000_000
"""Events of turns that ended longer ago may have been purged."""


class Finding(msgspec.Struct, frozen=True):
    """A broken invariant. kind: stable, for scripts; subject: the id of what is broken; mended: put right just now."""

    kind: str
    subject: str
    sentence: str
    mended: bool = False


async def examine(db: Readable) -> list[Finding]:
    """Everything that is wrong."""
    findings = await db.read(_rows)
    after = ""
    while page := await db.read(partial(integrity.conversation_ids, after=after, limit=PAGE)):
        findings += await db.read(partial(_trees, conversation_ids=page))
        after = page[-1]
    return findings


async def repair(db: Database) -> list[Finding]:
    """Everything that was wrong, after what could be mended was mended."""
    findings = await examine(db)
    return [await db.write(partial(_mend, finding=finding)) for finding in findings]


def _rows(tx: Tx) -> list[Finding]:
    since = max(now_us() - EVENTS_CHECKED_US, turn_rows.events_purged_before(tx))
    checks = (
        ("foreign_parent", integrity.foreign_parents(tx), "hangs on a message that is not in its conversation"),
        ("visible_below_hidden", integrity.visible_below_hidden(tx), "is visible below a deleted message"),
        ("running_without_turn", integrity.running_without_turn(tx), "claims to be written, and nothing writes it"),
        ("turn_without_reply", integrity.turns_without_reply(tx), "is a turn whose reply is gone"),
        ("call_left_running", integrity.ended_with_running_call(tx), "is a call that outlived its turn"),
        ("name_astray", integrity.names_astray(tx), "names a branch of another conversation"),
        ("events_missing", integrity.ended_without_event(tx, since), "ended without its event"),
        ("foreign_in_share", integrity.foreign_in_shares(tx), "lacks a message that a share of it shows"),
    )
    return [
        Finding(kind, suspect.id, f"{suspect.id} in conversation {suspect.conversation_id} {sentence}.")
        for kind, suspects, sentence in checks
        for suspect in suspects
    ]


def _trees(tx: Tx, conversation_ids: list[str]) -> list[Finding]:
    findings = []
    for conversation_id in conversation_ids:
        edges = message_rows.edges_of(tx, conversation_id, hidden_too=True)
        tip = integrity.tip_of(tx, conversation_id)
        for fault in find_faults(edges, tip, frozenset()):
            if fault.kind == "cycle":
                sentence = f"Message {fault.message_id} of conversation {conversation_id} is its own ancestor."
                findings.append(Finding("cycle", fault.message_id, sentence))
        visible = {edge.id for edge in message_rows.edges_of(tx, conversation_id)}
        if (tip is None and visible) or (tip is not None and tip not in visible):
            sentence = f"Conversation {conversation_id} opens at a message that is not there."
            findings.append(Finding("missing_tip", conversation_id, sentence))
    return findings


def _mend(tx: Tx, finding: Finding) -> Finding:
    if finding.kind == "missing_tip":
        leaves = leaves_of(message_rows.edges_of(tx, finding.subject))
        integrity.set_tip(tx, finding.subject, max(leaves, default=None))
    elif finding.kind == "running_without_turn":
        message_rows.seal_message(tx, finding.subject, "interrupted", ())
    elif finding.kind == "call_left_running":
        if (left := call_rows.running_call(tx, finding.subject)) is not None:
            end_left_call(tx, left, "failed")
    elif finding.kind == "foreign_in_share":
        integrity.remove_foreign_in_shares(tx, finding.subject)
    else:
        return finding
    return msgspec.structs.replace(finding, mended=True)
