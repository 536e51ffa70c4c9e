"""The doctor finds what we break on purpose, mends what can be mended, and finds nothing in a healthy house."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import psycopg
import pytest

from chatserver.chat.backups import inspect
from chatserver.chat.doctor import Finding, examine, repair
from chatserver.domain.messages import text_of
from chatserver.store.outbox import PARKED_AT
from chatserver.store.schema import CORE
from tests.chat.conftest import Person, Place, until

REPLIES = "(SELECT id FROM messages WHERE role = 'assistant')"
QUESTIONS = "(SELECT id FROM messages WHERE role = 'user')"


async def test_a_healthy_house_has_no_findings(ann: Person) -> None:
    chat = await ann.start()
    one = await ann.ask(chat, "one")
    await ann.ask(chat, "two", parent=one.reply_id)
    await ann.house.conversations.delete_message(ann.actor, one.question_id or "")
    running = await ann.house.sending.send(ann.actor, chat, None, "three", "fake-n200-gap10")
    assert await examine(ann.house.db) == []
    await ann.house.conversations.stop(ann.actor, running.turn_id or "")


def harm(place: Place, *statements: str) -> None:
    """Break the database from outside, also where it would not let anybody."""
    if isinstance(place, Path):
        with contextlib.closing(sqlite3.connect(place, timeout=20)) as connection, connection:
            for statement in statements:
                connection.execute(statement)
        return
    with psycopg.connect(place) as connection:
        connection.execute("SET session_replication_role = 'replica'")
        for statement in statements:
            connection.execute(statement.encode())


BREAKS: list[tuple[str, str, bool]] = [
    ("missing_tip", "UPDATE conversations SET tip_id = 'nowhere'", True),
    ("missing_tip", "UPDATE conversations SET tip_id = NULL", True),
    ("branches_miscounted", "UPDATE conversations SET branches = 7", True),
    ("running_without_turn", f"UPDATE messages SET state = 'running', parts = '[]' WHERE id IN {REPLIES}", True),
    ("state_differs", f"UPDATE messages SET state = 'failed' WHERE id IN {REPLIES}", True),
    ("call_left_running", "UPDATE calls SET state = 'running'; DELETE FROM outbox WHERE name = 'call.ended'", True),
    ("visible_below_hidden", f"UPDATE messages SET deletion_id = 'x' WHERE id IN {QUESTIONS}", False),
    ("deletion_missing", "UPDATE messages SET deletion_id = 'x'", False),
    ("foreign_parent", f"UPDATE messages SET parent_id = 'nobody' WHERE id IN {REPLIES}", True),
    ("cycle", f"UPDATE messages SET parent_id = (SELECT MAX(id) FROM messages) WHERE id IN {QUESTIONS}", True),
    ("turn_without_reply", f"DELETE FROM messages WHERE id IN {REPLIES}", False),
    ("turn_without_call", "DELETE FROM calls", False),
    ("name_astray", "UPDATE branch_names SET conversation_id = 'x'", False),
    ("events_missing", "DELETE FROM turn_events", False),
    ("events_missing", "UPDATE turn_events SET last_seq = last_seq - 1", False),
    ("events_missing", "UPDATE turn_events SET first_seq = 3 WHERE first_seq = 1", False),
    ("turn_untold", "DELETE FROM outbox WHERE name = 'turn.ended'", True),
    ("call_untold", "DELETE FROM outbox WHERE name = 'call.ended'", True),
    (
        "turn_told_twice",
        "INSERT INTO outbox (name, payload, created_at, available_at, attempts)"
        " SELECT name, payload, created_at, available_at, attempts FROM outbox WHERE name = 'turn.ended'",
        False,
    ),
    ("events_parked", f"UPDATE outbox SET available_at = {PARKED_AT}, done_at = NULL", True),
]


@pytest.mark.parametrize(("kind", "sql", "is_mended"), BREAKS)
async def test_what_is_broken_is_found(ann: Person, place: Place, kind: str, sql: str, is_mended: bool) -> None:
    chat = await ann.start()
    sent = await ann.ask(chat, "one")
    await ann.house.branches.name(ann.actor, sent.reply_id, "mine")
    tree = await ann.house.conversations.tree(ann.actor, chat)
    harm(place, *sql.split("; "))
    findings = await examine(ann.house.db)
    assert kind in {finding.kind for finding in findings}
    after = [f for f in await repair(ann.house.db) if f.kind == kind]
    assert all(finding.mended == is_mended for finding in after)
    left = await examine(ann.house.db)
    assert (kind in {finding.kind for finding in left}) is not is_mended
    if is_mended:
        assert left == [], "what was mended broke something else"
        mended = await ann.house.conversations.tree(ann.actor, chat)
        assert {(m.id, m.parts) for m in mended} == {(m.id, m.parts) for m in tree}, "words were lost"


async def test_a_gap_in_the_middle_of_what_was_told_is_found(ann: Person, place: Place) -> None:
    sent = await ann.house.sending.send(ann.actor, await ann.start(), None, "one", "fake-n200-gap10")
    live = ann.house.live.get(sent.turn_id or "")
    assert live is not None
    await until(lambda: live.stored_seq > 0)
    assert await examine(ann.house.db) == []
    harm(place, "UPDATE turn_events SET first_seq = first_seq + 1, last_seq = last_seq")
    assert [finding.kind for finding in await examine(ann.house.db)] == ["events_missing"]
    await ann.house.conversations.stop(ann.actor, sent.turn_id or "")


async def test_a_turn_whose_server_is_gone_waits_for_the_next_and_keeps_its_words(ann: Person, place: Place) -> None:
    """After kill -9 nothing is broken: the next start, or the first look, ends it. --repair does so by itself."""
    chat = await ann.start()
    sent = await ann.house.sending.send(ann.actor, chat, None, "one", "fake-n200-gap10")
    live = ann.house.live.get(sent.turn_id or "")
    assert live is not None and live.task is not None
    await until(lambda: live.stored_seq > 3)
    await ann.house.flusher.stop()
    await ann.house.recovery.stop()
    harm(place, "UPDATE turns SET lease_until = 1 WHERE state = 'running'")
    (found,) = await examine(ann.house.db)
    assert (found.kind, found.passes) == ("turn_left", True)
    if ann.house.db.is_shared:  # a node whose clock is far behind ours, and alive
        repairing = asyncio.create_task(repair(ann.house.db, watch_s=0.5))
        await asyncio.sleep(0.2)
        harm(place, "UPDATE turns SET lease_until = 2 WHERE state = 'running'")
        assert await repairing == []
    assert [one.mended for one in await repair(ann.house.db, watch_s=0.1)] == [True]
    assert await examine(ann.house.db) == []
    reply = next(m for m in await ann.house.conversations.tree(ann.actor, chat) if m.id == sent.reply_id)
    assert reply.state == "interrupted" and text_of(reply.parts).startswith("t0 ")
    live.task.cancel()


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
async def test_what_only_waits_makes_no_database_unsound(ann: Person, place: Place) -> None:
    await ann.ask(await ann.start(), "one")
    harm(place, f"UPDATE outbox SET available_at = {PARKED_AT}, done_at = NULL")
    assert [finding.passes for finding in await examine(ann.house.db)] == [True]
    assert isinstance(place, Path)
    assert (await inspect(place, [("core", CORE)], is_live=True)).problems == ()


async def test_what_was_put_right_meanwhile_is_left_alone(ann: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a server the world goes on between the look and the mending."""
    chat = await ann.start()
    first = await ann.ask(chat, "one")
    second = await ann.ask(chat, "two")
    await ann.house.conversations.update(ann.actor, chat, tip=first.reply_id)

    async def stale(_: object) -> list[Finding]:
        kinds = (
            "missing_tip",
            "branches_miscounted",
            "foreign_parent",
            "cycle",
            "running_without_turn",
            "state_differs",
        )
        found = [Finding(kind, chat if kind[0] in "mb" else second.reply_id, "") for kind in kinds]
        return [
            *found,
            Finding("turn_untold", second.turn_id or "", ""),
            Finding("turn_left", second.turn_id or "", ""),
        ]

    tree = await ann.house.conversations.tree(ann.actor, chat)
    monkeypatch.setattr("chatserver.chat.doctor.examine", stale)
    await repair(ann.house.db)
    monkeypatch.undo()
    assert (await ann.house.conversations.view(ann.actor, chat, limit=9)).tip_id == first.reply_id
    assert await ann.house.conversations.tree(ann.actor, chat) == tree
    assert await examine(ann.house.db) == []
