"""Specifications and implementations of hooks: collected through pluggy, verified, put in order."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Any

import msgspec
import pluggy

from chatserver.errors import SetupError
from chatserver.hookspecs import MARK, PROJECT, RULE, HookRule, Mark


class Spec(msgspec.Struct, frozen=True):
    """A hook: its rule, the names of its arguments in order, and the type it promises."""

    name: str
    rule: HookRule
    arguments: tuple[str, ...]
    returns: Any

    @property
    def is_list(self) -> bool:
        return typing.get_origin(self.returns) is list


class Implementation(msgspec.Struct, frozen=True):
    plugin: str
    spec: Spec
    function: Callable[..., Any]
    arguments: tuple[str, ...]
    is_async: bool
    order: int
    slots: frozenset[str] = frozenset()
    events: frozenset[str] = frozenset()

    def wants(self, event: str) -> bool:
        """Whether it is to be told of events of this name; one that names none is told of all."""
        return not self.events or event in self.events

    def fills(self, slot: str) -> bool:
        """Whether it is to be asked for this place; one that names none is asked for all."""
        return not self.slots or slot in self.slots


class Hooks:
    """pluggy keeps the books; what it would do at call time (awaiting nothing, first coroutine wins) is ours."""

    def __init__(self) -> None:
        self._pluggy = pluggy.PluginManager(PROJECT)
        self.specs: dict[str, Spec] = {}

    def add_specs(self, holder: object, plugin: str) -> None:
        """Take the hookspecs of a module or class. Two hooks of one name stop the start."""
        found = {}
        for name in dir(holder):
            function = getattr(holder, name)
            if self._pluggy.parse_hookspec_opts(holder, name) is None:  # type: ignore[arg-type]
                continue
            if name in self.specs:
                raise SetupError(f"The plugin {plugin} specifies the hook {name}, which exists already.")
            found[name] = read_spec(name, function, plugin)
        if not found:
            raise SetupError(f"The plugin {plugin} registers hookspecs in {holder!r}, and there are none.")
        self._pluggy.add_hookspecs(holder)  # type: ignore[arg-type]
        self.specs.update(found)

    def implements(self, holder: object, hook: str) -> Callable[..., Any] | None:
        """The holder's implementation of one hook, before it is registered."""
        for name, function, options in self._marked(holder):
            if (options["specname"] or name) == hook:
                return function
        return None

    def register(self, plugin: str, holder: object) -> list[Implementation]:
        """Verify and keep every implementation of a plugin. Raises SetupError naming plugin, hook and argument."""
        implementations = []
        for name, function, options in self._marked(holder):
            hook = options["specname"] or name
            spec = self.specs.get(hook)
            if spec is None:
                if options["optionalhook"]:
                    continue
                raise SetupError(
                    f"The plugin {plugin} implements the hook {hook}, which nobody specifies. "
                    f"Was it written for another version? A hook of a plugin that may be absent is marked optional."
                )
            implementations.append(_read_implementation(plugin, spec, function))
        try:
            self._pluggy.register(holder, name=plugin)
        except pluggy.PluginValidationError as error:
            raise SetupError(f"The plugin {plugin} does not fit: {error}") from error
        except ValueError as error:
            raise SetupError(f"The plugin {plugin} cannot be registered: {error}.") from error
        return implementations

    def _marked(self, holder: object) -> list[tuple[str, Callable[..., Any], pluggy.HookimplOpts]]:
        marked = []
        for name in dir(holder):
            options = self._pluggy.parse_hookimpl_opts(holder, name)
            if options is not None:
                marked.append((name, getattr(holder, name), options))
        return marked


def read_spec(name: str, function: Callable[..., Any], plugin: str) -> Spec:
    rule = getattr(function, RULE, None)
    if rule is None:
        raise SetupError(f"The plugin {plugin} specifies the hook {name} without a mode: use chatserver.hookspec.")
    try:
        hints = typing.get_type_hints(function)
    except NameError as error:
        raise SetupError(f"The hook {name} of {plugin} has a type that cannot be found: {error}.") from error
    return Spec(name, rule, _names(function), hints.get("return", Any))


def _names(function: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(name for name in inspect.signature(function).parameters if name != "self")


def _read_implementation(plugin: str, spec: Spec, function: Callable[..., Any]) -> Implementation:
    asked = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name in spec.arguments:
            asked.append(parameter.name)
        elif parameter.default is parameter.empty:
            given = ", ".join(spec.arguments) or "nothing"
            raise SetupError(
                f"The plugin {plugin} asks the hook {spec.name} for {parameter.name!r}; the hook gives {given}."
            )
    is_async = inspect.iscoroutinefunction(function)
    if spec.rule.at_start and is_async:
        raise SetupError(
            f"The plugin {plugin} implements {spec.name} as a coroutine; this hook wants a plain function."
        )
    mark: Mark = getattr(function, MARK, Mark())
    if mark.slots and spec.name != "render_slot":
        raise SetupError(f"The plugin {plugin} names slots at {spec.name}, which fills none; only render_slot does.")
    if mark.events and spec.name != "handle_event":
        raise SetupError(f"The plugin {plugin} names events at {spec.name}, which is told none; handle_event is.")
    return Implementation(plugin, spec, function, tuple(asked), is_async, mark.order, mark.slots, mark.events)
