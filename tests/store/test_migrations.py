"""What would run, and what is refused, without a database; the engines' part is in the contract."""

from __future__ import annotations

import pytest

from chatserver.domain.extend import Migration
from chatserver.errors import SetupError
from chatserver.store import search
from chatserver.store.migrations import Recorded, Sets, checksum_of, fill, plan
from chatserver.store.schema import CORE

ONE = Migration("0001_one", ("CREATE TABLE a (seq {identity}, body {bytes} DEFAULT '{}')",))
TWO = Migration("0002_two", ("CREATE TABLE b (id TEXT)",))
THREE = Migration("0003_three", ("CREATE TABLE c (id TEXT)",))
WORDS = {"identity": "SERIAL", "bytes": "BLOB"}


def ran(*migrations: Migration, set_name: str = "core") -> list[Recorded]:
    return [Recorded(set_name, migration.name, checksum_of(migration)) for migration in migrations]


def titles(sets: Sets, done: list[Recorded]) -> list[str]:
    return [step.title for step in plan(sets, done, WORDS)]


def test_what_is_missing_runs_set_by_set() -> None:
    sets = [("core", [ONE, TWO]), ("notes", [ONE])]
    assert titles(sets, []) == ["core/0001_one", "core/0002_two", "notes/0001_one"]
    assert titles(sets, ran(ONE)) == ["core/0002_two", "notes/0001_one"]
    assert titles(sets, ran(ONE, TWO) + ran(ONE, set_name="notes")) == []


def test_placeholders_are_filled_and_other_braces_stay() -> None:
    (step,) = plan([("core", [ONE])], [], WORDS)
    assert step.statements == ("CREATE TABLE a (seq SERIAL, body BLOB DEFAULT '{}')",)
    assert fill("{unknown} {bytes}", WORDS) == "{unknown} BLOB"


def test_the_checksum_is_of_what_was_written() -> None:
    assert checksum_of(ONE) != checksum_of(Migration("0001_one", ("CREATE TABLE a (seq SERIAL)",)))
    assert checksum_of(Migration("x", ("a", "b"))) != checksum_of(Migration("x", ("ab",)))


def test_a_newer_database_is_refused_but_not_a_plugin_that_is_gone() -> None:
    with pytest.raises(SetupError, match="newer than this version: .* core/0003_three"):
        plan([("core", [ONE, TWO])], ran(ONE, TWO, THREE), WORDS)
    assert titles([("core", [ONE])], ran(ONE) + ran(ONE, set_name="gone")) == []


def test_a_changed_past_is_refused() -> None:
    changed = Migration(TWO.name, ("CREATE TABLE b (id INTEGER)",))
    with pytest.raises(SetupError, match="core/0002_two was changed after it ran"):
        plan([("core", [ONE, changed])], ran(ONE, TWO), WORDS)


def test_a_migration_slipped_in_before_one_that_ran_is_refused() -> None:
    with pytest.raises(SetupError, match="core/0002_two stands before 0003_three"):
        plan([("core", [ONE, TWO, THREE])], ran(ONE, THREE), WORDS)


def test_what_one_engine_alone_runs_is_planned_there() -> None:
    there = Migration("0002_there", ("CREATE TABLE t (id TEXT)",), engine="postgres")
    sets = [("core", [ONE, there])]
    assert [step.title for step in plan(sets, [], WORDS, engine="sqlite")] == ["core/0001_one"]
    assert [step.title for step in plan(sets, ran(ONE), WORDS, engine="postgres")] == ["core/0002_there"]


def test_what_wants_an_extension_waits_for_it_and_is_never_too_late() -> None:
    near = Migration("0002_near", ("CREATE TABLE n (v vector)",), engine="postgres", extension="vector")
    sets = [("core", [ONE, near, THREE])]
    assert [step.title for step in plan(sets, [], WORDS, engine="postgres")] == ["core/0001_one", "core/0003_three"]
    (step,) = plan(sets, ran(ONE, THREE), WORDS, engine="postgres", extensions=["vector"])
    assert (step.title, step.extension) == ("core/0002_near", "vector")
    assert plan(sets, ran(ONE, near, THREE), WORDS, engine="postgres") == []
    with pytest.raises(SetupError, match="core/0002_near was changed after it ran"):
        changed = Migration("0002_near", ("CREATE TABLE n (w vector)",), engine="postgres", extension="vector")
        plan([("core", [ONE, changed])], ran(ONE, near), WORDS, engine="postgres")


def test_names_used_twice_are_refused() -> None:
    with pytest.raises(SetupError, match="'core' uses a name twice"):
        plan([("core", [ONE, ONE])], [], WORDS)
    with pytest.raises(SetupError, match="called 'core'"):
        plan([("core", [ONE]), ("core", [TWO])], [], WORDS)


def test_our_own_sets_can_be_planned() -> None:
    assert titles([("core", CORE), ("search", search.migrations("sqlite"))], [])[0] == "core/0001_first"
