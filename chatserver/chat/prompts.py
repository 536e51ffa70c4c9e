"""From a branch to what is sent: the path below its last marker, cut to the model's window, then handed to plugins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from chatserver.chat.estimates import Estimates
from chatserver.chat.lengths import Lengths
from chatserver.chat.refusals import refused
from chatserver.chat.showing import Showing
from chatserver.domain.access import Account
from chatserver.domain.calls import estimate_tokens
from chatserver.domain.extend import Prompt, PromptMessage, Refusal
from chatserver.domain.messages import CitationPart, Message, Parts, TextPart, text_of
from chatserver.domain.models import Model
from chatserver.domain.sources import citations_of, number, quoted
from chatserver.domain.tree import (
    TOKENS_PER_MESSAGE,
    FittedPath,
    below_marker,
    count_parts,
    count_tokens,
    fit,
    to_prompt,
)
from chatserver.domain.tuning import UNTUNED, Tuning
from chatserver.domain.turns import Turn
from chatserver.plugins import Plugins
from chatserver.store import messages as message_rows
from chatserver.store import sources as source_rows
from chatserver.store import tunings as tuning_rows
from chatserver.store.database import Database, Tx

_PAGE = 64
_LARGEST_PAGE = 1024
UNKNOWN_WINDOW = 128_000
"""What is assumed of a model whose upstream does not tell: most of today's have this much or more."""
_RESERVE_LIMIT = 8192
"""Tokens kept free for the answer: a quarter of the window, at most this many."""
SOURCES_SHARE = 2
"""Passages take at most half of what a prompt may use, or a small model would read nothing else."""


class PreparedPrompt(msgspec.Struct, frozen=True):
    """estimated_input: tokens of the prompt by our own count, uncorrected. left_out: messages that were read and
    did not fit; unread_tip: where the path above goes on that was not even read. branch: what the last `messages`
    messages down to tip_id gave, before anybody added to it. citations: what the reply will be sealed with."""

    prompt: Prompt
    estimated_input: int
    left_out: int
    unread_tip: str | None = None
    branch: tuple[PromptMessage, ...] = ()
    tip_id: str | None = None
    messages: int = 0
    is_cleared: bool = False
    citations: tuple[CitationPart, ...] = ()


class PromptSize(msgspec.Struct, frozen=True):
    """input_tokens: corrected for the model. max_output: what the chat bounds its answers to, 0 for no bound."""

    input_tokens: int
    max_output: int


class _Read(msgspec.Struct, frozen=True):
    """What of a conversation a prompt is made from; unread_tip: where its branch goes on above."""

    tuning: Tuning
    path: list[Message]
    unread_tip: str | None


def window_budget(model: Model, max_output: int = 0) -> int:
    """Tokens of a model's window a prompt may use; of an upstream that does not tell, a common window's."""
    window = model.context_tokens or UNKNOWN_WINDOW
    reserve = max_output or min(window // 4, _RESERVE_LIMIT)
    return max(window - reserve, window // 4)


def load_path(
    tx: Tx, conversation_id: str, tip_id: str, budget_tokens: int, factor: float, *, is_short: bool = False
) -> tuple[list[Message], str | None]:
    """The path down to a tip, read upward as far as the budget needs; and the message above it, if it was not read.
    is_short: read one page only."""
    path: list[Message] = []
    spent = 0
    size = _PAGE
    current: str | None = tip_id
    while current is not None:
        page = message_rows.path_to(tx, conversation_id, current, size)
        size = min(size * 4, _LARGEST_PAGE)
        if not page:
            break
        path = page + path
        spent += sum(count_tokens(message, factor) for message in page)
        current = page[0].parent_id
        if any(message.cleared_after for message in page):
            return path, None
        if spent > budget_tokens or is_short:
            break
    return path, current


class Choice(msgspec.Struct, frozen=True):
    """What of a branch is sent, before plugins add to it. system: what stands above it."""

    fitted: FittedPath
    system: tuple[PromptMessage, ...]
    parameters: dict[str, Any]
    is_cleared: bool

    @property
    def tokens(self) -> int:
        """By our own count, uncorrected."""
        return _cost(self.system) + sum(count_tokens(message) for message in self.fitted.messages)


def choose(path: Sequence[Message], tuning: Tuning, model: Model, factor: float) -> Choice:
    """The one way from a branch to a prompt: for the page, the API, another try, and what admission is told."""
    visible = below_marker(path)
    system = (PromptMessage("system", (TextPart(tuning.system_prompt),)),) if tuning.system_prompt.strip() else ()
    parameters = tuning.parameters.for_model(model)
    budget = window_budget(model, parameters.get("max_output", 0)) - int(_cost(system) * factor)
    return Choice(fit(visible, max(budget, 1), factor), system, parameters, len(visible) < len(path))


def with_passages(prompt: Prompt, passages: Parts) -> Prompt:
    """The prompt with what is quoted before the last question."""
    if not passages:
        return prompt
    place = max((at for at, one in enumerate(prompt.messages) if one.role == "user"), default=0)
    told = PromptMessage("system", passages)
    return msgspec.structs.replace(prompt, messages=(*prompt.messages[:place], told, *prompt.messages[place:]))


def _goes_on_from(path: Sequence[Message]) -> tuple[CitationPart, ...]:
    """The citations of a reply that is continued: the words that follow name the same numbers."""
    return citations_of(path[-1].parts) if path and path[-1].role == "assistant" else ()


def _cost(messages: Sequence[PromptMessage]) -> int:
    return sum(TOKENS_PER_MESSAGE + estimate_tokens(text_of(message.parts)) for message in messages)


class Prompts:
    """Makes the prompt of a turn. The same function serves the page, the API, sharing and metering."""

    def __init__(self, db: Database, plugins: Plugins, estimates: Estimates, showing: Showing) -> None:
        self._db = db
        self._plugins = plugins
        self._estimates = estimates
        self._showing = showing
        self._lengths = Lengths()

    async def prepare(
        self,
        turn: Turn,
        tip: Message | None,
        parent_id: str | None,
        model: Model,
        account: Account,
        committed: Callable[[], Awaitable[None]],
    ) -> PreparedPrompt:
        """tip: a message just made and perhaps not committed yet, below `parent_id`. committed: waited for before a
        long branch is read, which would take the processor from who waits for the commit, and before sources are kept,
        which belong to the reply."""
        read = await self._db.read(lambda tx: self._look(tx, turn, parent_id, model, is_short=True))
        if read.unread_tip is not None:
            await committed()
            read = await self._db.read(lambda tx: self._look(tx, turn, parent_id, model))
        path = read.path if tip is None else [*read.path, tip]
        chosen = choose(path, read.tuning, model, self._estimates.factor(model.id))
        branch = to_prompt(chosen.fitted.messages)
        prompt = Prompt(
            messages=(*chosen.system, *await self._showing.fill(branch, model, account)),
            model=model,
            account=account,
            conversation_id=turn.conversation_id,
            turn_id=turn.id,
            parameters=chosen.parameters,
            labels=turn.labels,
            fields=turn.parameters,
        )
        if self._plugins.has("prepare_prompt"):
            changed = await self._plugins.chain("prepare_prompt", prompt)
            if isinstance(changed, Refusal):
                raise refused(changed)
            prompt = changed
        citations = number(prompt.sources, _goes_on_from(path), window_budget(model) // SOURCES_SHARE)
        if citations:
            await committed()
            await self._db.write(lambda tx: source_rows.keep_sources(tx, turn, citations))
            prompt = with_passages(prompt, quoted(citations))
        return PreparedPrompt(
            prompt,
            chosen.tokens + count_parts(quoted(citations)),
            chosen.fitted.left_out,
            read.unread_tip,
            branch=branch,
            tip_id=path[-1].id if path else None,
            messages=len(chosen.fitted.messages),
            is_cleared=chosen.is_cleared,
            citations=citations,
        )

    async def size(self, turn: Turn, tip: Message | None, parent_id: str | None, model: Model) -> PromptSize:
        """What would be sent, before plugins add to it: what admission is told."""
        read = await self._db.read(lambda tx: self._look(tx, turn, parent_id, model))
        factor = self._estimates.factor(model.id)
        chosen = choose(read.path if tip is None else [*read.path, tip], read.tuning, model, factor)
        tokens = sum(count_tokens(message, factor) for message in chosen.fitted.messages)
        return PromptSize(tokens + int(_cost(chosen.system) * factor), chosen.parameters.get("max_output", 0))

    def _look(self, tx: Tx, turn: Turn, parent_id: str | None, model: Model, *, is_short: bool = False) -> _Read:
        # a conversation that is being made has no row yet, and nothing set
        tuning = tuning_rows.tuning_of(tx, turn.account_id, turn.conversation_id) or UNTUNED
        if parent_id is None:
            return _Read(tuning, [], None)
        factor = self._estimates.factor(model.id)
        budget = window_budget(model, tuning.parameters.for_model(model).get("max_output", 0))
        path, unread = load_path(tx, turn.conversation_id, parent_id, budget, factor, is_short=is_short)
        return _Read(tuning, path, unread)

    async def count_left_out(self, conversation_id: str, prepared: PreparedPrompt) -> int:
        """How many messages of the branch the model did not get. Asked at the end: a long branch takes a while."""
        tip = prepared.unread_tip
        if tip is None:
            return prepared.left_out
        return prepared.left_out + await self._db.read(lambda tx: self._lengths.of(tx, conversation_id, tip))
