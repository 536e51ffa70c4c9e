"""Rows become values: a decoder per row type and statement, by column name."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

T = TypeVar("T")
Row = tuple[Any, ...]
Decode = Callable[[Sequence[Row]], list[Any]]
MAX_DECODERS = 2_000
_learning = threading.Lock()


class Decoders:
    """Decoders by row type and SQL; one per connection, used by its thread alone."""

    def __init__(self) -> None:
        self._known: dict[tuple[type[Any], str], Decode] = {}

    def find(self, row_type: type[T], sql: str) -> Decode | None:
        return self._known.get((row_type, sql))

    def make(self, row_type: type[T], sql: str, columns: Sequence[str]) -> Decode:
        if len(self._known) >= MAX_DECODERS:
            self._known.clear()
        decode = self._known[row_type, sql] = make_decoder(row_type, columns)
        return decode

    def clear(self) -> None:
        self._known.clear()


def make_decoder(row_type: type[Any], columns: Sequence[str]) -> Decode:
    """Structs by column name, checked; 0 and 1 become a bool field's False and True. Scalars: the first column."""
    if not issubclass(row_type, msgspec.Struct):
        return _scalar_decoder(row_type)
    names = tuple(columns)
    missing = [field.encode_name for field in msgspec.structs.fields(row_type) if field.required]
    missing = [name for name in missing if name not in names]
    if missing:
        raise TypeError(f"{row_type.__name__} needs the columns {', '.join(missing)}; the statement gives {names}.")
    hints = get_type_hints(row_type)
    flags = tuple(name for name in names if name in hints and _is_bool(hints[name]))
    wanted = list[row_type]  # type: ignore[valid-type]
    convert = msgspec.convert
    with _learning:
        # msgspec looks at a class when it first meets it, and shows a second thread what it has only half understood:
        # the process would crash there. An empty list is enough to make it look at all of it.
        convert([], wanted)

    def decode(rows: Sequence[Row]) -> list[Any]:
        return convert([dict(zip(names, row, strict=True)) for row in rows], wanted)

    def decode_flags(rows: Sequence[Row]) -> list[Any]:
        values = []
        for row in rows:
            value = dict(zip(names, row, strict=True))
            for flag in flags:
                if value[flag] is not None:
                    value[flag] = bool(value[flag])
            values.append(value)
        return convert(values, wanted)

    return decode_flags if flags else decode


def _scalar_decoder(row_type: type[Any]) -> Decode:
    def decode(rows: Sequence[Row]) -> list[Any]:
        values = [row[0] for row in rows]
        for value in values:
            if type(value) is not row_type and value is not None:
                return [None if item is None else msgspec.convert(item, row_type, strict=False) for item in values]
        return values

    return decode


def _is_bool(hint: Any) -> bool:
    return hint is bool or (get_origin(hint) in (Union, UnionType) and bool in get_args(hint))
