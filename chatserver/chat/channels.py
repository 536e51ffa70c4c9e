"""Connecting a service: look at it, keep it sealed, serve it on every node within seconds, take it away again."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import msgspec
import structlog

from chatserver.chat.asides import Asides
from chatserver.chat.audit import entry_by, write_noted
from chatserver.chat.permissions import Permissions
from chatserver.chat.refusals import refused
from chatserver.chat.sealing import Seal
from chatserver.chat.wishes import NAME_LIMIT, address_of, check_key
from chatserver.clock import new_id, now_us
from chatserver.domain.access import Actor
from chatserver.domain.extend import ChannelOffer, PromptMessage, Refusal
from chatserver.domain.messages import TextPart
from chatserver.domain.models import Channel, ChannelLine, Model, first_token_patience_s, parse_alias
from chatserver.errors import BadInput, ChatserverError, Conflict, NotFound, SetupError, _
from chatserver.gateway.catalog import Catalog
from chatserver.plugins import Plugins
from chatserver.store import channels as channel_rows
from chatserver.store import model_rules
from chatserver.store.channels import ChannelRow
from chatserver.store.database import Database, Tx

log = structlog.get_logger("chatserver.channels")

LOOK_EVERY_S = 2.0
"""How often a node looks whether another changed the channels; a change holds everywhere within five seconds."""
TRIAL_TOKENS = 64
TAKEN = _("There is a channel of this name already. Take another name.")
"""Room for a model that thinks before it says hello."""
PERMISSION = "admin.console"
CONSOLE = "console"
"""The source of a channel that was connected here, as opposed to the file's and to those found."""

_decode_names = msgspec.json.Decoder(tuple[str, ...]).decode


class Connection(msgspec.Struct, frozen=True):
    """A service as somebody typed it in."""

    provider: str
    base_url: str = ""
    api_key: str = ""
    name: str = ""


class Trial(msgspec.Struct, frozen=True):
    """One real request. first_token_ms: from asking to the first word. text: how the answer began."""

    model: str
    first_token_ms: int
    text: str


class Channels:
    """The channels kept in the database, on this node. Only admins change or see them."""

    def __init__(
        self,
        db: Database,
        plugins: Plugins,
        catalog: Catalog,
        asides: Asides,
        permissions: Permissions,
        secret_key: bytes,
    ) -> None:
        self._db = db
        self._plugins = plugins
        self._catalog = catalog
        self._asides = asides
        self._permissions = permissions
        self._seal = Seal(secret_key, "channels")
        self._version = ""
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Serve what is kept. Raises SetupError when a kept key does not open with this secret key."""
        await self._serve(await self._db.read(channel_rows.channels_version))
        self._task = asyncio.create_task(self._watch(), name="channels")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def offers(self) -> list[ChannelOffer]:
        """Services that can be connected: those whose provider is here."""
        offered = [offer for _, offer in self._plugins.registered("register_channel_offers")]
        return [offer for offer in offered if offer.provider in self._catalog.providers]

    async def lines(self, actor: Actor) -> list[ChannelLine]:
        """Every channel of this node, wherever it comes from, but the demo's."""
        await self._permissions.require(actor, PERMISSION)
        kept = {row.name: row.id for row in await self._db.read(channel_rows.channels)}
        titles = {(offer.provider, offer.base_url): offer.title for offer in self.offers()}
        lines = []
        for report in self._catalog.reports():
            channel = report.channel
            models = self._catalog.models_of(channel.name)
            if channel.priority < 0 or (models and all(model.is_demo for model in models)):
                continue
            title = titles.get((channel.provider, channel.base_url), "") or channel.name
            kept_id = kept.get(channel.name, "") if channel.source == CONSOLE else ""
            first = next((model.id for model in models if model.chats), "")
            lines.append(
                ChannelLine(channel.name, title, channel.source, report.models, report.problem, kept_id, first)
            )
        return lines

    async def connect(self, actor: Actor, wanted: Connection) -> tuple[str, tuple[Model, ...]]:
        """Ask the service for its models and, when it answers with some, keep it: its name and its models.

        Raises BadInput, Conflict `name_taken`, or UpstreamError with what the service said; then nothing is kept.
        """
        await self._permissions.require(actor, PERMISSION)
        name = wanted.name.strip()[:NAME_LIMIT] or self._name_for(wanted)
        row = ChannelRow(
            id=new_id(),
            name=name,
            provider=wanted.provider,
            base_url=address_of(wanted.base_url),
            sealed_key="",
            models="[]",
            priority=0,
            weight=1,
            groups='["default"]',
            is_on=True,
            note="",
            created_at=now_us(),
            changed_at=now_us(),
        )
        if (key := check_key(wanted.api_key)) != "":
            row = msgspec.structs.replace(row, sealed_key=self.sealed(row, key))
        if name in {report.channel.name for report in self._catalog.reports()}:
            raise Conflict(TAKEN, code="name_taken")
        models = await self._catalog.look(self.channel_of(row))
        if not models:
            raise BadInput("It answers, but names no model. Look whether one is loaded there.", code="no_models")
        entry = entry_by(actor, "channel_connected", name, provider=row.provider)
        if not await write_noted(self._db, lambda tx: channel_rows.insert_channel(tx, row), entry):
            raise Conflict(TAKEN, code="name_taken")
        await self.look()
        return name, models

    async def disconnect(self, actor: Actor, channel_id: str) -> None:
        """Raises NotFound."""
        await self._permissions.require(actor, PERMISSION)

        def remove(tx: Tx) -> str:
            held = channel_rows.channel_of(tx, channel_id)
            return held.name if held is not None and channel_rows.remove_channel(tx, channel_id, now_us()) else ""

        if not await write_noted(self._db, remove, lambda name: entry_by(actor, "channel_removed", name)):
            raise NotFound
        await self.look()

    async def test(self, actor: Actor, model_id: str) -> Trial:
        """One real, very short request to a model. Raises UpstreamError with what the service said, BadInput."""
        await self._permissions.require(actor, PERMISSION)
        if not self._catalog.candidates(model_id, actor.account.groups):
            raise BadInput("There is no such model here. Pick one from the list.", code="unknown_model", status=422)
        messages = (PromptMessage("user", (TextPart("Say hello in one word."),)),)
        answer = await self._asides.ask(actor.account, "probe", model_id, messages, max_output=TRIAL_TOKENS)
        if isinstance(answer, Refusal):
            raise refused(answer)
        if answer.error is not None:
            raise answer.error
        return Trial(model_id, answer.first_token_ms, answer.text.strip()[:80])

    async def look(self) -> None:
        """Serve what is kept by now, when it is not what was kept before."""
        version = await self._db.read(channel_rows.channels_version)
        if version != self._version:
            await self._serve(version)

    async def _serve(self, version: str) -> None:
        rows = await self._db.read(channel_rows.channels)
        self._version = version
        self._catalog.rule(await self._db.read(model_rules.model_rules))
        await self._catalog.keep([self.channel_of(row) for row in rows if row.is_on])

    async def _watch(self) -> None:
        problem = ""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await self.look()
                problem = ""
            except ChatserverError as error:  # the database is away, or another node has another secret key
                if error.message != problem:
                    log.warning("channels_not_read", problem=error.message)
                problem = error.message

    def sealed(self, row: ChannelRow, key: str) -> str:
        """The key as it is kept; it opens beside the row's address only."""
        return self._seal.seal(key, _place(row))

    def channel_of(self, row: ChannelRow) -> Channel:
        """Ready to be asked. Raises SetupError when its key does not open with this secret key."""
        try:
            key = self._seal.open(row.sealed_key, _place(row)) if row.sealed_key else ""
        except SetupError as error:
            raise SetupError(f"Channel {row.name!r}: {error.message}") from error
        return Channel(
            name=row.name,
            provider=row.provider,
            base_url=row.base_url,
            api_key=key,
            models=tuple(parse_alias(alias) for alias in _decode_names(row.models)),
            priority=row.priority,
            weight=row.weight,
            groups=_decode_names(row.groups),
            source=CONSOLE,
            first_token_s=first_token_patience_s(row.base_url),
            requests_per_minute=row.requests_per_minute,
            tokens_per_minute=row.tokens_per_minute,
            concurrency=row.concurrency,
            note=row.note,
            id=row.id,
        )

    def _name_for(self, wanted: Connection) -> str:
        """A name nobody has: the host's, or the provider's, with a number when it must be."""
        taken = {report.channel.name for report in self._catalog.reports()}
        try:
            host = urlsplit(wanted.base_url).netloc
        except ValueError:
            host = ""
        base = (host or wanted.provider)[: NAME_LIMIT - 4]
        return next(
            name for number in range(1, 1000) if (name := f"{base} {number}" if number > 1 else base) not in taken
        )


def _place(row: ChannelRow) -> str:
    """A key opens only beside the address it was given for."""
    return f"{row.id} {row.provider} {row.base_url}"
