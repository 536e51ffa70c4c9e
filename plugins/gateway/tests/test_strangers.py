"""Four llmocks, a fake written by strangers, as the channels of one model: errors at a rate and in a row, waits, broken
and silent answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from llmock.chaos import ChaosSettings
from llmock.pytest_plugin import LLMock
from llmock.testing import LLMockServer

from chatserver import Channel, ModelAlias
from chatserver.testing.server import open_site

MODEL = "gpt-4o"
NAMES = ("errs", "waits", "breaks", "well")
QUESTIONS = 24


@pytest.fixture
def strangers() -> Iterator[dict[str, LLMock]]:
    with ExitStack() as stack:
        chaos = {"errs": ChaosSettings(error_rate_500=0.3, error_rate_503=0.2)}
        yield {name: LLMock(stack.enter_context(LLMockServer(chaos=chaos.get(name)))) for name in NAMES}


async def test_no_answer_fails_before_its_first_token(tmp_path: Path, strangers: dict[str, LLMock]) -> None:
    strangers["errs"].fail(500, times=3).fail(503, times=3)
    strangers["waits"].rate_limit(retry_after=20.0, times=4)
    strangers["breaks"].truncate(after_chunks=2, times=2)
    strangers["breaks"].stall(after_chunks=2, seconds=5.0, times=1)
    async with open_site(tmp_path) as site:
        await site.house.catalog.keep(
            Channel(
                name,
                "openai",
                stranger.base_url("openai"),
                "sk-test",
                models=(ModelAlias(MODEL, MODEL),),
                source="console",
                gap_s=1.0,
            )
            for name, stranger in strangers.items()
        )
        ann = await site.sign_up("ann@example.org")

        async def ask() -> tuple[str, list[str]]:
            chat = (await ann.post("/api/conversations", json={"title": "Mine"})).json()["id"]
            sent = await ann.post(f"/api/conversations/{chat}/messages", json={"text": "Hi", "model": MODEL})
            turn = sent.json()["turn_id"]
            await ann.get(f"/api/turns/{turn}/events")
            told = (await ann.get(f"/api/turns/{turn}")).json()
            return told["state"], [attempt["channel"] for attempt in told["attempts"]]

        told = []
        for _ in range(QUESTIONS // 4):
            told += await asyncio.gather(*(ask() for _ in range(4)))
        states = [state for state, _ in told]
        assert "failed" not in states
        assert states.count("interrupted") <= 3, "only what broke after its first words"
        assert all(len(set(channels)) == len(channels) <= len(NAMES) for _, channels in told)
        assert states.count("done") >= QUESTIONS - 3
