"""Random lives of a conversation, held step by step against a plain dict: the tree, the tip, the path that is sent."""

from __future__ import annotations

import asyncio
import contextlib
import io
import tempfile
from collections import Counter
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from chatserver.chat.doctor import examine
from chatserver.chat.export_reader import read_export
from chatserver.chat.exports import Exports
from chatserver.chat.imports import Imports, take_trees
from chatserver.domain.access import Actor
from chatserver.domain.conversations import Sent
from chatserver.domain.messages import Message, text_of
from chatserver.errors import Conflict, NotFound
from chatserver.testing.postgres import PostgresServer
from chatserver.testing.upstream import FakeUpstream
from tests.chat.conftest import Person, Place, close_house, open_house
from tests.engines import schema_template

T = TypeVar("T")


class Node(msgspec.Struct):
    parent: str | None
    role: str
    text: str
    continues: bool = False
    hidden_by: str = ""


class TreeLife(RuleBasedStateMachine):
    """The model keeps what a person would expect; every rule is one thing a person does."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.upstream_context = FakeUpstream.in_thread()
        self.upstream = self.upstream_context.__enter__()
        self.house = self.run(open_house(self.new_place(), self.upstream))
        account = self.run(self.house.accounts.create("ann@example.org"))
        self.ann = Person(self.house, Actor(account, "web"))
        self.chat = self.run(self.ann.start())
        self.nodes: dict[str, Node] = {}
        self.markers: set[str] = set()
        self.deletions: dict[str, tuple[str, str | None]] = {}
        self.tip: str | None = None
        self.count = 0
        self.tags: tuple[str, ...] = ()
        self.apart: dict[str, list[tuple[str, str]]] = {}

    def new_place(self) -> Place:
        return Path(self.folder.name) / "life.db"

    def teardown(self) -> None:
        assert self.run(examine(self.house.db)) == []
        self.run(close_house(self.house))
        self.run(asyncio.sleep(0.02))  # transports say goodbye on the loop's next turns
        self.upstream_context.__exit__(None, None, None)
        self.loop.close()
        self.folder.cleanup()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    # --- the model ---

    def visible(self) -> list[str]:
        return [name for name, node in self.nodes.items() if not node.hidden_by]

    def pick(self, number: int, role: str = "") -> str:
        names = [name for name in self.visible() if not role or self.nodes[name].role == role]
        return names[number % len(names)]

    def path(self, tip: str | None) -> list[str]:
        trail: list[str] = []
        while tip is not None:
            trail.append(tip)
            tip = self.nodes[tip].parent
        return trail[::-1]

    def below(self, top: str) -> list[str]:
        return [name for name in self.nodes if top in self.path(name)]

    def expected_prompt(self, tip: str) -> list[tuple[str, str]]:
        """What the upstream should get for a reply below `tip`."""
        names = self.path(tip)
        cut = max((index for index, name in enumerate(names) if name in self.markers), default=-1)
        prompt: list[tuple[str, str]] = []
        for name in names[cut + 1 :]:
            node = self.nodes[name]
            if node.continues and prompt and prompt[-1][0] == node.role:
                prompt[-1] = (node.role, prompt[-1][1] + node.text)
            else:
                prompt.append((node.role, node.text))
        return prompt

    def take(self, sent: Sent, asked: str | None, text: str, parent: str | None, *, continues: bool = False) -> None:
        """Wait for the reply, check what was sent for it, and write both nodes into the model."""
        self.run(self.ann.ended(sent.turn_id))
        if asked is None and sent.question_id and sent.question_id not in self.nodes:
            self.nodes[sent.question_id] = Node(parent, "user", text)
        hangs = sent.question_id if asked is None else asked
        assert hangs is not None
        received = [
            (m["role"], m["content"] if isinstance(m["content"], str) else "".join(p["text"] for p in m["content"]))
            for m in self.upstream.chats()[-1].json["messages"]
        ]
        assert received == self.expected_prompt(hangs)
        reply = next(
            m for m in self.run(self.house.conversations.tree(self.ann.actor, self.chat)) if m.id == sent.reply_id
        )
        self.nodes[sent.reply_id] = Node(hangs, "assistant", text_of(reply.parts), continues)
        self.tip = sent.reply_id

    def words(self) -> str:
        self.count += 1
        return f"question number {self.count}"

    def shape(self, chosen: Iterable[Message]) -> Counter[tuple[Any, ...]]:
        """Every message by the words from the top down to it: whatever its id, it is the same message."""
        by_id = {message.id: message for message in chosen}

        def line(message: Message) -> tuple[Any, ...]:
            own = (message.role, text_of(message.parts), message.continues, message.cleared_after)
            return (*(line(by_id[message.parent_id]) if message.parent_id in by_id else ()), own)

        return Counter(line(message) for message in by_id.values())

    def tree(self, chat: str = "", person: Person | None = None) -> tuple[Message, ...]:
        return tuple(self.run(self.house.conversations.tree((person or self.ann).actor, chat or self.chat)))

    # --- what a person does ---

    @rule(number=st.integers(0, 99), at_root=st.booleans())
    def send(self, number: int, at_root: bool) -> None:
        parent = None if at_root or not self.visible() else self.pick(number)
        text = self.words()
        sent = self.run(self.house.sending.send(self.ann.actor, self.chat, parent, text, "fake-n5"))
        self.take(sent, None, text, parent)

    @precondition(lambda self: self.visible())
    @rule(number=st.integers(0, 99))
    def edit(self, number: int) -> None:
        name = self.pick(number)
        text = self.words()
        sent = self.run(self.house.sending.edit(self.ann.actor, name, text, "fake-n5"))
        if self.nodes[name].role == "user":
            self.take(sent, None, text, self.nodes[name].parent)
        else:
            self.nodes[sent.reply_id] = Node(self.nodes[name].parent, "assistant", text, self.nodes[name].continues)
            self.tip = sent.reply_id

    @precondition(lambda self: any(self.nodes[n].role == "assistant" for n in self.visible()))
    @rule(number=st.integers(0, 99))
    def regenerate(self, number: int) -> None:
        name = self.pick(number, "assistant")
        sent = self.run(self.house.sending.regenerate(self.ann.actor, name))
        self.take(sent, self.nodes[name].parent, "", None, continues=self.nodes[name].continues)

    @precondition(lambda self: any(self.nodes[n].role == "assistant" for n in self.visible()))
    @rule(number=st.integers(0, 99))
    def continue_reply(self, number: int) -> None:
        name = self.pick(number, "assistant")
        sent = self.run(self.house.sending.continue_reply(self.ann.actor, name))
        self.take(sent, name, "", None, continues=True)

    @precondition(lambda self: self.visible())
    @rule(number=st.integers(0, 99))
    def clear_context(self, number: int) -> None:
        name = self.pick(number)
        if self.nodes[name].role == "assistant":
            self.run(self.house.conversations.clear_context(self.ann.actor, self.chat, name))
            self.markers.add(name)

    @precondition(lambda self: self.markers & set(self.visible()))
    @rule(number=st.integers(0, 99))
    def restore_context(self, number: int) -> None:
        names = sorted(self.markers & set(self.visible()))
        name = names[number % len(names)]
        self.run(self.house.conversations.restore_context(self.ann.actor, self.chat, name))
        self.markers.discard(name)

    @precondition(lambda self: self.visible())
    @rule(number=st.integers(0, 99))
    def switch(self, number: int) -> None:
        self.tip = self.pick(number)
        self.run(self.house.conversations.update(self.ann.actor, self.chat, tip=self.tip))

    @precondition(lambda self: self.visible())
    @rule(number=st.integers(0, 99))
    def delete(self, number: int) -> None:
        name = self.pick(number)
        going = [one for one in self.below(name) if not self.nodes[one].hidden_by]
        deletion = self.run(self.house.conversations.delete_message(self.ann.actor, name))
        assert deletion.count == len(going)
        for one in going:
            self.nodes[one].hidden_by = deletion.id
        self.deletions[deletion.id] = (name, self.nodes[name].parent)
        if self.tip in going:
            assert deletion.tip_id is None or deletion.tip_id in self.visible()
            self.tip = deletion.tip_id

    @precondition(lambda self: self.deletions)
    @rule(number=st.integers(0, 99))
    def take_back(self, number: int) -> None:
        deletion_id = sorted(self.deletions)[number % len(self.deletions)]
        top, parent = self.deletions[deletion_id]
        if parent is not None and self.nodes[parent].hidden_by:
            try:
                self.run(self.house.conversations.restore(self.ann.actor, deletion_id))
            except Conflict as refused:
                assert refused.code == "parent_deleted"
                return
            raise AssertionError("a subtree came back below a deleted message")
        back = self.run(self.house.conversations.restore(self.ann.actor, deletion_id))
        del self.deletions[deletion_id]
        for node in self.nodes.values():
            if node.hidden_by == deletion_id:
                node.hidden_by = ""
        assert back.tip_id in self.below(top)
        self.tip = back.tip_id

    @precondition(lambda self: self.visible())
    @rule(number=st.integers(0, 99), models=st.integers(2, 3))
    def ask_several(self, number: int, models: int) -> None:
        """One question to several models: siblings, of which the first is looked at."""
        parent, text = self.pick(number), self.words()
        sent = self.run(
            self.house.sending.send(
                self.ann.actor, self.chat, parent, text, models=("fake-n5", "fake-n5-b", "fake-n5")[:models]
            )
        )
        assert sent.question_id is not None and len(sent.replies) == models
        self.nodes[sent.question_id] = Node(parent, "user", text)
        for asked in sent.replies:
            self.run(self.ann.ended(asked.turn_id))
        said = {message.id: text_of(message.parts) for message in self.tree()}
        for asked in sent.replies:
            self.nodes[asked.reply_id] = Node(sent.question_id, "assistant", said[asked.reply_id])
        self.tip = sent.reply_id

    @precondition(lambda self: self.visible())
    @rule(number=st.integers(0, 99))
    def name_a_branch(self, number: int) -> None:
        name, picked = f"name {self.count}", self.pick(number)
        self.run(self.house.branches.name(self.ann.actor, picked, name))
        branch, _ = self.run(self.house.branches.standing(self.ann.actor, self.chat, picked))
        assert branch == name

    @rule(number=st.integers(0, 9))
    def file_the_chat(self, number: int) -> None:
        """Into a folder that is taken away at once, and under a tag: the chat stays where the rest of it is."""
        self.tags = (f"tag {number}",)
        folder = self.run(self.house.filing.make_folder(self.ann.actor, f"folder {number}"))
        self.run(self.house.filing.file(self.ann.actor, self.chat, folder_id=folder.id, tags=self.tags))
        self.run(self.house.filing.remove_folder(self.ann.actor, folder.id))

    @precondition(lambda self: self.visible())
    @rule(number=st.integers(0, 99))
    def fork(self, number: int) -> None:
        """The path as a chat of its own, which nothing that happens here changes from then on."""
        if len(self.apart) >= 2:
            return
        name = self.pick(number)
        forked = self.run(self.house.branches.fork(self.ann.actor, name, "path"))
        found = self.run(self.house.conversations.path(self.ann.actor, forked.id))
        expected = [(self.nodes[one].role, self.nodes[one].text) for one in self.path(name)]
        assert [(message.role, text_of(message.parts)) for message in found] == expected
        self.apart[forked.id] = expected

    @rule()
    def go_and_come_back_whole(self) -> None:
        """The whole chat is deleted, and restored."""
        before = self.tree()
        deletion = self.run(self.house.conversations.delete(self.ann.actor, self.chat))
        lines, _ = self.run(self.house.conversations.list(self.ann.actor))
        assert self.chat not in {line.id for line in lines}
        self.run(self.house.conversations.restore(self.ann.actor, deletion.id))
        assert self.tree() == before

    @rule(is_kept=st.booleans())
    def talk_aside(self, is_kept: bool) -> None:
        """A temporary chat, ended or kept: it is nobody else's business."""
        aside = self.run(self.house.conversations.create(self.ann.actor, temporary=True))
        self.run(self.ann.ask(aside.id, self.words()))
        if is_kept and len(self.apart) < 2:
            self.run(self.house.temporaries.keep(self.ann.actor, aside.id))
            kept = self.run(self.house.conversations.path(self.ann.actor, aside.id))
            self.apart[aside.id] = [(message.role, text_of(message.parts)) for message in kept]
            return
        self.run(self.house.temporaries.end(self.ann.actor, aside.id))
        with contextlib.suppress(NotFound):
            self.tree(aside.id)
            raise AssertionError("a temporary chat outlived its end")

    @rule()
    def travel(self) -> None:
        """Everything is exported, and taken in by somebody else, twice: theirs is the same, and there once."""
        self.count += 1
        bob = Person(self.house, Actor(self.run(self.house.accounts.create(f"bob{self.count}@example.org")), "web"))

        async def export() -> bytes:
            pieces = Exports(self.house.db, "chatserver test").export([self.ann.actor.account])
            return b"".join([piece async for piece in pieces])

        file = self.run(export())
        for _ in range(2):
            imports = Imports(self.house.db, bob.actor)
            trees = (("", tree) for _, tree in read_export(io.BytesIO(file)))
            self.run(take_trees(trees, {"": imports}))
        assert (imports.report.new, imports.report.grown) == (0, 0)
        lines, _ = self.run(self.house.conversations.list(bob.actor))
        theirs = [self.shape(self.tree(line.id, bob)) for line in lines]
        mine = [self.shape(self.tree(one)) for one in (self.chat, *self.apart)]
        assert sorted(map(repr, map(sorted, map(Counter.items, theirs)))) == sorted(
            map(repr, map(sorted, map(Counter.items, mine)))
        )

    # --- what must hold after each step ---

    @invariant()
    def the_tree_is_as_expected(self) -> None:
        found = self.run(self.house.conversations.tree(self.ann.actor, self.chat))
        assert {m.id: (m.parent_id, m.role, text_of(m.parts), m.continues) for m in found} == {
            name: (self.nodes[name].parent, self.nodes[name].role, self.nodes[name].text, self.nodes[name].continues)
            for name in self.visible()
        }
        assert {m.id for m in found if m.cleared_after} == self.markers & set(self.visible())

    @invariant()
    def what_went_its_own_way_stays_as_it_was(self) -> None:
        for chat, expected in self.apart.items():
            path = self.run(self.house.conversations.path(self.ann.actor, chat))
            assert [(message.role, text_of(message.parts)) for message in path] == expected
        found = self.run(self.house.conversations.get(self.ann.actor, self.chat))
        assert (found.tags, found.folder_id) == (self.tags, "")

    @invariant()
    def the_view_is_the_path_to_the_tip(self) -> None:
        view = self.run(self.house.conversations.view(self.ann.actor, self.chat, limit=1000))
        assert view.tip_id == self.tip
        assert [item.message.id for item in view.items] == self.path(self.tip)
        for item in view.items:
            siblings = [n for n in self.visible() if self.nodes[n].parent == item.message.parent_id]
            assert list(item.versions) == sorted(siblings)
        leaves = [n for n in self.visible() if not any(self.nodes[c].parent == n for c in self.visible())]
        assert view.conversation.branches == len(leaves)


TestTreeLife = TreeLife.TestCase
TestTreeLife.settings = settings(
    max_examples=12,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def test_random_lives_on_postgres(postgres_server: PostgresServer) -> None:
    template = asyncio.run(schema_template(postgres_server))

    class PostgresLife(TreeLife):
        def new_place(self) -> Place:
            return postgres_server.url(postgres_server.create(template))

    run_state_machine_as_test(PostgresLife, settings=settings(TestTreeLife.settings, max_examples=6))
