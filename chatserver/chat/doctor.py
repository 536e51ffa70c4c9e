"""Look for broken invariants over the whole database, and say them in sentences."""

from __future__ import annotations

import asyncio
from functools import partial

import msgspec

from chatserver.chat import mending
from chatserver.chat.flusher import LEASE_US
from chatserver.clock import now_us
from chatserver.domain.tree import find_faults, leaves_of
from chatserver.store import integrity, outbox
from chatserver.store import messages as message_rows
from chatserver.store import turns as turn_rows
from chatserver.store.database import Database, Readable, Tx

PAGE = 200
EVENTS_CHECKED_US = 9 * 60_000_000
"""Events of turns that ended longer ago may have been purged."""
LEFT = "turn_left"
LEFT_US = 60_000_000
"""A lease that was over for so long should have been noticed by any server that runs."""


class Finding(msgspec.Struct, frozen=True):
    """A broken invariant. kind: stable, for scripts; subject: the id of what is broken; mended: put right just now.
    passes: it is put right by itself as soon as a server runs."""

    kind: str
    subject: str
    sentence: str
    mended: bool = False
    passes: bool = False


async def examine(db: Readable) -> list[Finding]:
    """Everything that is wrong."""
    findings = await db.read(_rows)
    after = ""
    while page := await db.read(partial(integrity.conversation_ids, after=after, limit=PAGE)):
        findings += await db.read(partial(_trees, conversation_ids=page))
        after = page[-1]
    return findings


async def repair(db: Database, *, watch_s: float = LEASE_US / 1e6) -> list[Finding]:
    """Everything that was wrong, after what could be mended was mended. Safe beside a server: each is looked at again
    in the transaction that mends it, and turns of other nodes, whose clocks may be behind ours, are watched for a lease
    first."""
    findings = await examine(db)
    left = [finding.subject for finding in findings if finding.kind == LEFT]
    if left and db.is_shared:
        renewed = await _renewed(db, left, watch_s)
        findings = [finding for finding in findings if finding.kind != LEFT or finding.subject not in renewed]
    return [await db.write(partial(_mend, finding=finding)) for finding in findings]


async def _renewed(db: Database, turn_ids: list[str], watch_s: float) -> set[str]:
    """Those that run and whose holder gave a sign while we looked."""
    before = await db.read(partial(turn_rows.running_turns, turn_ids=turn_ids))
    await asyncio.sleep(watch_s)
    after = await db.read(partial(turn_rows.running_turns, turn_ids=turn_ids))
    marks = {turn.id: turn.lease_until for turn in before}
    return {turn.id for turn in after if marks.get(turn.id) != turn.lease_until}


def _mend(tx: Tx, finding: Finding) -> Finding:
    mend = mending.MENDS.get(finding.kind)
    if mend is None or not mend(tx, finding.subject):
        return finding
    return msgspec.structs.replace(finding, mended=True)


def _rows(tx: Tx) -> list[Finding]:
    now = now_us()
    since = max(now - EVENTS_CHECKED_US, turn_rows.events_purged_before(tx))
    checks = (
        ("foreign_parent", integrity.foreign_parents(tx), "hangs on a message that is not in its conversation"),
        ("visible_below_hidden", integrity.visible_below_hidden(tx), "is visible below a deleted message"),
        ("deletion_missing", integrity.deletions_missing(tx), "was deleted in a way that nobody can take back"),
        ("running_without_turn", integrity.running_without_turn(tx), "claims to be written, and nothing writes it"),
        ("state_differs", integrity.differing_states(tx), "says another end than the turn that wrote it"),
        ("turn_without_reply", integrity.turns_without_reply(tx), "is a turn whose reply is gone"),
        ("turn_without_call", integrity.turns_without_call(tx), "is a turn without a call, which nobody meters"),
        ("call_left_running", integrity.ended_with_running_call(tx), "is a call that outlived its turn"),
        ("name_astray", integrity.names_astray(tx), "names a branch of another conversation"),
        ("events_missing", integrity.turns_with_gaps(tx, since), "is a turn that lacks some of its events"),
        ("foreign_in_share", integrity.foreign_in_shares(tx), "lacks a message that a share of it shows"),
    )
    found = [
        Finding(kind, suspect.id, f"{suspect.id} in conversation {suspect.conversation_id} {sentence}.")
        for kind, suspects, sentence in checks
        for suspect in suspects
    ]
    return [*found, *_left(tx, now), *_untold(tx, now)]


def _left(tx: Tx, now: int) -> list[Finding]:
    """What a server that runs would have seen to."""
    found = []
    for suspect in integrity.left_turns(tx, now - LEFT_US):
        sentence = (
            f"{suspect.id} in conversation {suspect.conversation_id} is a turn whose server is gone: it is ended, with"
            " the text so far, at the next start, or as soon as somebody looks at it."
        )
        found.append(Finding(LEFT, suspect.id, sentence, passes=True))
    if parked := outbox.count_parked(tx):
        sentence = (
            f"Events that were put by because a plugin failed at each of them {outbox.MAX_ATTEMPTS} times: {parked}."
            " `chatserver doctor --repair` has them tried again."
        )
        found.append(Finding("events_parked", "outbox", sentence, passes=True))
    return found


def _untold(tx: Tx, now: int) -> list[Finding]:
    """What ended and was not told, or told twice. Rows first: what ends meanwhile is told in the same transaction."""
    since = now - mending.TOLD_US
    turns = {turn.id: f"The end of turn {turn.id}" for turn in integrity.turns_ended_since(tx, since)}
    calls = {call.id: f"The end of call {call.id}" for call in integrity.calls_ended_since(tx, since)}
    found = []
    for kind, name, ended, told in (
        ("turn", "turn.ended", turns, mending.turns_told(tx)),
        ("call", "call.ended", calls, mending.calls_told(tx)),
    ):
        for subject, sentence in ended.items():
            if subject not in told:
                found.append(Finding(f"{kind}_untold", subject, f"{sentence} was never told to the plugins ({name})."))
            elif told[subject] > 1:
                found.append(Finding(f"{kind}_told_twice", subject, f"{sentence} was told {told[subject]} times."))
    return found


def _trees(tx: Tx, conversation_ids: list[str]) -> list[Finding]:
    findings = []
    for conversation_id in conversation_ids:
        shape = integrity.shape_of(tx, conversation_id)
        if shape is None:
            continue
        edges = message_rows.edges_of(tx, conversation_id, hidden_too=True)
        for fault in find_faults(edges, None, frozenset()):
            if fault.kind == "cycle":
                sentence = f"Message {fault.message_id} of conversation {conversation_id} is its own ancestor."
                findings.append(Finding("cycle", fault.message_id, sentence))
        visible = message_rows.edges_of(tx, conversation_id)
        if not mending.is_tip(shape.tip_id, visible):
            sentence = f"Conversation {conversation_id} opens at a message that is not there."
            findings.append(Finding("missing_tip", conversation_id, sentence))
        leaves = len(leaves_of(visible))
        if shape.deletion_id is None and shape.branches != leaves:
            sentence = f"Conversation {conversation_id} says it has {shape.branches} branches, and has {leaves}."
            findings.append(Finding("branches_miscounted", conversation_id, sentence))
    return findings
