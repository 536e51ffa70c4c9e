"""The doctor finds what we break on purpose, mends what can be mended, and finds nothing in a healthy house."""

from __future__ import annotations

from typing import Any

import pytest

from chatserver.chat.doctor import examine, repair
from tests.chat.conftest import Person


async def test_a_healthy_house_has_no_findings(ann: Person) -> None:
    chat = await ann.start()
    one = await ann.ask(chat, "one")
    await ann.ask(chat, "two", parent=one.reply_id)
    await ann.house.conversations.delete_message(ann.actor, one.question_id or "")
    assert await examine(ann.house.db) == []


@pytest.mark.parametrize(
    ("kind", "sql", "is_mended"),
    [
        ("missing_tip", "UPDATE conversations SET tip_id = 'nowhere'", True),
        ("running_without_turn", "UPDATE messages SET state = 'running' WHERE role = 'assistant'", True),
        ("call_left_running", "UPDATE calls SET state = 'running'", True),
        ("visible_below_hidden", "UPDATE messages SET deletion_id = 'x' WHERE parent_id IS NULL", False),
        ("events_missing", "DELETE FROM turn_events", False),
    ],
)
async def test_what_is_broken_is_found(ann: Person, kind: str, sql: str, is_mended: bool) -> None:
    await ann.ask(await ann.start(), "one")

    def harm(tx: Any) -> None:
        tx.run(sql)

    await ann.house.db.write(harm)
    findings = await examine(ann.house.db)
    assert kind in {finding.kind for finding in findings}
    after = [f for f in await repair(ann.house.db) if f.kind == kind]
    assert all(finding.mended == is_mended for finding in after)
    left = {finding.kind for finding in await examine(ann.house.db)}
    assert (kind in left) is not is_mended
