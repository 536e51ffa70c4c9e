"""Calls of no turn that a process left running are ended by who notices, and told of; those of the living go on."""

from __future__ import annotations

import msgspec
import pytest

from chatserver.chat.left_calls import DEAD_S, LeftCalls
from chatserver.clock import monotonic_s, new_id, now_us
from chatserver.domain.calls import Call
from chatserver.store import calls as call_rows
from chatserver.store import outbox
from chatserver.store.database import Database

HOUR_US = 3_600_000_000


async def states(db: Database) -> dict[str, str]:
    pairs = await db.read(lambda tx: tx.all(str, "SELECT model || '|' || state FROM calls ORDER BY id"))
    return dict(pair.split("|") for pair in pairs)  # type: ignore[misc]


async def test_only_what_nobody_makes_any_more_is_ended(db: Database) -> None:
    old = now_us() - HOUR_US
    lost = Call(new_id(), "ada", "chat", "api", "lost", "running", old, node="dead", labels={"a": "b"})
    change = msgspec.structs.replace
    calls = [
        lost,
        change(lost, id=new_id(), model="nameless", node=""),
        change(lost, id=new_id(), model="a turn's", turn_id="turn"),
        change(lost, id=new_id(), model="ours", node="here"),
        change(lost, id=new_id(), model="just begun", started_at=now_us()),
    ]
    for call in calls:
        await db.write(lambda tx, call=call: call_rows.insert_call(tx, call))  # type: ignore[misc]
    sweeper = LeftCalls(db, "here")
    await sweeper.say()
    await sweeper.sweep()
    running = {"a turn's", "ours", "just begun"}
    assert await states(db) == {call.model: "running" if call.model in running else "interrupted" for call in calls}
    told = await db.write(lambda tx: outbox.claim(tx, now=now_us()))
    assert [(one.delivery.event.call_id, one.delivery.event.labels) for one in told] == [  # type: ignore[union-attr]
        (calls[0].id, {"a": "b"}),
        (calls[1].id, {"a": "b"}),
    ]
    await sweeper.end_all()
    assert [model for model, state in (await states(db)).items() if state == "running"] == ["a turn's"]


async def test_a_node_is_dead_when_it_says_nothing_and_not_when_its_clock_is_wrong(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed_s = 0.0
    monkeypatch.setattr("chatserver.chat.left_calls.monotonic_s", lambda: monotonic_s() + passed_s)
    call = Call(new_id(), "ada", "title", "job", "slow", "running", now_us() - HOUR_US, node="there")
    await db.write(lambda tx: call_rows.insert_call(tx, call))
    sweeper = LeftCalls(db, "here")

    async def say(at: int) -> None:
        await db.write(lambda tx: call_rows.saw_node(tx, "there", at))

    for _ in range(3):
        await say(now_us() - 100 * HOUR_US)
        await sweeper.sweep()
        passed_s += DEAD_S + 1
    assert await states(db) == {"slow": "running"}, "it says that it lives, by a clock that is days behind"
    sweeper.begin_anew()
    await sweeper.sweep()
    assert await states(db) == {"slow": "running"}, "the database was away"
    passed_s += DEAD_S + 1
    await sweeper.sweep()
    assert await states(db) == {"slow": "interrupted"}
    assert await db.read(lambda tx: [node.id for node in call_rows.nodes_seen(tx)]) == ["here"]
