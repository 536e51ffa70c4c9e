"""Random lives of a conversation, held step by step against a plain dict: the tree, the tip, the path that is sent."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from chatserver.chat.doctor import examine
from chatserver.domain.access import Actor
from chatserver.domain.conversations import Sent
from chatserver.domain.messages import text_of
from chatserver.errors import Conflict
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
