"""From a branch to what is sent: the path below its last marker, cut to the model's window, then handed to plugins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from chatserver.chat.estimates import Estimates
from chatserver.chat.refusals import refused
from chatserver.domain.access import Account
from chatserver.domain.extend import Prompt, Refusal
from chatserver.domain.messages import Message
from chatserver.domain.models import Model
from chatserver.domain.tree import below_marker, count_tokens, fit, to_prompt
from chatserver.domain.turns import Turn
from chatserver.plugins import Plugins
from chatserver.store import messages as message_rows
from chatserver.store.database import Database, Tx

_PAGE = 64
_LARGEST_PAGE = 1024
UNKNOWN_WINDOW = 128_000
"""What is assumed of a model whose upstream does not tell: most of today's have this much or more."""
_RESERVE_LIMIT = 8192
"""Tokens kept free for the answer: a quarter of the window, at most this many."""


class PreparedPrompt(msgspec.Struct, frozen=True):
    """estimated_input: tokens of the prompt by our own count, uncorrected. left_out: messages that were read and
    did not fit; unread_tip: where the path above goes on that was not even read."""

    prompt: Prompt
    estimated_input: int
    left_out: int
    unread_tip: str | None = None


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


class Prompts:
    """Makes the prompt of a turn. The same function serves the page, the API, sharing and metering."""

    def __init__(self, db: Database, plugins: Plugins, estimates: Estimates) -> None:
        self._db = db
        self._plugins = plugins
        self._estimates = estimates

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
        long branch is read, which would take the processor from who waits for the commit."""
        factor = self._estimates.factor(model.id)
        budget = window_budget(model)
        path: list[Message] = []
        unread_tip = None
        if parent_id is not None:
            top = parent_id

            def read_end(tx: Tx) -> tuple[list[Message], str | None]:
                return load_path(tx, turn.conversation_id, top, budget, factor, is_short=True)

            def read_all(tx: Tx) -> tuple[list[Message], str | None]:
                return load_path(tx, turn.conversation_id, top, budget, factor)

            path, unread_tip = await self._db.read(read_end)
            if unread_tip is not None:
                await committed()
                path, unread_tip = await self._db.read(read_all)
        if tip is not None:
            path.append(tip)
        visible = below_marker(path)
        fitted = fit(visible, budget, factor)
        prompt = Prompt(
            messages=to_prompt(fitted.messages),
            model=model,
            account=account,
            conversation_id=turn.conversation_id,
            turn_id=turn.id,
            labels=turn.labels,
            fields=turn.parameters,
        )
        if self._plugins.has("prepare_prompt"):
            changed = await self._plugins.chain("prepare_prompt", prompt)
            if isinstance(changed, Refusal):
                raise refused(changed)
            prompt = changed
        estimated = sum(count_tokens(message) for message in fitted.messages)
        return PreparedPrompt(prompt, estimated, fitted.left_out, unread_tip)

    async def estimate_input(
        self, conversation_id: str, tip: Message | None, parent_id: str | None, model: Model
    ) -> int:
        """Tokens of the prompt that would be sent, before plugins add to it: what admission is told."""
        factor = self._estimates.factor(model.id)
        budget = window_budget(model)
        path: list[Message] = []
        if parent_id is not None:
            path, _ = await self._db.read(lambda tx: load_path(tx, conversation_id, parent_id, budget, factor))
        if tip is not None:
            path = [*path, tip]
        return sum(count_tokens(message, factor) for message in fit(below_marker(path), budget, factor).messages)

    async def count_left_out(self, conversation_id: str, prepared: PreparedPrompt) -> int:
        """How many messages of the branch the model did not get. Asked at the end: a long branch takes a while."""
        tip = prepared.unread_tip
        if tip is None:
            return prepared.left_out
        return prepared.left_out + await self._db.read(lambda tx: message_rows.length_to(tx, conversation_id, tip))
