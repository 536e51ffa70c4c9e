"""Who deletes their account is out at once, and then nothing of it is left, whatever is killed in between."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import chatserver_password
import pytest

from chatserver import Delivery, hookimpl
from chatserver.chat.doctor import examine
from chatserver.chat.leaving import _erase_conversation as erase_conversation
from chatserver.clock import monotonic_s, new_id
from chatserver.domain.access import Actor
from chatserver.domain.events import AccountErased
from chatserver.domain.extend import SignInAttempt
from chatserver.domain.messages import TextPart
from chatserver.errors import Conflict, NotFound
from chatserver.store import blobs as blob_rows
from chatserver.store import deletions as deletion_rows
from chatserver.store import leaving as rules
from chatserver.store import tables
from chatserver.store.schema import CORE
from chatserver.testing.upstream import FakeUpstream
from tests.chat.conftest import Person, Place, close_house, open_house

PASSWORD = "a quiet horse reads maps"


async def settle(person: Person) -> None:
    """Until the job is through with everybody who left."""
    deadline = monotonic_s() + 15
    while await person.house.db.read(lambda tx: rules.leaving_accounts(tx, "", 10)):
        assert monotonic_s() < deadline, "the job never ended"
        await person.house.leaving.erase_leavers({})
        await asyncio.sleep(0.02)


async def columns_of(person: Person) -> dict[str, tuple[str, ...]]:
    def look(tx: Any) -> dict[str, tuple[str, ...]]:
        return {one.name: tables.describe(tx, one).columns for one in tables.tables_of([("core", CORE)])}

    return await person.house.db.read(look)


async def test_every_table_with_an_owner_is_known_to_the_rules(ann: Person) -> None:
    owned = {
        (name, column)
        for name, columns in (await columns_of(ann)).items()
        for column in columns
        if column in ("account_id", "owner_id")
    }
    known = {*rules.ERASED, *((name, "owner_id") for name in rules.WITH_CONVERSATIONS)}
    known |= {(name, "account_id") for name in (*rules.WITH_CONVERSATIONS, *rules.KEPT)}
    assert owned <= known, "say in store/leaving.py what becomes of these when their account is deleted"


async def test_every_table_below_a_conversation_is_erased_with_it(ann: Person) -> None:
    below = {name for name, columns in (await columns_of(ann)).items() if "conversation_id" in columns}
    emptied: set[str] = set()

    class Recorder:
        def __init__(self, tx: Any) -> None:
            self._tx = tx

        def run(self, sql: str, **parameters: Any) -> int:
            emptied.update(re.findall(r"^DELETE FROM (\w+)", sql))
            return int(self._tx.run(sql, **parameters))

        def __getattr__(self, name: str) -> Any:
            return getattr(self._tx, name)

    sent = await ann.ask(await ann.start(), "one")
    await ann.house.shares.create(ann.actor, sent.conversation_id)
    await ann.house.conversations.clear_context(ann.actor, sent.conversation_id, sent.reply_id)
    await ann.house.branches.name(ann.actor, sent.reply_id, "A name")
    erase: Any = deletion_rows.erase_conversation
    await ann.house.db.write(lambda tx: erase(Recorder(tx), sent.conversation_id))
    assert below <= emptied, "erase_conversation in store/deletions.py leaves rows of a conversation in these"
    with pytest.raises(NotFound):
        await ann.house.conversations.get(ann.actor, sent.conversation_id)


async def test_nothing_of_an_account_is_left(ann: Person, bob: Person, tmp_path: Path) -> None:
    chat = await ann.start("A private title")
    one = await ann.ask(chat, "a private question")
    await ann.ask(chat, "another", parent=one.reply_id)
    await ann.house.conversations.delete_message(ann.actor, (await ann.ask(chat, "deleted")).question_id or "")
    await ann.house.conversations.delete(ann.actor, (await ann.ask(await ann.start(), "deleted chat")).conversation_id)
    await ann.house.sending.send(ann.actor, None, None, "temporary", "fake-n5", temporary=True)
    share = await ann.house.shares.create(ann.actor, chat)
    key = await ann.house.accounts.create_key(ann.actor.account, "hers")
    cookie = await ann.house.accounts.open_session(ann.actor.account)
    his = await bob.ask(await bob.start(), "his own")
    folder = await ann.house.filing.make_folder(ann.actor, "A private folder")
    inner = await ann.house.filing.make_folder(ann.actor, "Within", folder.id)
    await ann.house.filing.file(ann.actor, chat, folder_id=inner.id, tags=["private"])
    notes = tmp_path / "notes.txt"
    notes.write_text("private notes")
    file = await ann.house.files.bring_in(ann.actor, "notes.txt", notes)
    await ann.house.files.bring_in(ann.actor, "unsent.txt", notes)
    sent = await ann.house.sending.send(ann.actor, chat, None, "see there", "fake-n5", attachments=[file.id])
    await ann.ended(sent.turn_id)

    holdings = await ann.house.leaving.holdings(ann.actor)
    assert holdings.conversations == 3 and holdings.shares == 1 and holdings.keys == 1 and holdings.files == 2
    await ann.house.leaving.leave(ann.actor)
    assert await ann.house.accounts.actor_of_cookie(cookie) is None
    assert await ann.house.accounts.actor_of_key(key.secret) is None
    assert await ann.house.accounts.actor_of_share(share.secret) is None
    assert await ann.house.accounts.by_email("ann@example.org") is None
    await settle(ann)

    def look(tx: Any) -> dict[str, int]:
        found = {}
        for name, columns in described.items():
            for column in columns:
                if column in ("account_id", "owner_id", "id") and name != "calls":
                    sql = f"SELECT COUNT(*) FROM {name} WHERE {column} = :id"
                    found[f"{name}.{column}"] = tx.one(int, sql, id=ann.actor.account_id) or 0
        return {place: count for place, count in found.items() if count}

    described = await columns_of(ann)
    assert await ann.house.db.read(look) == {}
    for table, column in (("messages", "parts"), ("conversations", "title"), ("accounts", "email")):
        sql = f"SELECT {column} FROM {table}"
        texts = await ann.house.db.read(lambda tx, one=sql: tx.all(str, one))  # type: ignore[misc]
        assert not any("private" in text or "ann@" in text for text in texts), table
    entries = await ann.house.db.read(
        lambda tx: tx.one(int, "SELECT COUNT(*) FROM search_entries WHERE owner_id = :id", id=ann.actor.account_id)
    )
    assert entries == 0
    assert await ann.house.db.read(lambda tx: blob_rows.page_of_named(tx, "", 10)) == [], (
        "its contents can be collected"
    )
    assert await bob.texts(his.conversation_id) and await examine(ann.house.db) == []
    calls = await ann.house.db.read(
        lambda tx: tx.one(int, "SELECT COUNT(*) FROM calls WHERE account_id = :id", id=ann.actor.account_id)
    )
    assert calls, "what was used stays counted"
    again = await ann.house.accounts.create("ann@example.org")
    assert again.id != ann.actor.account_id


async def test_an_answer_that_is_being_written_is_stopped_first(ann: Person, fake_upstream: FakeUpstream) -> None:
    await ann.house.sending.send(ann.actor, None, None, "wait", "fake-hang")
    await ann.house.leaving.leave(ann.actor)
    await settle(ann)
    assert await ann.house.accounts.by_id(ann.actor.account_id) is None


async def test_a_chat_in_which_an_answer_began_meanwhile_is_left_for_the_next_time(
    ann: Person, fake_upstream: FakeUpstream
) -> None:
    """A send that was under way while the account was shut begins after the job has looked."""
    sent = await ann.house.sending.send(ann.actor, None, None, "wait", "fake-hang")
    chat = (await ann.house.readers.turn(ann.actor, sent.turn_id)).conversation_id
    await ann.house.db.write(lambda tx: erase_conversation(tx, chat))
    assert len(await ann.house.conversations.tree(ann.actor, chat)) == 2
    await ann.house.conversations.stop(ann.actor, sent.turn_id)
    await ann.ended(sent.turn_id)
    await ann.house.db.write(lambda tx: erase_conversation(tx, chat))
    with pytest.raises(NotFound):
        await ann.house.conversations.tree(ann.actor, chat)


async def test_the_last_admin_stays(ann: Person, bob: Person) -> None:
    accounts = ann.house.accounts
    await accounts.update(ann.actor.account_id, role="admin")
    admin = Actor(await accounts.update(ann.actor.account_id), "web")
    with pytest.raises(Conflict) as refused:
        await ann.house.leaving.leave(admin)
    assert refused.value.code == "last_admin"
    assert (await accounts.by_id(admin.account_id)) == admin.account
    other = Actor(await accounts.update(bob.actor.account_id, role="admin"), "web")
    outcomes = await asyncio.gather(
        ann.house.leaving.leave(admin), ann.house.leaving.leave(other), return_exceptions=True
    )
    assert sorted(type(one).__name__ for one in outcomes) == ["Conflict", "NoneType"], "one of two stays"
    assert await accounts.has_admin()


async def test_a_killed_job_goes_on_where_it_was(ann: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        await ann.ask(await ann.start(), f"question {number}")
    erase, count = deletion_rows.erase_conversation, 0

    def fall_over(tx: Any, conversation_id: str) -> None:
        nonlocal count
        count += 1
        if count == 3:
            raise RuntimeError("killed on purpose")
        erase(tx, conversation_id)

    monkeypatch.setattr(deletion_rows, "erase_conversation", fall_over)
    monkeypatch.setattr("chatserver.chat.leaving.jobs.enqueue", lambda *arguments: "")
    await ann.house.leaving.leave(ann.actor)
    with pytest.raises(RuntimeError):
        await ann.house.leaving.erase_leavers({})
    assert await examine(ann.house.db) == []
    assert (await ann.house.leaving.holdings(ann.actor)).conversations == 3
    await ann.house.leaving.erase_leavers({})
    assert await ann.house.accounts.by_id(ann.actor.account_id) is None


async def test_ways_to_sign_in_forget_it_and_plugins_hear_of_it(place: Place, fake_upstream: FakeUpstream) -> None:
    heard: list[str] = []

    class Listener:
        @hookimpl()
        async def handle_event(self, delivery: Delivery) -> None:
            if isinstance(delivery.event, AccountErased):
                heard.append(delivery.event.account_id)

    plugins = [("password", chatserver_password), ("listener", Listener())]
    house = await open_house(place, fake_upstream, plugins=plugins)
    try:
        account = await house.accounts.create("cleo@example.org", secret=PASSWORD)
        cleo = Person(house, Actor(account, "web"))
        attempt = SignInAttempt({"email": "cleo@example.org", "password": PASSWORD}, "127.0.0.1")
        assert await house.accounts.sign_in(attempt) == account
        await house.leaving.leave(cleo.actor)
        assert await house.accounts.sign_in(attempt) != account
        await settle(cleo)
        kept = await house.db.read(lambda tx: tx.one(int, "SELECT COUNT(*) FROM password_credentials"))
        assert kept == 0
        deadline = monotonic_s() + 10
        while heard != [account.id]:
            assert monotonic_s() < deadline, heard
            await asyncio.sleep(0.02)
    finally:
        await close_house(house)


async def test_a_stranger_cannot_be_made_to_leave(ann: Person) -> None:
    """The rules take an Actor; an id alone deletes nobody."""
    assert not await ann.house.db.write(lambda tx: rules.erase_account(tx, ann.actor.account_id))
    assert not await ann.house.db.write(lambda tx: rules.erase_account(tx, new_id()))
    chat = await ann.start()
    assert await ann.house.db.read(lambda tx: rules.conversations_left(tx, ann.actor.account_id, 10)) == []
    await ann.house.leaving.erase_leavers({})
    assert (await ann.house.conversations.get(ann.actor, chat)).id == chat
    with pytest.raises(NotFound):
        await ann.house.conversations.get(ann.actor, TextPart("x").text)
