"""Rows become values by column name, checked, and never by luck."""

from __future__ import annotations

import subprocess
import sys
from typing import Literal

import msgspec
import pytest

from chatserver.store.rows import MAX_DECODERS, Decoders, make_decoder


class Line(msgspec.Struct, frozen=True):
    id: str
    role: Literal["user", "assistant"]
    is_kept: bool
    is_known: bool | None = None
    note: str | None = "default"


def test_columns_come_in_any_order_and_extra_ones_are_left_out() -> None:
    decode = make_decoder(Line, ["is_kept", "extra", "role", "id"])
    assert decode([(1, "x", "user", "a"), (0, "x", "assistant", "b")]) == [
        Line("a", "user", True),
        Line("b", "assistant", False),
    ]


def test_zero_one_and_null_in_flags() -> None:
    decode = make_decoder(Line, ["id", "role", "is_kept", "is_known", "note"])
    rows = decode([("a", "user", 1, None, None), ("null", "user", 0, 1, "null")])
    assert rows == [Line("a", "user", True, None, None), Line("null", "user", False, True, "null")]


def test_a_value_that_does_not_fit_is_an_error() -> None:
    decode = make_decoder(Line, ["id", "role", "is_kept"])
    for row in (("a", "robot", 1), (7, "user", 1), (None, "user", 1)):
        with pytest.raises(msgspec.ValidationError):
            decode([row])
    with pytest.raises(TypeError, match="Line needs the columns role, is_kept"):
        make_decoder(Line, ["id"])


def test_scalars_are_checked_too() -> None:
    assert make_decoder(int, ["n"])([(1,), (None,)]) == [1, None]
    assert make_decoder(bool, ["n"])([(1,), (0,)]) == [True, False]
    assert make_decoder(float, ["n"])([(1,), (0.5,)]) == [1.0, 0.5]
    with pytest.raises(msgspec.ValidationError):
        make_decoder(int, ["n"])([("word",)])


def test_decoders_do_not_pile_up() -> None:
    decoders = Decoders()
    for number in range(MAX_DECODERS + 1):
        decoders.make(int, f"SELECT {number}", ["n"])
    assert decoders.find(int, "SELECT 0") is None
    assert decoders.find(int, f"SELECT {MAX_DECODERS}") is not None


def test_threads_that_meet_a_class_at_once_do_not_crash_the_process() -> None:
    done = subprocess.run([sys.executable, "-m", "tests.store.first_met"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
