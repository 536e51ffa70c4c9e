"""Is an answer of the type its hook promises? Rubbish is found where it came from, not three rooms later."""

from __future__ import annotations

import collections.abc
import functools
import types
import typing
from typing import Any

import msgspec


def describe(annotation: Any) -> str:
    return getattr(annotation, "__name__", None) or str(annotation).replace("chatserver.domain.", "")


def fits(value: Any, annotation: Any, known: Any = None) -> bool:
    """Whether `value` is what `annotation` says, Struct fields and elements included.

    known: the value a chain came with. What is taken over from it by identity was checked before, so that adding one
    message to a prompt of thousands costs one check.
    """
    if value is known and known is not None:
        return True
    if annotation is Any:
        return True
    if annotation is None or annotation is type(None):
        return value is None
    origin = typing.get_origin(annotation)
    if origin is None:
        return _fits_class(value, annotation, known)
    arguments = typing.get_args(annotation)
    if origin is typing.Union or origin is types.UnionType:
        return any(fits(value, one, known) for one in arguments)
    if origin is typing.Literal:
        return value in arguments
    if origin in (list, tuple) or (isinstance(origin, type) and issubclass(origin, collections.abc.Sequence)):
        return _fits_sequence(value, origin, arguments, known)
    if isinstance(origin, type) and issubclass(origin, collections.abc.Mapping):
        key, item = arguments
        return isinstance(value, collections.abc.Mapping) and all(
            fits(one, key) and fits(other, item) for one, other in value.items()
        )
    if origin is collections.abc.Callable:
        return callable(value)
    return not isinstance(origin, type) or isinstance(value, origin)


def _fits_sequence(value: Any, origin: Any, arguments: tuple[Any, ...], known: Any) -> bool:
    # A hook that promises a list may as well answer a tuple; strings are never meant.
    if not isinstance(value, (list, tuple)) or (origin is tuple and not isinstance(value, tuple)):
        return False
    if origin is tuple and not (len(arguments) == 2 and arguments[1] is Ellipsis):
        return len(value) == len(arguments) and all(map(fits, value, arguments))
    checked = {id(one) for one in known} if isinstance(known, (list, tuple)) else frozenset()
    return all(id(one) in checked or fits(one, arguments[0]) for one in value)


def _fits_class(value: Any, annotation: Any, known: Any) -> bool:
    if not isinstance(annotation, type):
        return True
    if getattr(annotation, "_is_protocol", False):
        return all(hasattr(value, name) for name in _protocol_names(annotation))
    if annotation is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if not isinstance(value, annotation):
        return False
    if isinstance(value, msgspec.Struct):
        same = type(known) is type(value)
        return all(
            fits(getattr(value, name), hint, getattr(known, name) if same else None)
            for name, hint in _struct_hints(type(value))
        )
    return True


@functools.cache
def _struct_hints(struct: type) -> tuple[tuple[str, Any], ...]:
    hints = typing.get_type_hints(struct)
    return tuple((field.name, hints[field.name]) for field in msgspec.structs.fields(struct))


@functools.cache
def _protocol_names(protocol: type) -> tuple[str, ...]:
    names = {*vars(protocol), *vars(protocol).get("__annotations__", ())}
    return tuple(sorted(name for name in names if not name.startswith("_")))
