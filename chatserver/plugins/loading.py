"""From what is installed to what is loaded: found, judged, imported, verified, asked what it brings; in this order."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec
import structlog

from chatserver import hookspecs
from chatserver.domain.extend import Migration, Setting
from chatserver.errors import SetupError
from chatserver.plugins.asking import ask_plainly
from chatserver.plugins.context import SettingValue, convert_settings
from chatserver.plugins.fence import FenceCrossed, check
from chatserver.plugins.found import Found, find_plugins, judge
from chatserver.plugins.hooks import Hooks, Implementation

State = Literal["on", "off", "set aside", "found, not allowed", "refused", "missing"]
SettingsFor = Callable[[str, Sequence[Setting]], Mapping[str, str]]
"""Given a plugin and what it declared: the texts of file and environment, by setting."""

UNIQUE_BY = {
    "register_providers": "name",
    "register_engines": "name",
    "register_buses": "name",
    "register_blob_stores": "name",
    "register_auth_backends": "name",
    "register_themes": "name",
    "register_jobs": "kind",
    "register_importers": "name",
}

log = structlog.get_logger("chatserver.plugins")


class PluginReport(msgspec.Struct, frozen=True):
    """A line of the plugin list. fingerprint: of the installed files. faults are told in `reason`."""

    name: str
    distribution: str
    version: str
    state: State
    reason: str = ""
    hooks: tuple[str, ...] = ()
    fingerprint: str = ""


class Plugin(msgspec.Struct):
    """One that is loaded, and how it stands. holder: its module or object. package: whose code is its own."""

    found: Found
    holder: object | None = None
    state: State = "on"
    reason: str = ""
    package: str = ""
    hooks: tuple[str, ...] = ()
    declared: tuple[Setting, ...] = ()
    settings: dict[str, SettingValue] = {}
    secrets: dict[str, str] = {}


class Loading:
    """What is loaded so far; `all` loads everything. plugins: those that may speak, by name. others: reports of those
    that may not. registered: what the register_* hooks answered, with whose it is."""

    def __init__(self) -> None:
        self.hooks = Hooks()
        self.hooks.add_specs(hookspecs, "chatserver")
        self.plugins: dict[str, Plugin] = {}
        self.others: list[PluginReport] = []
        self.implementations: dict[str, tuple[Implementation, ...]] = {}
        self.registered: dict[str, list[tuple[str, Any]]] = {}

    def all(
        self,
        found: Iterable[Found] | None,
        enabled: Collection[str],
        disabled: Collection[str],
        core_version: str,
        settings_values: Mapping[str, Mapping[str, str]] | SettingsFor | None,
        extra: Sequence[tuple[str, object]],
        is_lenient: bool,
    ) -> None:
        """See Plugins.load."""
        self._admit(find_plugins() if found is None else found, enabled, disabled, core_version, extra)
        self._load_in_two_passes(is_lenient)
        self._settle_order()
        self._ask_at_start(is_lenient)
        self._convert_settings(settings_values)

    def _admit(
        self,
        found: Iterable[Found],
        enabled: Collection[str],
        disabled: Collection[str],
        core_version: str,
        extra: Sequence[tuple[str, object]],
    ) -> None:
        for verdict in judge(found, enabled, disabled, core_version):
            one = verdict.found
            if verdict.standing == "on":
                self.plugins[one.name] = Plugin(one)
            else:
                self.others.append(report_of(one, verdict.standing, verdict.reason))
            if verdict.standing == "refused":
                log.warning("plugin refused", plugin=one.name, reason=verdict.reason)
        for name, holder in extra:
            if name in self.plugins:
                raise SetupError(f"There are two plugins named {name}.")
            self.plugins[name] = Plugin(Found(name, "", "", "", "", ""), holder)
        known = {*self.plugins, *(other.name for other in self.others)}
        for name in sorted(set(enabled) - known):
            reason = "allowed in the configuration, but no installed distribution brings it"
            log.warning("plugin missing", plugin=name, reason=reason)
            self.others.append(PluginReport(name, "", "", "missing", reason))

    def _load_in_two_passes(self, is_lenient: bool) -> None:
        for step in (self._import_and_take_specs, self._register):
            for name in sorted(self.plugins):
                try:
                    step(name)
                except SetupError as error:
                    if not is_lenient:
                        raise
                    self._refuse(name, error.message)

    def _refuse(self, name: str, reason: str) -> None:
        plugin = self.plugins.pop(name)
        self.others.append(report_of(plugin.found, "refused", reason))
        for hook, implementations in self.implementations.items():
            self.implementations[hook] = tuple(one for one in implementations if one.plugin != name)
        for items in self.registered.values():
            items[:] = [item for item in items if item[0] != name]

    def _import_and_take_specs(self, name: str) -> None:
        plugin = self.plugins[name]
        if plugin.holder is None:
            plugin.holder = import_target(plugin.found)
        if inspect.isclass(plugin.holder):
            plugin.holder = plugin.holder()
        module = plugin.holder.__name__ if inspect.ismodule(plugin.holder) else type(plugin.holder).__module__
        # A test's plugin lives in the test's module, beside others: there only the whole module name says who it is.
        plugin.package = module.partition(".")[0] if plugin.found.target else module
        function = self.hooks.implements(plugin.holder, "register_hookspecs")
        if function is not None:
            for holder in ask_plainly(name, self.hooks.specs["register_hookspecs"], function):
                self.hooks.add_specs(holder, name)

    def _register(self, name: str) -> None:
        plugin = self.plugins[name]
        implementations = self.hooks.register(name, plugin.holder)
        plugin.hooks = tuple(one.spec.name for one in implementations)
        for one in implementations:
            self.implementations[one.spec.name] = (*self.implementations.get(one.spec.name, ()), one)

    def _settle_order(self) -> None:
        for hook, implementations in self.implementations.items():
            self.implementations[hook] = tuple(sorted(implementations, key=lambda one: (one.order, one.plugin)))

    def _ask_at_start(self, is_lenient: bool) -> None:
        for hook, implementations in list(self.implementations.items()):
            spec = self.hooks.specs[hook]
            if not spec.rule.at_start or hook == "register_hookspecs":
                continue
            taken: dict[str, str] = {}
            items = self.registered.setdefault(hook, [])
            for one in implementations:
                try:
                    answers = ask_plainly(one.plugin, spec, one.function)
                    _check_unique(hook, one.plugin, answers, taken)
                    if hook == "register_migrations":
                        _check_prefix(one.plugin, answers)
                except SetupError as error:
                    if not is_lenient:
                        raise
                    self._refuse(one.plugin, error.message)
                else:
                    items += [(one.plugin, answer) for answer in answers]

    def _convert_settings(self, values: Mapping[str, Mapping[str, str]] | SettingsFor | None) -> None:
        for name, plugin in self.plugins.items():
            plugin.declared = tuple(
                setting for one, setting in self.registered.get("register_settings", ()) if one == name
            )
            texts = values(name, plugin.declared) if callable(values) else (values or {}).get(name, {})
            plugin.settings, plugin.secrets = convert_settings(name, plugin.declared, texts)


def report_of(found: Found, state: State, reason: str, hooks: tuple[str, ...] = ()) -> PluginReport:
    return PluginReport(found.name, found.distribution, found.version, state, reason, hooks, found.fingerprint)


def import_target(found: Found) -> object:
    module_name, _, attribute = found.target.partition(":")
    try:
        target: object = importlib.import_module(module_name)
        for part in filter(None, attribute.split(".")):
            target = getattr(target, part)
    except Exception as error:
        raise SetupError(
            f"The plugin {found.name} ({found.distribution} {found.version}) cannot be imported: "
            f"{type(error).__name__}: {error}"
        ) from error
    return target


def _check_unique(hook: str, plugin: str, answers: list[Any], taken: dict[str, str]) -> None:
    attribute = UNIQUE_BY.get(hook)
    for answer in answers if attribute else ():
        name = str(getattr(answer, str(attribute)))
        if name in taken:
            raise SetupError(f"Both {taken[name]} and {plugin} bring {name!r} in {hook}; disable one of the two.")
        taken[name] = plugin


def _check_prefix(plugin: str, migrations: list[Migration]) -> None:
    for migration in migrations:
        for sql in migration.sql:
            try:
                check(sql, f"{plugin}_", is_schema=True)
            except FenceCrossed as error:
                raise SetupError(f"The migration {migration.name} of {plugin}: {error.message}") from error
