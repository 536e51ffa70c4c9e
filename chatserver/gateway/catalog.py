"""Which models there are, and which channels could serve each: from the file, from what was found, from upstreams."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Mapping

import msgspec
import structlog

from chatserver.domain.channels import ModelRule
from chatserver.domain.extend import Egress, Provider
from chatserver.domain.models import Candidate, Channel, Model
from chatserver.errors import BadInput, SetupError, UpstreamError
from chatserver.gateway.patience import Patience

log = structlog.get_logger("chatserver.catalog")

REFRESH_S = 300.0
RETRY_S = 15.0
"""How soon an upstream that did not tell its models is asked again: a model server just started is seen soon."""


FIND_S = 30.0
"""How often providers are asked anew for channels nobody wrote down: a model server is often started after this one."""

KEEP_S = 3.0
"""How long a change of the channels waits for what they serve; the rest of the answers come when they come."""

LOOK_S = 15.0
"""How long a person who just typed a key waits for the upstream's list."""


class ChannelReport(msgspec.Struct, frozen=True):
    """What is known of a channel: how many models it told, and the last problem in a sentence ('' when well)."""

    channel: Channel
    models: int
    problem: str = ""


class Catalog:
    """The channels and models of this node. Asked in memory; refreshed from upstreams beside the requests."""

    def __init__(self, providers: Mapping[str, Provider], channels: Iterable[Channel], http: Egress) -> None:
        self._providers = dict(providers)
        self._http = http
        self.patience = Patience()
        self._written: dict[str, Channel] = {}
        self._kept: dict[str, Channel] = {}
        self._last_resort: dict[str, Channel] = {}
        self._channels: dict[str, Channel] = {}
        self._listed: dict[str, tuple[Model, ...]] = {}
        self._served: dict[str, dict[str, Candidate]] = {}
        self._problems: dict[str, str] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._asking: set[asyncio.Task[None]] = set()
        self._rules: dict[str, ModelRule] = {}
        self._first = asyncio.Event()
        for channel in channels:
            self._add(channel)

    @property
    def providers(self) -> Mapping[str, Provider]:
        return self._providers

    def _add(self, channel: Channel) -> None:
        if channel.provider not in self._providers:
            known = ", ".join(sorted(self._providers)) or "none is installed"
            raise SetupError(
                f"Channel {channel.name!r} names the provider {channel.provider!r}, which no plugin brings"
                f" (known: {known}). Install that plugin or correct the name."
            )
        self._written.setdefault(channel.name, channel)
        self._settle()

    def _settle(self) -> None:
        """Those of the file and those found win over a kept one of their name; the last resort is for a box that has
        nothing else."""
        self._channels = {**self._kept, **self._written} or self._last_resort

    async def keep(self, channels: Iterable[Channel]) -> None:
        """Serve these, from the database, beside what is written down; those kept before and not among them go. Waits
        a little for the models of those whose upstream is another now. One whose provider is not installed serves
        nothing."""
        before, self._kept = self._kept, {}
        for channel in channels:
            if channel.provider in self._providers:
                self._kept[channel.name] = channel
        self._settle()
        wanted = []
        for name in {*before, *self._kept} - set(self._written):
            then, now = before.get(name), self._kept.get(name)
            if then != now:
                self._served.pop(name, None)
            if then is None or now is None or _upstream_of(then) != _upstream_of(now):
                self._listed.pop(name, None)
                self._problems.pop(name, None)
                wanted += [now] if now is not None else []
        asks = {asyncio.create_task(self._ask(channel), name="catalog asking") for channel in wanted}
        if asks:
            self._asking |= asks
            for ask in asks:
                ask.add_done_callback(self._asking.discard)
            await asyncio.wait(asks, timeout=KEEP_S)

    def rule(self, rules: Iterable[ModelRule]) -> None:
        """What admins decided about models holds from the next request on."""
        self._rules = {rule.model: rule for rule in rules}

    def rule_of(self, model_id: str) -> ModelRule:
        return self._rules.get(model_id) or ModelRule(model_id)

    def _may_use(self, model_id: str, groups: set[str]) -> bool:
        rule = self._rules.get(model_id)
        return rule is None or rule.allows(groups)

    async def start(self) -> None:
        """Find channels nobody had to write down, then ask upstreams for their models, beside the requests."""
        found = [channel for provider in self._providers.values() for channel in await provider.discover(self._http)]
        for channel in sorted(found, key=lambda channel: -channel.priority):
            if channel.priority >= 0:
                self._add(channel)
            else:
                self._last_resort.setdefault(channel.name, channel)
        self._settle()
        self._tasks = [
            asyncio.create_task(self._keep_fresh(), name="catalog"),
            asyncio.create_task(self._keep_finding(), name="catalog finding"),
        ]

    async def stop(self) -> None:
        tasks = [*self._tasks, *self._asking]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def ready(self, timeout_s: float) -> None:
        """Wait until every upstream was asked once, at most for the timeout, and not for what is written down."""
        if all(channel.models for channel in self._channels.values()):
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self._first.wait()
        except TimeoutError:
            return

    async def _keep_fresh(self) -> None:
        while True:
            await asyncio.gather(*(self._ask(channel) for channel in self._channels.values() if channel.is_on))
            self._first.set()
            await asyncio.sleep(RETRY_S if self._problems else REFRESH_S)

    async def _keep_finding(self) -> None:
        while True:
            await asyncio.sleep(FIND_S)
            await self.find()

    async def find(self) -> None:
        """Ask providers for channels again, and serve those that are new; what was found stays."""
        for name, provider in self._providers.items():
            try:
                found = await provider.discover(self._http)
            except Exception:  # a provider is a plugin: its fault is reported, never ours
                log.exception("provider_failed", provider=name)
                continue
            for channel in found:
                if channel.priority >= 0 and channel.name not in self._written:
                    log.info("channel_found", channel=channel.name, provider=name)
                    self._add(channel)
                    await self._ask(channel)

    async def look(self, channel: Channel) -> tuple[Model, ...]:
        """The models of a channel that is not served yet. Raises UpstreamError, BadInput for an unknown provider."""
        provider = self._providers.get(channel.provider)
        if provider is None:
            raise BadInput("There is no such kind of service here. Pick one from the list.", code="unknown_provider")
        try:
            async with asyncio.timeout(LOOK_S):
                return tuple(await provider.list_models(channel, self._http))
        except TimeoutError:
            raise UpstreamError("It did not answer in time.", kind="timeout", retryable=True) from None
        except UpstreamError:
            raise
        except Exception as error:  # a provider is a plugin: its fault is told, and harms nothing else
            log.exception("provider_failed", channel=channel.name, provider=channel.provider)
            raise UpstreamError("The provider plugin failed.", kind="server", retryable=False) from error

    async def _ask(self, channel: Channel) -> None:
        provider = self._providers[channel.provider]
        try:
            async with asyncio.timeout(20):
                listed = tuple(await provider.list_models(channel, self._http))
            if not self._is_still_asked(channel):
                return
            self._listed[channel.name] = listed
            self._served.pop(channel.name, None)
            self._problems.pop(channel.name, None)
        except (UpstreamError, TimeoutError) as error:
            sentence = str(error) or "The upstream did not answer in time."
            if self._problems.get(channel.name) != sentence:
                log.warning("models_not_listed", channel=channel.name, problem=error)
            self._problems[channel.name] = sentence
        except Exception:  # a provider is a plugin: its fault is reported, never ours
            log.exception("provider_failed", channel=channel.name, provider=channel.provider)
            self._problems[channel.name] = "The provider plugin failed; the log says how."

    def _is_still_asked(self, channel: Channel) -> bool:
        """Whether its upstream is still this one: an answer that comes late must not speak for another."""
        now = self._channels.get(channel.name)
        return now is not None and _upstream_of(now) == _upstream_of(channel)

    def reports(self) -> list[ChannelReport]:
        return [
            ChannelReport(channel, len(self._served_by(channel)), self._problems.get(channel.name, ""))
            for channel in self._channels.values()
        ]

    def models_of(self, channel_name: str) -> list[Model]:
        """What one channel serves, under the public names; none for a channel that is not there."""
        channel = self._channels.get(channel_name)
        return [candidate.model for candidate in self._served_by(channel).values()] if channel else []

    def _served_by(self, channel: Channel) -> dict[str, Candidate]:
        """Every public model name of a channel, with the name and sizes its upstream knows."""
        known_served = self._served.get(channel.name)
        if known_served is None:
            known_served = _served_from(channel, self._listed.get(channel.name, ()))
            self._served[channel.name] = known_served
        return known_served

    def models(self, groups: Iterable[str]) -> list[Model]:
        """What members of these groups may pick: the highest priority first, demo models last."""
        return [model for model in self.all_models(groups) if model.chats]

    def all_models(self, groups: Iterable[str]) -> list[Model]:
        """The same with the models that make embeddings."""
        wanted = set(groups)
        found: dict[str, Model] = {}
        for channel in sorted(self._channels.values(), key=lambda channel: -channel.priority):
            if channel.serves and wanted & set(channel.groups):
                for name, candidate in self._served_by(channel).items():
                    if not self._may_use(name, wanted):
                        continue
                    known = found.get(name)
                    if known is None or (not known.context_tokens and candidate.model.context_tokens):
                        found[name] = candidate.model
        return sorted(found.values(), key=lambda model: model.is_demo)

    def served(self) -> tuple[Candidate, ...]:
        """Every channel that is on, with each model it serves that is on."""
        return tuple(
            candidate
            for channel in self._channels.values()
            if channel.serves
            for name, candidate in self._served_by(channel).items()
            if self.rule_of(name).is_on
        )

    def all_served(self) -> tuple[Candidate, ...]:
        """Every channel with each model it serves, whether they are on or not."""
        return tuple(one for channel in self._channels.values() for one in self._served_by(channel).values())

    def serves(self, channel: Channel) -> tuple[Candidate, ...]:
        """What a channel serves, as far as is known; also one that is not on."""
        if self._channels.get(channel.name) == channel:
            return tuple(self._served_by(channel).values())
        return self.told(channel, self._listed.get(channel.name, ())) if channel.models else ()

    def told(self, channel: Channel, models: Iterable[Model]) -> tuple[Candidate, ...]:
        """What a channel would serve whose upstream told of these models."""
        return tuple(_served_from(channel, models).values())

    def candidates(self, model_id: str, groups: Iterable[str], *, embeds: bool = False) -> tuple[Candidate, ...]:
        """The channels that serve a model to these groups: tiers by priority, drawn by weight within a tier. embeds:
        also where it is told to make embeddings alone."""
        wanted = set(groups)
        if not self._may_use(model_id, wanted):
            return ()
        found = []
        for channel in self._channels.values():
            if channel.serves and wanted & set(channel.groups):
                candidate = self._served_by(channel).get(model_id)
                if candidate is not None and (embeds or candidate.model.chats):
                    found.append(candidate)
        if len(found) > 1:
            # a weighted shuffle (Efraimidis and Spirakis): the greater key first
            found.sort(key=lambda c: (c.channel.priority, random.random() ** (1 / c.channel.weight)), reverse=True)
        return tuple(found)


def _served_from(channel: Channel, models: Iterable[Model]) -> dict[str, Candidate]:
    """By public name: what the upstream tells, or what the aliases name of it."""
    listed = {model.id: model for model in models}
    if not channel.models:
        return {model.id: Candidate(channel, model.id, model) for model in listed.values()}
    served = {}
    for alias in channel.models:
        known = listed.get(alias.upstream, Model(alias.public))
        # Who names it anew has named it: two names of one model must be told apart.
        model = msgspec.structs.replace(known, id=alias.public, name=known.name if alias.public == known.id else "")
        served[alias.public] = Candidate(channel, alias.upstream, model)
    return served


def _upstream_of(channel: Channel) -> tuple[str, str, str]:
    """What decides which models there are to be told of."""
    return channel.provider, channel.base_url, channel.api_key
