"""A whole house in this process: each engine in turn, the OpenAI-compatible plugin, and a fake vendor over HTTP."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import chatserver_openai
import pytest

from chatserver.clock import monotonic_s
from chatserver.domain.access import Actor
from chatserver.domain.buses import Bus
from chatserver.domain.conversations import Sent
from chatserver.domain.messages import text_of
from chatserver.domain.models import Channel, ModelAlias
from chatserver.domain.turns import EndDelta, ResetDelta, TextDelta, Turn
from chatserver.gateway.egress import EgressClient
from chatserver.house import House, migration_sets
from chatserver.plugins import Plugins
from chatserver.store.folder import FolderStore
from chatserver.store.sqlite import SqliteDatabase
from chatserver.testing.upstream import FakeUpstream
from tests.engines import ENGINES, open_postgres, postgres_with_schema

SECRET = b"0123456789abcdef0123456789abcdef"
MODELS = [
    "fake-n5",
    "fake-echo",
    "fake-n5-b",
    "fake-n200-gap10",
    "fake-n20-gap20-cut5",
    "fake-err500",
    "fake-err401",
    "fake-think5-n5",
    "fake-n3-nousage",
    "fake-n2000-gap1",
    "fake-hang",
    "fake-blind",
]
FOLDER = "chatserver-files-"
LIMITS = {"turns_per_account": 0, "turns_per_node": 0}


async def until(is_true: Callable[[], Any], timeout_s: float = 5.0) -> None:
    """Wait until a condition holds, or fail."""
    deadline = monotonic_s() + timeout_s
    while not is_true():
        assert monotonic_s() < deadline, "waited in vain"
        await asyncio.sleep(0.005)


Place = Path | str
"""Where a house keeps its things: a file of SQLite's, or the URL of a database."""


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """A module about one engine says so by a fixture of this name."""
    return str(request.param)


@pytest.fixture
async def place(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """A fresh database, this test's own."""
    if engine == "sqlite":
        yield tmp_path / "chat.db"
        return
    async with postgres_with_schema(request.getfixturevalue("postgres_server")) as url:
        yield url


async def open_house(
    place: Place,
    upstream: FakeUpstream,
    *,
    plugins: list[tuple[str, object]] | None = None,
    limits: dict[str, int] | None = None,
    bus: Bus | None = None,
    folder: Path | None = None,
) -> House:
    """folder: for files; without one it is beside SQLite's file, or a fresh one that close_house takes away."""
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix=FOLDER)) if isinstance(place, str) else place.with_suffix(".files")
    loaded = Plugins.load(found=[], extra=[("openai", chatserver_openai), *(plugins or [])])
    db = await open_postgres(place) if isinstance(place, str) else SqliteDatabase.open(place)
    await db.migrate(migration_sets(db.engine, loaded))
    channel = Channel(
        name="fake",
        provider="openai",
        base_url=upstream.base_url,
        api_key="sk-fake",
        models=tuple(ModelAlias(name, name) for name in MODELS),
    )
    house = House(
        db=db,
        plugins=loaded,
        http=EgressClient(),
        channels=[channel],
        limits={**LIMITS, **(limits or {})},
        secret_key=SECRET,
        grace_s=1,
        bus=bus,
        blob_store=FolderStore(folder / "blobs"),
        spool=folder / "spool",
    )
    await house.start()
    return house


async def close_house(house: House) -> None:
    await house.stop()
    await house.http.close()  # type: ignore[attr-defined]
    await house.db.close()
    if house.blobs.spool.parent.name.startswith(FOLDER):
        shutil.rmtree(house.blobs.spool.parent)


@pytest.fixture
async def house(place: Place, fake_upstream: FakeUpstream) -> AsyncIterator[House]:
    house = await open_house(place, fake_upstream)
    yield house
    await close_house(house)


class Person:
    """Somebody who chats, and waits for answers."""

    def __init__(self, house: House, actor: Actor) -> None:
        self.house = house
        self.actor = actor

    async def start(self, title: str = "A person's title") -> str:
        return (await self.house.conversations.create(self.actor, title)).id

    async def ask(
        self, conversation_id: str | None, text: str, *, parent: str | None = None, model: str = "fake-n5"
    ) -> Sent:
        sent = await self.house.sending.send(self.actor, conversation_id, parent, text, model)
        await self.ended(sent.turn_id)
        return sent

    async def ended(self, turn_id: str | None) -> Turn:
        assert turn_id is not None
        turn = await self.house.readers.turn(self.actor, turn_id)
        async for _ in self.house.readers.follow(self.actor, turn, 0):
            pass
        return await self.house.readers.turn(self.actor, turn_id)

    async def read(self, turn_id: str | None, after: int = 0) -> tuple[str, list[int], EndDelta | None]:
        assert turn_id is not None
        turn = await self.house.readers.turn(self.actor, turn_id)
        text, numbers, end = "", [], None
        async for batch in self.house.readers.follow(self.actor, turn, after):
            for number, delta in batch:
                numbers.append(number)
                if isinstance(delta, TextDelta):
                    text += delta.text
                elif isinstance(delta, ResetDelta):
                    text = delta.text
                elif isinstance(delta, EndDelta):
                    end = delta
        return text, numbers, end

    async def path(self, conversation_id: str, tip: str | None = None) -> list[str]:
        return [m.id for m in await self.house.conversations.path(self.actor, conversation_id, tip)]

    async def texts(self, conversation_id: str, tip: str | None = None) -> list[str]:
        return [text_of(m.parts) for m in await self.house.conversations.path(self.actor, conversation_id, tip)]


@pytest.fixture
async def ann(house: House) -> Person:
    return Person(house, Actor(await house.accounts.create("ann@example.org"), "web"))


@pytest.fixture
async def bob(house: House) -> Person:
    return Person(house, Actor(await house.accounts.create("bob@example.org"), "web"))
