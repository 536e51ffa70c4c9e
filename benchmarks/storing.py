"""Conversations and accounts written straight into the database, before a server starts: what there is to search in."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from benchmarks.servers import EMAIL, Bench
from chatserver.clock import new_id, now_us
from chatserver.domain.access import Account, Actor
from chatserver.domain.messages import Message, Role, TextPart, text_of
from chatserver.store import accounts, conversations, imports, search
from chatserver.store.batches import runs_of
from chatserver.store.database import Database, Tx

LENGTHS = (10, 1_000, 10_000)
OWN_MESSAGES = 100_000
"""Of the account that measures; the rest belongs to others, a thousand to each."""
ALL_MESSAGES = 1_000_000
QUICK_MESSAGES = 120_000
EACH_MESSAGES = 1_000
RARE, ABSENT = "quillon", "zyzzyvax"
COMMON = "river"
NEIGHBOUR = "neighbour@example.org"
"""One of the others."""
MODEL = "bench-stamp-n1"
AT_ONCE = 1_000


class Stored(NamedTuple):
    """Chats of the account that measures, by length, and how many messages there are of how many accounts."""

    by_length: dict[int, str]
    messages: int
    accounts: int


class Text:
    """Sentences of made-up words, some of them frequent and most of them not."""

    def __init__(self) -> None:
        self._chance = random.Random(11)
        letters = ("ka", "ri", "mo", "sel", "tan", "vi", "dor", "an", "be", "lu", "gra", "ne")
        self._words = [COMMON, *("".join(self._chance.choices(letters, k=3)) for _ in range(3_000))]
        self._weights = [1 / (rank + 1) for rank in range(len(self._words))]
        self._count = 0

    def next(self) -> str:
        self._count += 1
        words = self._chance.choices(self._words, self._weights, k=35)
        if self._count % 500 == 0:
            words[7] = RARE
        return " ".join(words).capitalize() + "."


async def store(bench: Bench, all_messages: int, tell: Callable[[str], None]) -> Stored:
    """The account that measures gets its chats, then as many others as it takes get theirs."""
    database = await bench.open_database()
    text = Text()
    by_length: dict[int, str] = {}
    try:
        account = await database.read(lambda tx: accounts.account_by_email(tx, EMAIL))
        assert account is not None
        await database.write(search.expect_many)
        for length in own_lengths():
            conversation_id = await _store_one(database, Actor(account, "api"), length, text)
            by_length.setdefault(length, conversation_id)
        others = max(1, (all_messages - OWN_MESSAGES) // EACH_MESSAGES)
        for number in range(others):
            owner = await _other(database, number)
            await _store_one(database, Actor(owner, "api"), EACH_MESSAGES, text)
            if number % 100 == 99:
                tell(f"  {OWN_MESSAGES + (number + 1) * EACH_MESSAGES:,} messages")
        await database.write(search.settle)
    finally:
        await database.close()
    kept = {length: by_length[length] for length in LENGTHS}
    return Stored(kept, OWN_MESSAGES + others * EACH_MESSAGES, others + 1)


def own_lengths() -> Iterator[int]:
    left = OWN_MESSAGES
    for length in [*LENGTHS, *[1_000] * 200]:
        length = min(length, left)
        if not length:
            return
        left -= length
        yield length


async def _other(database: Database, number: int) -> Account:
    email = NEIGHBOUR if number == 0 else f"other{number}@example.org"
    if number == 0:  # made by the command, so that it can have a key
        found = await database.read(lambda tx: accounts.account_by_email(tx, email))
        assert found is not None
        return found
    account = Account(new_id(), email, "Other", "member", "active", ("default",), now_us())
    await database.write(lambda tx: accounts.create_account(tx, account))
    return account


async def _store_one(database: Database, actor: Actor, length: int, text: Text) -> str:
    conversation_id, now = new_id(), now_us()
    nodes: list[Message] = []
    for number in range(length):
        parent = nodes[-1].id if nodes else None
        role: Role = "assistant" if number % 2 else "user"
        parts = (TextPart(text.next()),)
        model = MODEL if number % 2 else ""
        nodes.append(Message(new_id(), conversation_id, parent, role, "done", parts, model, now + number))

    def begin(tx: Tx) -> None:
        conversations.insert_conversation(
            tx, actor, conversation_id=conversation_id, title="Bench", title_source="person", model=MODEL, now=now
        )

    def write(tx: Tx, some: Sequence[Message]) -> None:
        for run in runs_of(some):
            imports.insert_messages(tx, run)
        owner = actor.account_id
        search.index_new_messages(
            tx, [search.NewText(owner, conversation_id, node.id, text_of(node.parts)) for node in some]
        )
        conversations.move_tip(tx, actor, conversation_id, some[-1].id, now)

    await database.write(begin)
    for start in range(0, length, AT_ONCE):
        await database.write(partial(write, some=nodes[start : start + AT_ONCE]))
    return conversation_id
