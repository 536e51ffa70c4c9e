"""The plugins of this server: loaded once, asked in four modes, switched off and set aside without a restart."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import structlog

from chatserver.domain.events import Delivery, name_of_event
from chatserver.domain.extend import Migration, Refusal, Setting, SlotContext
from chatserver.errors import (
    ChatserverError,
    Conflict,
    NotFound,
    SetupError,
    StorageFull,
    Unavailable,
    UpstreamError,
)
from chatserver.plugins.asking import Asker, ask_all
from chatserver.plugins.context import Context, SettingValue, convert_settings
from chatserver.plugins.faults import Faults, Notice
from chatserver.plugins.fence import FenceCrossed
from chatserver.plugins.found import Found
from chatserver.plugins.hooks import Implementation
from chatserver.plugins.loading import Loading, Plugin, PluginReport, SettingsFor, report_of
from chatserver.plugins.watchdog import Watchdog

VITAL = (
    "register_providers",
    "register_engines",
    "register_buses",
    "register_blob_stores",
    "register_auth_backends",
)
"""Who brings one of these is never set aside, only reported: without it nobody could sign in or ask anything."""

log = structlog.get_logger("chatserver.plugins")


class NoticeBoard(Protocol):
    """Where the admins are told something; the house brings it. Neither waits, neither raises."""

    def tell_soon(self, key: str, sentence: str, level: Any, **values: str | int) -> None: ...
    def clear_soon(self, key: str) -> None: ...


class PluginFault(ChatserverError):
    """A plugin failed while it was asked for this request; the log says how."""

    code = "plugin_failed"

    def __init__(self, plugin: str, hook: str) -> None:
        super().__init__(f"The plugin {plugin} failed, so this could not be done. Try again, or tell the operator.")
        self.plugin = plugin
        self.hook = hook


class Plugins:
    """Made by `Plugins.load`; all but `load` and `report_block` is for the loop's thread."""

    def __init__(self, loaded: Loading) -> None:
        self._hooks = loaded.hooks
        self._plugins = loaded.plugins
        self._others = loaded.others
        self._implementations = loaded.implementations
        self._registered = loaded.registered
        # What is asked now: the implementations of plugins that are on, and guards of those set aside.
        self._live: dict[str, tuple[Implementation, ...]] = {}
        self._faults = Faults()
        self._asker = Asker()
        self._watchdog: Watchdog | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started: list[str] = []
        self.board: NoticeBoard | None = None
        self._refresh()

    @classmethod
    def load(
        cls,
        enabled: Collection[str] = (),
        disabled: Collection[str] = (),
        core_version: str = "",
        settings_values: Mapping[str, Mapping[str, str]] | SettingsFor | None = None,
        extra: Sequence[tuple[str, object]] = (),
        *,
        found: Iterable[Found] | None = None,
        is_lenient: bool = False,
    ) -> Plugins:
        """Find, judge, import and verify; then ask every register_* hook.

        settings_values: texts by plugin and setting, or a function that finds them. extra: (name, module or object)
        that are not installed, always allowed: for tests. found: instead of what is installed. is_lenient: a plugin
        that cannot be loaded is reported as refused, instead of raising SetupError; for commands that only look.
        """
        loading = Loading()
        loading.all(found, enabled, disabled, core_version, settings_values, extra, is_lenient)
        return cls(loading)

    def _refresh(self) -> None:
        """Work out anew who is asked; after this, a hook that nobody implements costs one look into a dict."""
        live = {}
        for hook, implementations in self._implementations.items():
            is_guard = self._hooks.specs[hook].rule.guard
            asked = tuple(one for one in implementations if self._is_asked(one.plugin, is_guard))
            if asked:
                live[hook] = asked
        self._live = live

    def _is_asked(self, name: str, is_guard: bool) -> bool:
        state = self._plugins[name].state
        return state == "on" or (is_guard and state == "set aside")

    def settings_of(self, name: str) -> Mapping[str, SettingValue]:
        """The declared settings of a plugin, as its `ctx` shows them."""
        return self._plugins[name].settings

    def set_text(self, name: str, setting: str, text: str) -> None:
        """Change a declared setting, in the plugin's `ctx.settings` too. Raises NotFound, SetupError naming what does
        not fit."""
        plugin = self._plugins.get(name)
        declared = next((one for one in plugin.declared if one.name == setting), None) if plugin else None
        if plugin is None or declared is None or declared.kind == "secret":
            raise NotFound
        plugin.settings.update(convert_settings(name, (declared,), {setting: text})[0])

    def secret_of(self, name: str) -> Callable[[str], str | None]:
        """A plugin's declared secrets, as its `ctx.secret` gives them."""
        secrets = self._plugins[name].secrets
        return lambda secret: secrets.get(secret) or None

    # --- a plugin's life --------------------------------------------------------------------------------------------

    async def start(
        self, *, db: Any = None, http: Any = None, only: Collection[str] | None = None, **services: Any
    ) -> None:
        """Hand every plugin its `ctx` and await its startup; the first that fails stops the start, by name.

        only: start just these, for commands that need a few. services: jobs, events, blobs, files, accounts,
        conversations.
        """
        self._loop = asyncio.get_running_loop()
        self._watchdog = Watchdog(self.report_block, self._packages)
        self._watchdog.start()
        for name in sorted(self._plugins):
            plugin = self._plugins[name]
            if plugin.state != "on" or (only is not None and name not in only):
                continue
            context = Context(
                name,
                db=db,
                http=http,
                settings=plugin.settings,
                secrets=plugin.secrets,
                log=structlog.get_logger(name, plugin=name),
                services=services,
            )
            for one in self._live.get("startup", ()):
                if one.plugin == name:
                    await self._start_one(one, context)
            self._started.append(name)

    async def _start_one(self, one: Implementation, context: Context) -> None:
        try:
            await self._asker.ask(one, {"ctx": context})
        except SetupError:
            raise
        except Exception as error:
            why = "it took too long" if isinstance(error, TimeoutError) else f"{type(error).__name__}: {error}"
            raise SetupError(f"The plugin {one.plugin} could not start: {why}") from error

    async def stop(self) -> None:
        """Await the shutdown of what was started, in reverse. Failures are logged."""
        for name in reversed(self._started):
            for one in self._implementations.get("shutdown", ()):
                if one.plugin == name:
                    await self._ask_isolated(one, {})
        self._started.clear()
        if self._watchdog is not None:
            self._watchdog.stop()
            self._watchdog = None

    def _packages(self) -> dict[str, str]:
        return {plugin.package: name for name, plugin in self._plugins.items()}

    # --- the four modes ---------------------------------------------------------------------------------------------

    def has(self, hook: str) -> bool:
        """Whether anybody would be asked; lets a hot path skip making the arguments."""
        return hook in self._live

    def fills(self, slot: str) -> bool:
        """Whether anybody would be asked for this place of a page."""
        return any(one.fills(slot) for one in self._live.get("render_slot", ()))

    async def fill(self, context: SlotContext) -> list[str]:
        """The HTML for a place, of everybody who fills it, in order."""
        asked = self._asked("render_slot", "gather", {"context": context})
        return await self._gather([one for one in asked if one.fills(context.slot)], {"context": context})

    async def gather(self, hook: str, **arguments: Any) -> list[Any]:
        """Every answer that is not None, in order, lists flattened. Who fails is left out; guards raise instead."""
        return await self._gather(self._asked(hook, "gather", arguments), arguments)

    async def _gather(self, asked: Sequence[Implementation], arguments: dict[str, Any]) -> list[Any]:
        if not asked:
            return []
        ask = self._ask_or_raise if asked[0].spec.rule.guard else self._ask_isolated
        answers = await ask_all(ask(one, arguments) for one in asked)
        gathered: list[Any] = []
        for answer in answers:
            if answer is None:
                continue
            if asked[0].spec.is_list:
                gathered += answer
            else:
                gathered.append(answer)
        return gathered

    async def first(self, hook: str, **arguments: Any) -> Any:
        """The first answer that is not None; None when nobody has one. A failure raises PluginFault."""
        for one in self._asked(hook, "first", arguments):
            answer = await self._ask_or_raise(one, arguments)
            if answer is not None:
                return answer
        return None

    async def chain(self, hook: str, value: Any, **arguments: Any) -> Any:
        """The value after everybody had a chance to replace it, or the Refusal that stopped it. Raises PluginFault."""
        live = self._live.get(hook)
        if not live:
            assert self._hooks.specs[hook].rule.mode == "chain"
            return value
        name = live[0].spec.arguments[0]
        for one in self._asked(hook, "chain", {name: value, **arguments}):
            answer = await self._ask_or_raise(one, {name: value, **arguments}, known=value)
            if isinstance(answer, Refusal):
                return answer
            if answer is not None:
                value = answer
        return value

    async def notify(self, hook: str, **arguments: Any) -> None:
        """Tell everybody; failures are logged and counted, nothing else."""
        await ask_all(self._tell(one, arguments) for one in self._asked(hook, "notify", arguments))

    def wants(self, event: str) -> bool:
        """Whether anybody is to be told of events of this name, be it later."""
        listening = [*self._live.get("handle_event", ()), *self._set_aside("handle_event")]
        return any(one.wants(event) for one in listening)

    async def deliver(self, delivery: Delivery, *, skip: Collection[str] = ()) -> dict[str, bool]:
        """Tell everybody who wants this event but `skip`; by plugin, whether it took it. One that is set aside did not:
        try again later."""
        name = name_of_event(delivery.event)
        arguments = {"delivery": delivery}
        asked = [one for one in self._asked("handle_event", "notify", arguments) if one.wants(name)]
        taken = {one.plugin: False for one in self._set_aside("handle_event") if one.wants(name)}
        asked = [one for one in asked if one.plugin not in skip]
        outcomes = await ask_all(self._tell(one, arguments) for one in asked)
        taken |= {one.plugin: outcome for one, outcome in zip(asked, outcomes, strict=True)}
        return {plugin: is_taken for plugin, is_taken in taken.items() if plugin not in skip}

    def _set_aside(self, hook: str) -> list[Implementation]:
        return [one for one in self._implementations.get(hook, ()) if self._plugins[one.plugin].state == "set aside"]

    async def _tell(self, one: Implementation, arguments: dict[str, Any]) -> bool:
        try:
            await self._asker.ask(one, arguments)
        except Exception as error:
            self._count(one, error)
            return False
        return True

    def _asked(self, hook: str, mode: str, arguments: dict[str, Any]) -> tuple[Implementation, ...]:
        spec = self._hooks.specs[hook]
        assert spec.rule.mode == mode, f"{hook} is called by {spec.rule.mode}, not {mode}"
        live = self._live.get(hook, ())
        assert not live or arguments.keys() == set(spec.arguments), f"{hook} is given {sorted(arguments)}"
        return live

    async def _ask_isolated(self, one: Implementation, arguments: dict[str, Any], known: Any = None) -> Any:
        try:
            return await self._asker.ask(one, arguments, known)
        except Exception as error:
            self._count(one, error)
            return None

    async def _ask_or_raise(self, one: Implementation, arguments: dict[str, Any], known: Any = None) -> Any:
        try:
            return await self._asker.ask(one, arguments, known)
        except Exception as error:
            if is_declared(error):
                raise
            self._count(one, error)
            raise PluginFault(one.plugin, one.spec.name) from error

    # --- faults -----------------------------------------------------------------------------------------------------

    def _count(self, one: Implementation, error: Exception) -> None:
        if is_declared(error):
            log.info("plugin could not", plugin=one.plugin, hook=one.spec.name, reason=error)
        else:
            self.report_fault(one.plugin, one.spec.name, error)

    def report_fault(self, name: str, where: str, error: BaseException | str) -> None:
        """Count a fault of a plugin, wherever it was met (a route, a job, a provider). The fifth in a minute sets it
        aside, unless the server could not do without it. Errors of the declared kinds are no faults."""
        plugin = self._plugins.get(name)
        if plugin is None or (isinstance(error, BaseException) and is_declared(error)):
            return
        exc_info = error if isinstance(error, BaseException) else None
        log.error("plugin failed", plugin=name, where=where, reason=error, exc_info=exc_info)
        if not self._faults.count(name):
            return
        last = str(error) or type(error).__name__
        if self._is_vital(plugin):
            sentence = f"The plugin {name} failed five times within a minute, last in {where}: {last}"
        elif plugin.state == "on":
            sentence = f"The plugin {name} was set aside after five failures within a minute, last in {where}: {last}"
            plugin.state, plugin.reason = "set aside", sentence
            self._refresh()
        else:
            return
        log.error("plugin notice", plugin=name, state=plugin.state, where=where)
        self._faults.notify(name, sentence)
        if self.board is None:
            return
        key = f"plugin {name}"
        if plugin.state == "set aside":
            self.board.tell_soon(
                key,
                "The plugin %(plugin)s was set aside after five failures within a minute, last in %(where)s. The log"
                " says how. Switch it on again when that is mended.",
                "error",
                plugin=name,
                where=where,
            )
        else:
            self.board.tell_soon(
                key,
                "The plugin %(plugin)s failed five times within a minute, last in %(where)s. The log says how.",
                "error",
                plugin=name,
                where=where,
            )

    def _is_vital(self, plugin: Plugin) -> bool:
        return any(hook in plugin.hooks for hook in VITAL)

    def report_block(self, seconds: float, name: str, place: str) -> None:
        """Called by the watchdog, on its own thread, while the loop stands still."""
        log.error("event loop blocked", plugin=name or None, seconds=round(seconds, 1), place=place)
        if name and self._loop is not None:
            sentence = f"it blocked the event loop for over {seconds:.1f} s at {place}"
            self._loop.call_soon_threadsafe(self.report_fault, name, "the event loop", sentence)

    @property
    def notices(self) -> list[Notice]:
        """What an admin should read, oldest first."""
        return list(self._faults.notices)

    # --- what is there ----------------------------------------------------------------------------------------------

    def folders(self) -> list[Path]:
        """Where the packages of the loaded plugins lie, in order of name."""
        files = [
            getattr(sys.modules.get(plugin.package), "__file__", None) for _, plugin in sorted(self._plugins.items())
        ]
        return list(dict.fromkeys(Path(file).parent for file in files if file))

    def registered(self, hook: str) -> list[tuple[str, Any]]:
        """(plugin, item) of a register_* hook, of plugins that are not switched off; sorted as the hook is."""
        return [item for item in self._registered.get(hook, ()) if self._plugins[item[0]].state != "off"]

    def brought(self, hook: str) -> list[tuple[str, Any]]:
        """The same, also of plugins that are switched off: for what is laid out once, at the start, and asks `is_on`
        whenever it is used."""
        return list(self._registered.get(hook, ()))

    def migrations(self) -> list[tuple[str, list[Migration]]]:
        """Named sets, one a plugin. Those of a plugin that is switched off are kept: its tables are still there."""
        sets: dict[str, list[Migration]] = {}
        for name, migration in self._registered.get("register_migrations", ()):
            sets.setdefault(name, []).append(migration)
        return list(sets.items())

    def implements(self, name: str, hook: str) -> bool:
        """Whether this plugin is asked now when the hook is called."""
        return any(one.plugin == name for one in self._live.get(hook, ()))

    def is_on(self, name: str) -> bool:
        plugin = self._plugins.get(name)
        return plugin is not None and plugin.state == "on"

    def check_switch(self, name: str) -> None:
        """Raises NotFound for a plugin that is not here, Conflict for one that was not loaded."""
        if name in self._plugins:
            return
        if any(other.name == name for other in self._others):
            raise Conflict(
                "The plugin %(name)s was not loaded at start: change the configuration and restart.",
                values={"name": name},
            )
        raise NotFound("No plugin named %(name)s is installed.", values={"name": name})

    def switch(self, name: str, on: bool) -> None:
        """Silence a plugin's hooks and routes, or let it speak again, at once. Its startup is not repeated."""
        self.check_switch(name)
        plugin = self._plugins[name]
        plugin.state, plugin.reason = ("on", "") if on else ("off", "switched off")
        self._faults.forget(name)
        if self.board is not None:
            self.board.clear_soon(f"plugin {name}")
        self._refresh()

    def report(self) -> list[PluginReport]:
        """Every plugin that was found, allowed or not, in order of name."""
        loaded = [report_of(one.found, one.state, one.reason, one.hooks) for one in self._plugins.values()]
        return sorted([*loaded, *self._others], key=lambda one: (one.name, one.distribution))

    def declared_settings(self) -> dict[str, tuple[Setting, ...]]:
        """By plugin, those that declare any."""
        return {name: plugin.declared for name, plugin in self._plugins.items() if plugin.declared}


def is_declared(error: BaseException) -> bool:
    """Whether this is a plugin's polite way of saying no: an upstream's failure, a refusal, a limit, bad input. Nor is
    it its fault that the database is away or the disk full."""
    if isinstance(error, (PluginFault, FenceCrossed)):
        return False
    if isinstance(error, (UpstreamError, Unavailable, StorageFull)):
        return True
    return isinstance(error, ChatserverError) and error.status < 500
