"""What a released version writes and reads, statement by statement: recorded from it once, run beside every later one.

At the release, before anything else is changed, for each engine:
python -m tests.store.lives sqlite > tests/store/life-VERSION-sqlite.jsonl
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from chatserver import __version__
from chatserver.domain.access import Actor
from chatserver.store.database import Database
from chatserver.store.rows import make_decoder
from chatserver.store.sqlite import SqliteDatabase
from chatserver.testing.postgres import PostgresServer
from chatserver.testing.upstream import FakeUpstream
from tests.chat.conftest import Person, Place, close_house, open_house
from tests.engines import open_postgres, schema_template

R = TypeVar("R")
FOLDER = Path(__file__).parent
RARE = "quillon"
SCALARS = {"int": int, "str": str, "bool": bool}


class Head(msgspec.Struct, frozen=True):
    """Who lived. tip: the reply below which the second part goes on; later: the reply at which it ends. statements:
    the texts, by the number that stands in the lines."""

    version: str
    engine: str
    account: str
    chat: str
    tip: str
    later: str
    statements: tuple[str, ...] = ()


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One statement. part: `first` is a whole life, `later` one more question below its tip. row: a scalar's name, or
    the columns that were read by name; rows: what came, in their order, or how many changed."""

    part: str
    unit: int
    writes: bool
    function: str
    sql: str
    parameters: dict[str, Any]
    row: str | list[str] | None = None
    rows: list[list[Any]] | int = 0


def row_type_of(row: str | list[str]) -> type[Any]:
    """Values as they lie in the database."""
    return SCALARS[row] if isinstance(row, str) else msgspec.defstruct("Raw", [(name, Any) for name in row])


def plain(value: Any) -> Any:
    return int(value) if isinstance(value, bool) else value


def values_of(row: Any) -> list[Any]:
    return [plain(value) for value in (msgspec.structs.astuple(row) if isinstance(row, msgspec.Struct) else [row])]


class RecordingTx:
    """A transaction whose statements are noted, with what came of them."""

    def __init__(self, tx: Any, note: Callable[..., None]) -> None:
        self.engine = tx.engine
        self._tx = tx
        self._note = note

    def all(self, row_type: type[Any], sql: str, **parameters: Any) -> list[Any]:
        if not issubclass(row_type, msgspec.Struct):
            found = self._tx.all(row_type, sql, **parameters)
            self._note(sql, parameters, row_type.__name__, [values_of(row) for row in found])
            return list(found)
        names = [field.encode_name for field in msgspec.structs.fields(row_type) if field.required]
        rows = [values_of(row) for row in self._tx.all(row_type_of(names), sql, **parameters)]
        self._note(sql, parameters, names, rows)
        return make_decoder(row_type, names)([tuple(row) for row in rows])

    def one(self, row_type: type[Any], sql: str, **parameters: Any) -> Any:
        rows = self.all(row_type, sql, **parameters)
        return rows[0] if rows else None

    def run(self, sql: str, **parameters: Any) -> int:
        changed = int(self._tx.run(sql, **parameters))
        self._note(sql, parameters, None, changed)
        return changed

    def queue(self, sql: str, **parameters: Any) -> None:
        self.run(sql, **parameters)

    def lock(self, name: str) -> None:
        self._tx.lock(name)


class Recorder:
    """Notes every unit that ends well. One at a time: what each one saw is what the ones before it left."""

    def __init__(self) -> None:
        self._alone = asyncio.Lock()
        self.part = "setup"
        self.lines: list[Line] = []
        self._unit = 0

    def listen(self, engine: type[Any]) -> None:
        """From here on, for this process."""
        for name in ("read", "write"):
            setattr(engine, name, self._heard(getattr(engine, name), writes=name == "write"))

    def _heard(self, call: Callable[..., Any], *, writes: bool) -> Callable[..., Any]:
        async def heard(database: Database, function: Callable[[Any], R], **more: Any) -> R:
            async with self._alone:
                return await call(database, lambda tx: self._run(function, tx, writes), **more)  # type: ignore[no-any-return]

        return heard

    def _run(self, function: Callable[[Any], R], tx: Any, writes: bool) -> R:
        noted: list[Line] = []
        part = self.part

        def note(sql: str, parameters: dict[str, Any], row: str | list[str] | None, rows: Any) -> None:
            noted.append(Line(part, 0, writes, caller(), sql, dict(parameters), row, rows))

        value = function(RecordingTx(tx, note))
        self._unit += 1
        # What the jobs do goes by the clock.
        if part != "setup" and not any(line.function.startswith("jobs.") for line in noted):
            self.lines += [msgspec.structs.replace(line, unit=self._unit) for line in noted]
        return value


def caller() -> str:
    """The function of the store that asks, as `messages.path_to`."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals["__name__"] == __name__:
        frame = frame.f_back
    return f"{frame.f_globals['__name__'].rpartition('.')[2]}.{frame.f_code.co_name}"


async def live(place: Place, upstream: FakeUpstream, recorder: Recorder) -> Head:
    """A little of everything a version of ours does."""
    house = await open_house(place, upstream)
    recorder.part = "first"
    account = await house.accounts.create("ann@example.org", role="admin")
    ann = Person(house, Actor(account, "web"))
    cookie = await house.accounts.open_session(account, "a browser")
    assert await house.accounts.actor_of_cookie(cookie) is not None
    made = await house.accounts.create_key(account, "a key")
    assert await house.accounts.actor_of_key(made.secret) is not None
    chat = await ann.start()
    first = await ann.ask(chat, f"What is a {RARE} by the river?")
    second = await ann.ask(chat, "And in winter?", parent=first.reply_id, model="fake-think5-n5")
    await ann.ask(chat, "又在夏天呢？", parent=second.reply_id)
    edited = await house.sending.edit(ann.actor, str(second.question_id), "And in spring?", "fake-n5")
    await ann.ended(edited.turn_id)
    again = await house.sending.regenerate(ann.actor, edited.reply_id)
    await ann.ended(again.turn_id)
    more = await house.sending.continue_reply(ann.actor, again.reply_id)
    await ann.ended(more.turn_id)
    stopped = await house.sending.send(ann.actor, chat, more.reply_id, "A long one.", "fake-n2000-gap1")
    async for _ in house.readers.follow(ann.actor, await house.readers.turn(ann.actor, str(stopped.turn_id)), 0):
        break
    await house.conversations.stop(ann.actor, str(stopped.turn_id))
    await ann.ended(stopped.turn_id)
    await house.conversations.clear_context(ann.actor, chat, more.reply_id)
    await house.conversations.restore_context(ann.actor, chat, more.reply_id)
    gone = await house.conversations.delete_message(ann.actor, str(second.question_id))
    await house.conversations.restore(ann.actor, gone.id)
    away = await house.conversations.delete_message(ann.actor, str(stopped.question_id))
    assert away.count == 2
    other = await ann.start("Another")
    await ann.ask(other, "Nothing to keep.")
    await house.conversations.update(ann.actor, other, title="Named", pinned=True)
    await house.conversations.restore(ann.actor, (await house.conversations.delete(ann.actor, other)).id)
    await house.conversations.update(ann.actor, chat, tip=more.reply_id)
    await read_all(ann, chat, more.reply_id)
    recorder.part = "later"
    later = await ann.ask(chat, f"One more about the {RARE}.", parent=more.reply_id)
    await read_all(ann, chat, later.reply_id)
    recorder.part = "setup"
    await close_house(house)
    return Head(__version__, house.db.engine, account.id, chat, more.reply_id, later.reply_id)


async def read_all(ann: Person, chat: str, tip: str) -> None:
    conversations = ann.house.conversations
    assert (await conversations.view(ann.actor, chat, limit=40)).tip_id == tip
    assert await conversations.path(ann.actor, chat) and await conversations.tree(ann.actor, chat)
    assert (await conversations.list(ann.actor))[0]
    assert await conversations.search(ann.actor, RARE)


def read(file: Path) -> tuple[Head, list[Line]]:
    first, *rest = file.read_bytes().splitlines()
    head = msgspec.json.decode(first, type=Head)
    lines = [msgspec.json.decode(line, type=Line) for line in rest]
    return head, [msgspec.structs.replace(line, sql=head.statements[int(line.sql)]) for line in lines]


def written(head: Head, lines: Iterable[Line]) -> Iterable[str]:
    numbers: dict[str, int] = {}
    short = [msgspec.structs.replace(line, sql=str(numbers.setdefault(line.sql, len(numbers)))) for line in lines]
    for line in [msgspec.structs.replace(head, statements=tuple(numbers)), *short]:
        yield msgspec.json.encode(line).decode()


async def run_again(db: Database, lines: Iterable[Line], swap: Mapping[str, str] | None = None) -> None:
    """Do it again, unit by unit, with some values swapped. Without a swap the same must come of every statement."""
    player = Player(swap or {})
    for _, unit in groupby(lines, lambda line: line.unit):
        statements = list(unit)
        act = db.write if statements[0].writes else db.read
        await act(lambda tx, given=statements: [player.repeat(tx, line) for line in given])  # type: ignore[misc]


class Player:
    """swap: other values for those of old. The index's own numbers are taken as they come."""

    def __init__(self, swap: Mapping[str, str]) -> None:
        self._swap = swap
        self._numbers: dict[int, int] = {}

    def repeat(self, tx: Any, line: Line) -> None:
        is_search = line.function.startswith("search.")
        numbers = self._numbers if is_search else {}
        parameters = {
            name: self._swap.get(value, value) if isinstance(value, str) else numbers.get(value, value)
            for name, value in line.parameters.items()
        }
        if line.row is None:
            came: list[list[Any]] | int = tx.run(line.sql, **parameters)
        else:
            came = [values_of(row) for row in tx.all(row_type_of(line.row), line.sql, **parameters)]
        if is_search and line.row == "int" and isinstance(came, list) and isinstance(line.rows, list):
            self._numbers.update((before[0], now[0]) for before, now in zip(line.rows, came, strict=False))
        assert self._swap or came == line.rows, f"{line.function} gives {came} instead of {line.rows}"


async def main(engine: str) -> None:
    recorder = Recorder()
    with FakeUpstream.in_thread() as upstream, tempfile.TemporaryDirectory() as folder:
        if engine == "sqlite":
            recorder.listen(SqliteDatabase)
            head = await live(Path(folder) / "chat.db", upstream, recorder)
        else:
            server = PostgresServer().start()
            try:
                place = server.url(server.create(await schema_template(server)))
                probe = await open_postgres(place)
                recorder.listen(type(probe))
                await probe.close()
                head = await live(place, upstream, recorder)
            finally:
                server.remove()
    print("\n".join(written(head, recorder.lines)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
