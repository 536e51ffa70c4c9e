"""Channels and models as admins see and change them; every node serves what was decided within seconds."""

from __future__ import annotations

import msgspec

from chatserver.chat.asides import Asides
from chatserver.chat.audit import entry_by, write_noted
from chatserver.chat.channels import CONSOLE, PERMISSION, TAKEN, TRIAL_TOKENS, Channels, Trial
from chatserver.chat.embedders import embedders
from chatserver.chat.permissions import Permissions
from chatserver.chat.refusals import refused
from chatserver.chat.wishes import check_groups, check_wish
from chatserver.clock import new_id, now_us
from chatserver.domain.access import Actor
from chatserver.domain.channels import ChannelEntry, ChannelWish, ModelEntry, ModelRule, Service
from chatserver.domain.extend import PromptMessage, Refusal
from chatserver.domain.messages import TextPart
from chatserver.domain.models import Channel
from chatserver.errors import BadInput, Conflict, NotFound
from chatserver.gateway.catalog import Catalog
from chatserver.store import channels as channel_rows
from chatserver.store import model_rules
from chatserver.store.channels import ChannelRow
from chatserver.store.database import Database, Tx

_decode_names = msgspec.json.Decoder(tuple[str, ...]).decode
_encode = msgspec.json.Encoder().encode


class Console:
    """Only who has `admin.console` sees or changes anything here; everybody else is Refused."""

    def __init__(
        self, db: Database, channels: Channels, catalog: Catalog, asides: Asides, permissions: Permissions
    ) -> None:
        self._db = db
        self._channels = channels
        self._catalog = catalog
        self._asides = asides
        self._permissions = permissions

    def providers(self) -> list[str]:
        return sorted(self._catalog.providers)

    async def entries(self, actor: Actor) -> list[ChannelEntry]:
        """Every channel: those that are served, then those that are off or hidden."""
        await self._permissions.require(actor, PERMISSION)
        rows = {row.name: row for row in await self._db.read(channel_rows.channels)}
        entries = []
        for report in self._catalog.reports():
            channel = report.channel
            row = rows.pop(channel.name, None) if channel.source == CONSOLE else None
            served = tuple(model.id for model in self._catalog.models_of(channel.name))
            wish = _wish_of(row) if row is not None else _written(channel)
            entries.append(
                ChannelEntry(
                    wish,
                    channel.source,
                    row.id if row is not None else "",
                    bool(channel.api_key),
                    served,
                    report.problem,
                )
            )
        served_names = {entry.wish.name for entry in entries}
        for row in rows.values():
            entries.append(
                ChannelEntry(
                    _wish_of(row),
                    CONSOLE,
                    row.id,
                    bool(row.sealed_key),
                    is_hidden=row.name in served_names,
                    has_provider=row.provider in self._catalog.providers,
                )
            )
        return sorted(entries, key=lambda entry: (-entry.wish.priority, entry.wish.name))

    async def entry(self, actor: Actor, channel_id: str) -> ChannelEntry:
        """One that can be changed here. Raises NotFound."""
        for entry in await self.entries(actor):
            if channel_id and entry.id == channel_id:
                return entry
        raise NotFound

    async def add(self, actor: Actor, wish: ChannelWish) -> str:
        """Keep and serve it: its id. Raises BadInput, Conflict `name_taken`."""
        await self._permissions.require(actor, PERMISSION)
        wish = self._check(wish)
        now = now_us()
        row = self._row(wish, ChannelRow(new_id(), "", "", "", "", "[]", 0, 1, "[]", True, "", now, now))
        entry = entry_by(actor, "channel_added", row.name, provider=row.provider)
        if self._is_written(wish.name) or not await write_noted(
            self._db, lambda tx: channel_rows.insert_channel(tx, row), entry
        ):
            raise Conflict(TAKEN, code="name_taken")
        await self._channels.look()
        return row.id

    async def change(self, actor: Actor, channel_id: str, wish: ChannelWish) -> None:
        """Raises NotFound, BadInput, Conflict `name_taken`."""
        await self._permissions.require(actor, PERMISSION)
        wish = self._check(wish)

        def write(tx: Tx) -> bool:
            channel_rows.lock_channels(tx)
            held = channel_rows.channel_of(tx, channel_id)
            if held is None:
                raise NotFound
            if wish.name != held.name and self._is_written(wish.name):
                return False
            return channel_rows.change_channel(tx, self._row(wish, held))

        key = "replaced" if wish.api_key else "forgotten" if wish.forgets_key else "kept"
        if not await write_noted(
            self._db, write, entry_by(actor, "channel_changed", wish.name, provider=wish.provider, key=key)
        ):
            raise Conflict(TAKEN, code="name_taken")
        await self._channels.look()

    async def switch(self, actor: Actor, channel_id: str, is_on: bool) -> str:
        """On or off, whatever it was before: its name. Raises NotFound."""
        await self._permissions.require(actor, PERMISSION)

        def write(tx: Tx) -> str:
            channel_rows.lock_channels(tx)
            held = channel_rows.channel_of(tx, channel_id)
            if held is None:
                raise NotFound
            channel_rows.change_channel(tx, msgspec.structs.replace(held, is_on=is_on, changed_at=now_us()))
            return held.name

        to = "on" if is_on else "off"
        name = await write_noted(self._db, write, lambda name: entry_by(actor, "channel_switched", name, to=to))
        await self._channels.look()
        return name

    async def test(self, actor: Actor, name: str, model: str = "") -> Trial:
        """One real, very short request through one channel, whether it is on or not: to this model, else to its first
        that chats, else to its first. A model that only embeds is asked for a vector.

        Raises NotFound, BadInput, and UpstreamError with what the service said.
        """
        await self._permissions.require(actor, PERMISSION)
        channel = await self._named(name)
        candidates = self._catalog.serves(channel) or self._catalog.told(channel, await self._catalog.look(channel))
        meant = sorted((one for one in candidates if model in ("", one.model.id)), key=lambda one: not one.model.chats)
        if not meant:
            raise BadInput("This channel names no such model. Pick another one.", code="unknown_model", status=422)
        through = meant[0]
        messages = (PromptMessage("user", (TextPart("Say hello in one word."),)),)
        answer = await self._asides.ask(
            actor.account,
            "probe",
            through.model.id,
            messages,
            max_output=TRIAL_TOKENS,
            through=through,
            providers=None if through.model.chats else embedders(self._catalog.providers, ("Hello",)),
        )
        if isinstance(answer, Refusal):
            raise refused(answer)
        if answer.error is not None:
            raise answer.error
        return Trial(through.model.id, answer.first_token_ms, answer.text.strip()[:80])

    async def models(self, actor: Actor) -> list[ModelEntry]:
        """Every model that a channel serves, or that somebody decided about."""
        await self._permissions.require(actor, PERMISSION)
        ids = {row.name: row.id for row in await self._db.read(channel_rows.channels)}
        problems = {report.channel.name: report.problem for report in self._catalog.reports()}
        services: dict[str, list[Service]] = {}
        known = {}
        for one in self._catalog.all_served():
            channel = one.channel
            known[one.model.id] = one.model
            services.setdefault(one.model.id, []).append(
                Service(
                    channel.name,
                    ids.get(channel.name, "") if channel.source == CONSOLE else "",
                    one.upstream_model,
                    channel.priority,
                    channel.weight,
                    channel.groups,
                    not problems.get(channel.name),
                )
            )
        rules = {rule.model: rule for rule in await self._db.read(model_rules.model_rules)}
        entries = []
        for name in sorted({*known, *rules}):
            model = known.get(name)
            rule = rules.get(name) or ModelRule(name)
            if model is None and rule == ModelRule(name):
                continue
            ranked = sorted(services.get(name, ()), key=lambda service: (-service.priority, service.channel))
            entries.append(
                ModelEntry(
                    name,
                    model.title if model else name,
                    rule,
                    tuple(ranked),
                    model.is_demo if model else False,
                    model.context_tokens if model else 0,
                    model is not None and not model.chats,
                )
            )
        return entries

    async def rule(self, actor: Actor, rule: ModelRule) -> None:
        """From the next request on, on every node. Raises NotFound for a model nobody serves, BadInput."""
        await self._permissions.require(actor, PERMISSION)
        if all(entry.model != rule.model for entry in await self.models(actor)):
            raise NotFound
        rule = msgspec.structs.replace(rule, groups=check_groups(rule.groups))
        to = "on" if rule.is_on else "off"

        def write(tx: Tx) -> bool:
            model_rules.put_model_rule(tx, rule, now_us())
            return True

        await write_noted(
            self._db, write, entry_by(actor, "model_ruled", rule.model, to=to, groups=", ".join(rule.groups))
        )
        await self._channels.look()

    def _check(self, wish: ChannelWish) -> ChannelWish:
        if wish.provider not in self._catalog.providers:
            raise BadInput("There is no such kind of service here. Pick one from the list.", code="unknown_provider")
        return check_wish(wish)

    def _is_written(self, name: str) -> bool:
        """Whether a channel of the file, or one that was found, has this name and would win over one kept here."""
        return any(
            report.channel.name == name and report.channel.source != CONSOLE for report in self._catalog.reports()
        )

    def _row(self, wish: ChannelWish, held: ChannelRow) -> ChannelRow:
        """The row as wished. A key stays with the address it was given for: another one needs it typed again."""
        row = msgspec.structs.replace(
            held,
            name=wish.name,
            provider=wish.provider,
            base_url=wish.base_url,
            models=_encode(wish.models).decode(),
            priority=wish.priority,
            weight=wish.weight,
            groups=_encode(wish.groups).decode(),
            is_on=wish.is_on,
            note=wish.note,
            changed_at=now_us(),
            requests_per_minute=wish.requests_per_minute,
            tokens_per_minute=wish.tokens_per_minute,
            concurrency=wish.concurrency,
        )
        if wish.api_key:
            return msgspec.structs.replace(row, sealed_key=self._channels.sealed(row, wish.api_key))
        if wish.forgets_key or not held.sealed_key:
            return msgspec.structs.replace(row, sealed_key="")
        if (row.provider, row.base_url) != (held.provider, held.base_url):
            raise BadInput(
                "A key is sent to no other address than the one it was given for. Type the key again, or tick the box"
                " to forget it.",
                code="key_needed",
                status=422,
            )
        return row

    async def _named(self, name: str) -> Channel:
        for report in self._catalog.reports():
            if report.channel.name == name:
                return report.channel
        for row in await self._db.read(channel_rows.channels):
            if row.name == name:
                return self._channels.channel_of(row)
        raise NotFound


def _wish_of(row: ChannelRow) -> ChannelWish:
    return ChannelWish(
        name=row.name,
        provider=row.provider,
        base_url=row.base_url,
        models=_decode_names(row.models),
        priority=row.priority,
        weight=row.weight,
        groups=_decode_names(row.groups),
        requests_per_minute=row.requests_per_minute,
        tokens_per_minute=row.tokens_per_minute,
        concurrency=row.concurrency,
        is_on=row.is_on,
        note=row.note,
    )


def _written(channel: Channel) -> ChannelWish:
    """A channel of the file, or one that was found."""
    names = (one.public if one.public == one.upstream else f"{one.public}={one.upstream}" for one in channel.models)
    return ChannelWish(
        name=channel.name,
        provider=channel.provider,
        base_url=channel.base_url,
        models=tuple(names),
        priority=channel.priority,
        weight=channel.weight,
        groups=channel.groups,
        requests_per_minute=channel.requests_per_minute,
        tokens_per_minute=channel.tokens_per_minute,
        concurrency=channel.concurrency,
        is_on=channel.is_on,
        note=channel.note,
    )
