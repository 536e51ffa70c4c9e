"""A share shows what was chosen and nothing else, for as long as its owner wants; its reader goes on in a copy."""

from __future__ import annotations

from typing import Any

import pytest

from chatserver.chat import credentials as credential_rules
from chatserver.chat import shares as rules
from chatserver.chat.doctor import examine, repair
from chatserver.chat.housekeeping import DELETIONS_KEPT_US, Housekeeping
from chatserver.clock import new_id, now_us
from chatserver.domain.access import Actor
from chatserver.domain.messages import (
    CitationPart,
    Message,
    ReasoningPart,
    TextPart,
    ToolResultPart,
    reasoning_of,
    text_of,
)
from chatserver.domain.shares import NewShare
from chatserver.errors import BadInput, Conflict, LimitReached, NotFound
from chatserver.store import messages as message_rows
from tests.chat.conftest import Person


async def reader_of(person: Person, share: NewShare) -> Actor:
    """Whoever opens the link, past what was believed a moment ago."""
    person.house.accounts.forget_credentials()
    actor = await person.house.accounts.actor_of_share(share.secret)
    assert actor is not None, "the link opens nothing"
    return actor


async def is_open(person: Person, share: NewShare) -> bool:
    person.house.accounts.forget_credentials()
    return await person.house.accounts.actor_of_share(share.secret) is not None


async def shown(person: Person, share: NewShare, tip: str | None = None) -> list[str]:
    page = await person.house.shares.read(await reader_of(person, share), tip)
    return [text_of(item.message.parts) for item in page.items]


async def forked(ann: Person) -> tuple[str, Any, Any]:
    """A chat with two versions of its second question: the first is the private one."""
    chat = (await ann.house.conversations.create(ann.actor)).id
    one = await ann.ask(chat, "what is a tree", model="fake-echo")
    private = await ann.ask(chat, "my private diary", parent=one.reply_id, model="fake-echo")
    public = await ann.ask(chat, "and a forest", parent=one.reply_id, model="fake-echo")
    return chat, private, public


async def test_a_branch_is_shared_and_no_other_one(ann: Person) -> None:
    chat, private, public = await forked(ann)
    share = await ann.house.shares.create(ann.actor, chat, public.reply_id)
    texts = await shown(ann, share)
    assert texts[0] == "what is a tree" and texts[2] == "and a forest" and len(texts) == 4
    reader = await reader_of(ann, share)
    page = await ann.house.shares.read(reader)
    assert all(len(item.versions) == 1 for item in page.items), "not even that there is another version is told"
    for hidden in (private.question_id, private.reply_id):
        with pytest.raises(NotFound):
            await ann.house.shares.read(reader, hidden)
        with pytest.raises(NotFound):
            await ann.house.shares.leaf_below(reader, hidden)
    assert share.share.messages == 4 and share.share.scope == "path"


async def test_a_whole_tree_is_shared_with_its_versions(ann: Person) -> None:
    chat, private, public = await forked(ann)
    share = await ann.house.shares.create(ann.actor, chat, public.reply_id, "tree")
    page = await ann.house.shares.read(await reader_of(ann, share))
    assert page.items[2].versions == (private.question_id, public.question_id)
    reader = await reader_of(ann, share)
    assert await ann.house.shares.leaf_below(reader, private.question_id) == private.reply_id
    assert (await shown(ann, share, private.reply_id))[2] == "my private diary"


@pytest.mark.parametrize("scope", ["path", "tree"])
async def test_what_is_written_later_never_shows(ann: Person, scope: Any) -> None:
    chat, _, public = await forked(ann)
    share = await ann.house.shares.create(ann.actor, chat, public.reply_id, scope)
    before = await shown(ann, share)
    later = await ann.ask(chat, "a later secret", parent=public.reply_id)
    other = await ann.house.sending.edit(ann.actor, public.question_id, "another later secret", "fake-echo")
    await ann.ended(other.turn_id)
    assert await shown(ann, share) == before
    reader = await reader_of(ann, share)
    for hidden in (later.question_id, other.question_id):
        with pytest.raises(NotFound):
            await ann.house.shares.read(reader, hidden)
    page = await ann.house.shares.read(reader)
    assert all(other.question_id not in item.versions for item in page.items)


async def test_the_title_tells_of_nothing_that_is_not_shared(ann: Person) -> None:
    chat = (await ann.house.conversations.create(ann.actor)).id
    await ann.ask(chat, "my private diary")
    public = await ann.ask(chat, "a public question")
    by_model = "UPDATE conversations SET title = 'Of a private diary', title_source = 'auto'"
    await ann.house.db.write(lambda tx: tx.run(by_model))
    share = await ann.house.shares.create(ann.actor, chat, public.reply_id)
    assert share.share.title == "a public question"
    whole = await ann.house.shares.create(ann.actor, chat, public.reply_id, "tree")
    assert whole.share.title == "Of a private diary"
    await ann.house.conversations.update(ann.actor, chat, title="What I call it")
    named = await ann.house.shares.create(ann.actor, chat, public.reply_id)
    assert named.share.title == "What I call it"
    await ann.house.conversations.update(ann.actor, chat, title="What I call it later")
    assert (await ann.house.shares.list(ann.actor))[0].title == "What I call it"


async def test_thoughts_tools_passages_and_instructions_stay_out(ann: Person) -> None:
    chat = await ann.start()
    asked = await ann.ask(chat, "one")
    told = Message(new_id(), chat, asked.reply_id, "system", "done", (TextPart("a hidden instruction"),), "", now_us())
    parts = (
        ReasoningPart("a hidden thought"),
        ToolResultPart("c1", "a hidden result"),
        CitationPart("a hidden passage", "of a hidden file"),
        TextPart("what was said"),
    )
    reply = Message(new_id(), chat, told.id, "assistant", "done", parts, "fake-n5", now_us())

    def store(tx: Any) -> None:
        message_rows.insert_message(tx, told)
        message_rows.insert_message(tx, reply)

    await ann.house.db.write(store)
    share = await ann.house.shares.create(ann.actor, chat, reply.id)
    page = await ann.house.shares.read(await reader_of(ann, share))
    assert "hidden" not in str([item.message.parts for item in page.items])
    assert text_of(page.items[-1].message.parts) == "what was said"
    open_minded = await ann.house.shares.create(ann.actor, chat, reply.id, thoughts=True)
    page = await ann.house.shares.read(await reader_of(ann, open_minded))
    assert reasoning_of(page.items[-1].message.parts) == "a hidden thought"
    assert "a hidden result" in str(page.items[-1]), "who shows thoughts shows what tools did, and the form says so"
    assert "passage" not in str(page.items[-1]) and "instruction" not in str([i.message.parts for i in page.items])


async def test_a_link_is_hard_to_guess_and_its_secret_is_kept_nowhere(ann: Person) -> None:
    chat, _, public = await forked(ann)
    one = await ann.house.shares.create(ann.actor, chat, public.reply_id)
    two = await ann.house.shares.create(ann.actor, chat, public.reply_id)
    assert one.secret != two.secret and len(one.secret) == 43
    rows = await ann.house.db.read(lambda tx: tx.all(str, "SELECT hash || id || last_four || title FROM shares"))
    assert len(rows) == 2 and not any(one.secret[:20] in row for row in rows)
    for wrong in ("", one.secret[:-1], one.secret.swapcase(), one.share.id, "x" * 43):
        assert await ann.house.accounts.actor_of_share(wrong) is None


async def test_a_link_opens_one_snapshot_and_nothing_else(ann: Person) -> None:
    """The actor made of a link may not do what its account may, and no secret of another kind is taken for a link."""
    chat, _, public = await forked(ann)
    other = await ann.start("another chat")
    share = await ann.house.shares.create(ann.actor, chat, public.reply_id)
    second = await ann.house.shares.create(ann.actor, other, (await ann.ask(other, "x")).reply_id)
    reader = await reader_of(ann, share)
    for permission in ("chat.use", "chat.share", "models.use", "keys.manage", "admin.console"):
        assert not await ann.house.permissions.allows(reader, permission)
    assert await ann.house.permissions.allows(reader, "share.read") and not reader.is_admin
    assert (await ann.house.shares.read(reader)).share.id != second.share.id
    cookie = await ann.house.accounts.open_session(ann.actor.account)
    assert await ann.house.accounts.actor_of_cookie(cookie) is not None
    assert await ann.house.accounts.actor_of_share(cookie) is None
    assert await ann.house.accounts.actor_of_cookie(share.secret) is None
    with pytest.raises(NotFound):
        await ann.house.shares.read(ann.actor)


async def test_revoked_ended_and_deleted_shares_open_nothing(ann: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    chat, _, public = await forked(ann)
    shares = ann.house.shares
    revoked, ended, kept = [
        await shares.create(ann.actor, chat, public.reply_id, expires_in_s=lasts) for lasts in (None, 60, None)
    ]
    reader = await reader_of(ann, revoked)
    await shares.revoke(ann.actor, revoked.share.id)
    assert not await is_open(ann, revoked)
    with pytest.raises(NotFound):
        await shares.read(reader)  # also for who was let in a moment ago
    with pytest.raises(NotFound):
        await shares.revoke(ann.actor, revoked.share.id)
    assert await is_open(ann, ended)
    with monkeypatch.context() as patch:
        patch.setattr(credential_rules, "now_us", lambda: now_us() + 61_000_000)
        assert not await is_open(ann, ended) and await is_open(ann, kept)
    deletion = await ann.house.conversations.delete(ann.actor, chat)
    assert not await is_open(ann, kept) and await shares.list(ann.actor) == []
    await ann.house.conversations.restore(ann.actor, deletion.id)
    assert await is_open(ann, kept)
    await ann.house.accounts.update(ann.actor.account_id, state="suspended")
    assert not await is_open(ann, kept)


async def test_what_is_deleted_goes_out_of_the_snapshot(ann: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    chat, _, public = await forked(ann)
    share = await ann.house.shares.create(ann.actor, chat, public.reply_id)
    deletion = await ann.house.conversations.delete_message(ann.actor, public.question_id)
    assert len(await shown(ann, share)) == 2
    await ann.house.conversations.restore(ann.actor, deletion.id)
    assert len(await shown(ann, share)) == 4
    await ann.house.conversations.delete_message(ann.actor, public.question_id)
    later = now_us() + DELETIONS_KEPT_US + 60_000_000
    monkeypatch.setattr("chatserver.chat.housekeeping.now_us", lambda: later)
    await Housekeeping(ann.house.db, lambda: False).run({})
    assert len(await shown(ann, share)) == 2
    await ann.house.conversations.delete(ann.actor, chat)
    later += DELETIONS_KEPT_US + 60_000_000
    await Housekeeping(ann.house.db, lambda: False).run({})
    left = await ann.house.db.read(
        lambda tx: [tx.one(int, f"SELECT COUNT(*) FROM {t}") for t in ("shares", "share_messages")]
    )
    assert left == [0, 0]


async def test_links_that_ended_are_forgotten(ann: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    chat, _, public = await forked(ann)
    await ann.house.shares.create(ann.actor, chat, public.reply_id, expires_in_s=60)
    await ann.house.shares.create(ann.actor, chat, public.reply_id)
    monkeypatch.setattr("chatserver.chat.housekeeping.now_us", lambda: now_us() + 8 * 86_400_000_000)
    await Housekeeping(ann.house.db, lambda: False).run({})
    assert len(await ann.house.shares.list(ann.actor)) == 1


async def test_what_cannot_be_shared(ann: Person, bob: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    chat, _, public = await forked(ann)
    shares = ann.house.shares
    for conversation, tip in ((chat, public.reply_id), (chat, None), (new_id(), None)):
        with pytest.raises(NotFound):
            await shares.create(bob.actor, conversation, tip)
    with pytest.raises(NotFound):
        await shares.create(bob.actor, await bob.start(), public.reply_id)
    with pytest.raises(Conflict, match="nothing to share"):
        await shares.create(ann.actor, await ann.start())
    for lasts in (0, -5, rules.LONGEST_S + 1):
        with pytest.raises(BadInput):
            await shares.create(ann.actor, chat, public.reply_id, expires_in_s=lasts)
    running = await ann.house.sending.send(ann.actor, chat, public.reply_id, "wait", "fake-hang")
    for tip, scope in ((running.reply_id, "path"), (public.reply_id, "tree")):
        with pytest.raises(Conflict, match="still being written"):
            await shares.create(ann.actor, chat, tip, scope)  # type: ignore[arg-type]
    share = await shares.create(ann.actor, chat, public.reply_id)
    await ann.house.conversations.stop(ann.actor, running.turn_id or "")
    with pytest.raises(NotFound):
        await shares.revoke(bob.actor, share.share.id)
    assert await shares.list(bob.actor) == [] and await is_open(ann, share)
    monkeypatch.setattr(rules, "SHARES_PER_ACCOUNT", 1)
    with pytest.raises(LimitReached):
        await shares.create(ann.actor, chat, public.reply_id)


async def test_a_reader_goes_on_in_a_copy(ann: Person, bob: Person) -> None:
    chat, _, public = await forked(ann)
    await ann.house.conversations.clear_context(ann.actor, chat, public.question_id)
    share = await ann.house.shares.create(ann.actor, chat, public.reply_id, "tree")
    reader = await reader_of(ann, share)
    copy = await ann.house.shares.copy(reader, bob.actor)
    assert copy != chat and await ann.house.shares.copy(reader, bob.actor) == copy, "twice pressed is once copied"
    assert await bob.texts(copy) == await ann.texts(chat, public.reply_id)
    tree = await ann.house.conversations.tree(bob.actor, copy)
    assert len(tree) == 6 and [m.cleared_after for m in tree].count(True) == 1
    page = await bob.house.conversations.view(bob.actor, copy)
    assert [len(item.versions) for item in page.items] == [1, 1, 2, 1]
    await bob.ask(copy, "my own words", parent=page.tip_id)
    assert "my own words" not in str(await shown(ann, share))
    assert len(await ann.house.conversations.tree(ann.actor, chat)) == 6
    with pytest.raises(NotFound):
        await ann.house.conversations.get(ann.actor, copy)
    mine = await ann.house.shares.copy(reader, ann.actor)
    assert mine not in (copy, chat) and await ann.texts(mine) == await ann.texts(chat, public.reply_id)
    assert copy in [hit.conversation_id for hit in await bob.house.conversations.search(bob.actor, "forest")]
    assert await examine(ann.house.db) == []


async def test_a_copy_holds_only_what_was_shown(ann: Person, bob: Person) -> None:
    chat, _, public = await forked(ann)
    share = await ann.house.shares.create(ann.actor, chat, public.reply_id)
    copy = await ann.house.shares.copy(await reader_of(ann, share), bob.actor)
    assert "private" not in str(await ann.house.conversations.tree(bob.actor, copy))
    await ann.house.shares.revoke(ann.actor, share.share.id)
    assert len(await bob.texts(copy)) == 4, "what is one's own stays"


async def test_a_long_branch_is_read_in_pages_from_the_top(ann: Person, bob: Person) -> None:
    chat = await ann.start()
    parent: str | None = None
    ids = []

    def store(tx: Any) -> None:
        nonlocal parent
        for number in range(150):
            role: Any = "assistant" if number % 2 else "user"
            message = Message(new_id(), chat, parent, role, "done", (TextPart(f"number {number}"),), "", now_us())
            message_rows.insert_message(tx, message)
            parent = message.id
            ids.append(message.id)

    await ann.house.db.write(store)
    share = await ann.house.shares.create(ann.actor, chat, ids[-1])
    reader = await reader_of(ann, share)
    first = await ann.house.shares.read(reader)
    assert [item.message.id for item in first.items] == ids[:60] and first.previous_id is None
    second = await ann.house.shares.read(reader, None, first.next_id)
    third = await ann.house.shares.read(reader, None, second.next_id)
    assert [item.message.id for item in (*second.items, *third.items)] == ids[60:] and third.next_id is None
    assert (await ann.house.shares.read(reader, None, ids[100])).first == 60 and third.previous_id == ids[60]
    copy = await ann.house.shares.copy(reader, bob.actor)
    assert await bob.texts(copy) == [f"number {number}" for number in range(150)]


async def test_the_doctor_finds_and_mends_a_snapshot_of_something_else(ann: Person) -> None:
    chat, _, public = await forked(ann)
    other = await ann.ask(await ann.start(), "elsewhere")
    share = await ann.house.shares.create(ann.actor, chat, public.reply_id)

    def harm(tx: Any) -> None:
        tx.run(
            "INSERT INTO share_messages (share_id, message_id) VALUES (:share, :message)",
            share=share.share.id,
            message=other.question_id,
        )

    await ann.house.db.write(harm)
    assert [finding.kind for finding in await examine(ann.house.db)] == ["foreign_in_share"]
    assert all(finding.mended for finding in await repair(ann.house.db))
    assert await examine(ann.house.db) == [] and len(await shown(ann, share)) == 4
