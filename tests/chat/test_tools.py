"""Tools in a turn: rounds, results, consent, bounds, Stop, and what later turns are sent of it all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest

from chatserver import clock
from chatserver.chat.recovery import interrupt_turn
from chatserver.chat.tooling import result_budget_bytes
from chatserver.domain.access import Actor
from chatserver.domain.extend import Admission, Refusal, ToolSpec
from chatserver.domain.messages import TextPart, ToolCallPart, ToolResultPart, text_of
from chatserver.domain.models import Model
from chatserver.domain.tools import RESULT_BYTES, ROUNDS, TURN_RESULT_BYTES, Tool, ToolOutcome, ToolUse
from chatserver.domain.turns import ToolCallDelta, Turn
from chatserver.errors import Conflict, NotFound
from chatserver.hookspecs import hookimpl
from chatserver.house import House
from chatserver.store import deletions
from chatserver.testing.upstream import FakeUpstream, ToolAsk
from tests.chat.conftest import Person, Place, close_house, open_house, until

MODEL = "fake-n5"


class Made:
    """A tool that does what a test wants."""

    def __init__(
        self,
        name: str,
        act: Callable[[dict[str, Any]], Any] = lambda arguments: "found",
        *,
        needs_consent: bool = False,
    ) -> None:
        self.spec = ToolSpec(name, f"Does {name}.", {"type": "object"})
        self.needs_consent = needs_consent
        self.calls: list[dict[str, Any]] = []
        self.cancelled = 0
        self._act = act

    async def call(self, arguments: dict[str, Any], use: ToolUse) -> ToolOutcome:
        self.calls.append(arguments)
        try:
            answer = self._act(arguments)
            answer = await answer if asyncio.iscoroutine(answer) else answer
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return answer if isinstance(answer, ToolOutcome) else ToolOutcome(answer)


class Bench:
    """The plugin that brings them, and hears of every call."""

    def __init__(self) -> None:
        self.look = Made("look", lambda arguments: f"seen {arguments.get('at', '')}")
        self.write = Made("write", lambda arguments: "written", needs_consent=True)
        self.hang = Made("hang", lambda arguments: asyncio.sleep(600, "never"))
        self.admitted: list[Admission] = []
        self.refuse_from = 1_000

    @hookimpl
    def register_tools(self) -> list[Tool]:
        return [self.look, self.write, self.hang]

    @hookimpl
    def offer_tools(self, use: ToolUse) -> list[Tool]:
        return [Made("later", lambda arguments: use.conversation_id)]

    @hookimpl
    async def admit_call(self, admission: Admission) -> Admission | Refusal | None:
        self.admitted.append(admission)
        if len(self.admitted) >= self.refuse_from:
            return Refusal("used_up", "Nothing is left.", "Come back tomorrow.")
        return None


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
async def house(place: Place, fake_upstream: FakeUpstream, bench: Bench) -> AsyncIterator[House]:
    house = await open_house(place, fake_upstream, plugins=[("bench", bench)])
    yield house
    await close_house(house)


def asked(upstream: FakeUpstream) -> list[list[dict[str, Any]]]:
    """The messages of every request, in order."""
    return [msgspec.json.decode(seen.body)["messages"] for seen in upstream.requests if b'"messages"' in seen.body]


async def reply_of(person: Person, turn: Turn) -> Any:
    return await person.house.conversations.message(person.actor, turn.reply_id)


async def calls_of(house: House, turn: Turn) -> list[tuple[str, str]]:
    class Row(msgspec.Struct):
        state: str
        usage: str

    rows = await house.db.read(
        lambda tx: tx.all(Row, "SELECT state, usage FROM calls WHERE turn_id = :turn ORDER BY id", turn=turn.id)
    )
    return [(row.state, row.usage) for row in rows]


async def test_a_model_gets_what_it_asked_for_and_answers(
    house: House, ann: Person, bench: Bench, fake_upstream: FakeUpstream
) -> None:
    fake_upstream.tool_rounds[MODEL] = [
        [ToolAsk("look", '{"at": "one"}', "a"), ToolAsk("look", '{"at": "two"}', "a")],
        [ToolAsk("later")],
    ]
    where = await ann.start()
    sent = await ann.ask(where, "Look twice.", model=MODEL)
    turn = await ann.ended(sent.turn_id)
    reply = await reply_of(ann, turn)
    assert turn.state == "done"
    assert turn.error is None
    kinds = [part.__struct_config__.tag for part in reply.parts]
    first = ["text", "tool_call", "tool_call", "tool_result", "tool_result"]
    assert kinds == [*first, "text", "tool_call", "tool_result", "text"]
    results = {part.call_id: part.text for part in reply.parts if isinstance(part, ToolResultPart)}
    assert set(results.values()) == {"seen one", "seen two", where}
    assert len(results) == 3, "every call has an id of its own, whatever the upstream called it"
    assert text_of(reply.parts).count("\n\n") == 2, "the words of each round are a paragraph"

    third = asked(fake_upstream)[2]
    assert [message["role"] for message in third] == ["user", "assistant", "tool", "tool", "assistant", "tool"]
    assert [m["content"] for m in third if m["role"] == "tool"] == ["seen one", "seen two", where]
    ids = [call["id"] for call in third[1]["tool_calls"]]
    assert [message["tool_call_id"] for message in third[2:4]] == ids

    calls = await calls_of(house, turn)
    assert [state for state, _ in calls] == ["done"] * 3
    assert turn.usage.calls == 3
    assert len(turn.attempts) == 3
    assert [one.turn_id for one in bench.admitted] == [turn.id] * 3
    assert len({one.call_id for one in bench.admitted}) == 3
    assert bench.admitted[2].input_tokens > bench.admitted[0].input_tokens

    await ann.ask(where, "And now?", parent=turn.reply_id, model=MODEL)
    later = asked(fake_upstream)[3]
    assert [m["role"] for m in later] == ["user", "assistant", "tool", "tool", "assistant", "tool", "assistant", "user"]


async def test_the_prompt_that_is_shown_names_what_was_offered(
    house: House, ann: Person, fake_upstream: FakeUpstream
) -> None:
    fake_upstream.tool_rounds[MODEL] = [[ToolAsk("look")]]
    sent = await ann.ask(await ann.start(), "Look.", model=MODEL)
    shown = await house.sent_prompts.read(ann.actor, sent.turn_id or "")
    assert [tool.name for tool in shown.tools] == ["look", "write", "hang", "later"]
    assert shown.is_exact


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (ToolAsk("nothing"), "There is no tool named nothing here."),
        (ToolAsk("look", "[1]"), "The arguments are not a JSON object."),
        (ToolAsk("look", "{"), "The arguments are not a JSON object."),
    ],
)
async def test_what_cannot_be_done_is_told_to_the_model(
    house: House, ann: Person, fake_upstream: FakeUpstream, ask: ToolAsk, told: str
) -> None:
    fake_upstream.tool_rounds[MODEL] = [[ask]]
    turn = await ann.ended((await ann.ask(await ann.start(), "Go.", model=MODEL)).turn_id)
    results = [part for part in (await reply_of(ann, turn)).parts if isinstance(part, ToolResultPart)]
    assert [(part.text, part.is_error) for part in results] == [(told, True)]
    assert turn.state == "done"


async def test_a_tool_that_fails_hangs_or_says_too_much_harms_only_its_call(
    house: House, ann: Person, bench: Bench, fake_upstream: FakeUpstream
) -> None:
    def fail(arguments: dict[str, Any]) -> str:
        raise ValueError("canary-of-the-plugin")

    bench.look._act = lambda arguments: fail(arguments) if arguments else "é" * 100_000
    house.tooling.call_s = 0.2
    fake_upstream.tool_rounds[MODEL] = [[ToolAsk("look", '{"a": 1}'), ToolAsk("look"), ToolAsk("hang")]]
    turn = await ann.ended((await ann.ask(await ann.start(), "Go.", model=MODEL)).turn_id)
    parts = (await reply_of(ann, turn)).parts
    names = {part.call_id: part for part in parts if isinstance(part, ToolCallPart)}
    by_call = {
        (names[part.call_id].name, names[part.call_id].arguments): part
        for part in parts
        if isinstance(part, ToolResultPart)
    }
    failed, long, hung = by_call["look", '{"a": 1}'], by_call["look", "{}"], by_call["hang", "{}"]
    assert (failed.text, failed.is_error) == ("The tool failed.", True)
    assert not long.is_error
    assert len(long.text.encode()) < RESULT_BYTES + 100
    assert long.text.endswith("bytes were left out.]")
    assert "longer than 0.2 seconds" in hung.text
    assert bench.hang.cancelled == 1
    assert turn.state == "done"


def test_results_leave_a_small_model_room_to_answer() -> None:
    small, large = result_budget_bytes(Model("small", context_tokens=4096)), result_budget_bytes(Model("unknown"))
    assert small // 4 <= 4096 // 2
    assert RESULT_BYTES < large <= TURN_RESULT_BYTES


async def test_a_model_that_never_answers_is_told_off_after_its_rounds(
    house: House, ann: Person, fake_upstream: FakeUpstream
) -> None:
    fake_upstream.tool_rounds[MODEL] = [[ToolAsk("look")]] * (ROUNDS + 5)
    turn = await ann.ended((await ann.ask(await ann.start(), "Go.", model=MODEL)).turn_id)
    assert turn.state == "interrupted"
    assert turn.error is not None
    assert turn.error.code == "tool_rounds"
    assert len(await calls_of(house, turn)) == ROUNDS
    assert turn.usage.calls == ROUNDS
    fake_upstream.tool_rounds.clear()
    sent = await house.sending.continue_reply(ann.actor, turn.reply_id)
    assert (await ann.ended(sent.turn_id)).state == "done"
    told = asked(fake_upstream)[-1]
    assert [m["role"] for m in told] == ["user", *["assistant", "tool"] * ROUNDS]
    assert "not carried out" in told[-1]["content"]


async def test_stop_while_a_tool_runs_cancels_it_and_keeps_what_was_there(
    house: House, ann: Person, bench: Bench, fake_upstream: FakeUpstream
) -> None:
    fake_upstream.tool_rounds[MODEL] = [[ToolAsk("look"), ToolAsk("hang", id="b")]]
    sent = await house.sending.send(ann.actor, await ann.start(), None, "Go.", MODEL)
    await until(lambda: bench.hang.calls and bench.look.calls)
    await house.conversations.stop(ann.actor, sent.turn_id or "")
    turn = await ann.ended(sent.turn_id)
    assert turn.state == "stopped"
    assert bench.hang.cancelled == 1
    reply = await reply_of(ann, turn)
    assert [part.name for part in reply.parts if isinstance(part, ToolCallPart)] == ["look", "hang"]
    assert [state for state, _ in await calls_of(house, turn)] == ["done"], "what the model said was metered"
    assert turn.usage.calls == 1
    fake_upstream.tool_rounds.clear()
    await ann.ask(turn.conversation_id, "Again?", parent=turn.reply_id, model=MODEL)
    told = asked(fake_upstream)[-1]
    assert [m["role"] for m in told] == ["user", "assistant", "tool", "tool", "user"]
    assert "not carried out" in told[3]["content"]


async def test_a_refusal_between_rounds_keeps_what_was_there(
    house: House, ann: Person, bench: Bench, fake_upstream: FakeUpstream
) -> None:
    bench.refuse_from = 2
    fake_upstream.tool_rounds[MODEL] = [[ToolAsk("look")]]
    turn = await ann.ended((await ann.ask(await ann.start(), "Go.", model=MODEL)).turn_id)
    assert (turn.state, turn.error.code if turn.error else "") == ("interrupted", "used_up")
    assert any(isinstance(part, ToolResultPart) for part in (await reply_of(ann, turn)).parts)
    assert [state for state, _ in await calls_of(house, turn)] == ["done"]


async def waiting_call(house: House, ann: Person, turn_id: str) -> ToolCallDelta:
    """The call of a running turn that waits for a word."""
    found: list[ToolCallDelta] = []

    def look() -> bool:
        live = house.live.get(turn_id)
        found[:] = [one for one in live.deltas if isinstance(one, ToolCallDelta) and one.asks] if live else []
        return bool(found)

    await until(look)
    return found[-1]


@pytest.mark.parametrize(("said", "is_done"), [("once", True), ("always", True), ("declined", False)])
async def test_a_tool_that_acts_outward_asks_first(
    house: House, ann: Person, bob: Person, bench: Bench, fake_upstream: FakeUpstream, said: str, is_done: bool
) -> None:
    fake_upstream.tool_rounds[MODEL] = [[ToolAsk("write", '{"text": "hello"}')]]
    where = await ann.start()
    sent = await house.sending.send(ann.actor, where, None, "Write.", MODEL)
    turn_id = sent.turn_id or ""
    call = await waiting_call(house, ann, turn_id)
    assert bench.write.calls == []
    with pytest.raises(NotFound):
        await house.consents.answer(bob.actor, house.readers, turn_id, call.call_id, said)
    with pytest.raises(NotFound):
        await house.consents.answer(ann.actor, house.readers, turn_id, "another", said)
    assert await house.consents.answer(ann.actor, house.readers, turn_id, call.call_id, said) == said
    assert await house.consents.answer(ann.actor, house.readers, turn_id, call.call_id, "once") == said
    turn = await ann.ended(turn_id)
    assert turn.state == "done"
    assert len(bench.write.calls) == is_done
    results = [part for part in (await reply_of(ann, turn)).parts if isinstance(part, ToolResultPart)]
    assert [part.is_error for part in results] == [not is_done]

    sent = await house.sending.send(ann.actor, where, turn.reply_id, "Once more.", MODEL)
    if said == "always":
        await ann.ended(sent.turn_id)
        assert len(bench.write.calls) == 2
    else:
        call = await waiting_call(house, ann, sent.turn_id or "")
        await house.conversations.stop(ann.actor, sent.turn_id or "")
        await ann.ended(sent.turn_id)
        with pytest.raises(Conflict):
            await house.consents.answer(ann.actor, house.readers, sent.turn_id or "", call.call_id, "once")


async def test_nobody_answers_is_no(house: House, ann: Person, bench: Bench, fake_upstream: FakeUpstream) -> None:
    house.consents.wait_s = 0.1
    fake_upstream.tool_rounds[MODEL] = [[ToolAsk("write")]]
    turn = await ann.ended((await ann.ask(await ann.start(), "Write.", model=MODEL)).turn_id)
    assert bench.write.calls == []
    results = [part.text for part in (await reply_of(ann, turn)).parts if isinstance(part, ToolResultPart)]
    assert results == ["Nobody allowed this call in time. Go on without it."]


async def test_a_chat_with_asked_tools_can_be_erased(house: House, ann: Person, fake_upstream: FakeUpstream) -> None:
    house.consents.wait_s = 0.1
    fake_upstream.tool_rounds[MODEL] = [[ToolAsk("write")]]
    where = await ann.start()
    await ann.ask(where, "Write.", model=MODEL)
    await house.db.write(lambda tx: deletions.erase_conversation(tx, where))
    left = await house.db.read(lambda tx: tx.one(int, "SELECT COUNT(*) FROM tool_consents"))
    assert left == 0


async def test_a_process_that_dies_in_the_middle_leaves_what_was_there(
    place: Place, fake_upstream: FakeUpstream, bench: Bench
) -> None:
    fake_upstream.tool_rounds[MODEL] = [[ToolAsk("look"), ToolAsk("hang", id="b")]]
    house = await open_house(place, fake_upstream, plugins=[("bench", bench)])
    ann = Person(house, Actor(await house.accounts.create("ann@example.org"), "web"))
    sent = await house.sending.send(ann.actor, await ann.start(), None, "Go.", MODEL)
    turn_id = sent.turn_id or ""
    await until(lambda: bench.hang.calls and bench.look.calls)
    live = house.live.get(turn_id)
    assert live is not None
    await until(lambda: live.stored_seq == live.last_seq)
    turn = await house.readers.turn(ann.actor, turn_id)
    assert await house.db.write(lambda tx: interrupt_turn(tx, turn, clock.now_us()))
    assert live.task is not None
    live.task.cancel()
    await asyncio.gather(live.task, return_exceptions=True)
    ended = await house.readers.turn(ann.actor, turn_id)
    reply = await reply_of(ann, ended)
    assert ended.state == "interrupted"
    assert ended.usage.calls == 1, "the first round was metered when it ended"
    assert not ended.usage.estimated
    assert [type(part) for part in reply.parts] == [TextPart, ToolCallPart, ToolCallPart, ToolResultPart]
    assert [state for state, _ in await calls_of(house, ended)] == ["done"]
    fake_upstream.tool_rounds.clear()
    more = await house.sending.continue_reply(ann.actor, ended.reply_id)
    assert (await ann.ended(more.turn_id)).state == "done"
    await close_house(house)
