"""The command line, run as people run it: a process, its exit status, and what it prints."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Call `chatserver …` on a data folder of the test's own."""

    def run(*arguments: str, stdin: str = "", places: bool = True) -> subprocess.CompletedProcess[str]:
        where = ["--data", str(tmp_path / "data"), "--config", str(tmp_path / "chatserver.toml")] if places else []
        command = [sys.executable, "-m", "chatserver", *arguments, *where]
        environ = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "LANG": "C.UTF-8"}
        return subprocess.run(command, input=stdin, capture_output=True, text=True, env=environ, timeout=50)

    return run


def sentence(result: subprocess.CompletedProcess[str]) -> str:
    """The one line on standard error of a command that did not work."""
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    return result.stderr.strip().splitlines()[-1]


def test_help_names_every_command(run: Run) -> None:
    result = run("--help", places=False)
    assert result.returncode == 0
    for command in ("serve", "migrate", "plugins", "doctor", "account", "key"):
        assert re.search(rf"^  {command}\b", result.stdout, re.MULTILINE), command


def test_an_account_and_its_key_on_a_fresh_folder(run: Run) -> None:
    made = run("account", "create", "--email", "Ann@Example.org", "--role", "admin", "--groups", "staff, friends")
    assert (made.returncode, made.stdout) == (0, "ann@example.org is now an admin, without a password.\n")
    key = run("key", "create", "--account", "ann@example.org")
    assert re.fullmatch(r"cs_\w{6}_[\w-]{43}\n", key.stdout)
    assert key.stderr == ""
    again = run("account", "create", "--email", "ann@example.org")
    assert "ann@example.org" in sentence(again)


def test_updating_an_account(run: Run) -> None:
    run("account", "create", "--email", "ann@example.org")
    assert run("account", "update", "--email", "ann@example.org", "--role", "admin").returncode == 0
    assert "Say what to change" in sentence(run("account", "update", "--email", "ann@example.org"))
    assert "no account with the address" in sentence(run("account", "update", "--email", "x@y.z", "--name", "X"))


def test_a_key_for_nobody_is_a_sentence(run: Run) -> None:
    assert "There is no account with the address x@y.z" in sentence(run("key", "create", "--account", "x@y.z"))


def test_an_empty_password_is_a_sentence(run: Run) -> None:
    result = run("account", "create", "--email", "a@b.org", "--password-stdin", stdin="\n")
    assert sentence(result) == "No password came on standard input."


def test_migrating_tells_what_it_runs_and_then_that_there_is_nothing(run: Run) -> None:
    assert "There is no database yet" in run("migrate", "--plan").stdout
    first = run("migrate")
    assert first.returncode == 0
    assert "core/0001_first" in first.stdout
    assert run("migrate").stdout == "Nothing to do.\n"
    assert run("migrate", "--plan").stdout == "Nothing to do.\n"


def test_plugins_lists_states(run: Run, tmp_path: Path) -> None:
    (tmp_path / "chatserver.toml").write_text('[plugins]\nenabled = ["weather"]\ndisabled = ["grove"]\n')
    result = run("plugins")
    assert result.returncode == 0
    assert re.search(r"^password +on +chatserver-password \d", result.stdout, re.MULTILINE)
    assert re.search(r"^grove +off", result.stdout, re.MULTILINE)
    assert re.search(r"^weather +missing", result.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("serve", "--workers", "2"), "On SQLite one process serves"),
        (("serve", "--host", "0.0.0.0"), "set CHATSERVER_PUBLIC_URL"),
        (("serve", "--port", "99999"), "The port must be between"),
        (("serve", "--port", "x"), "not a valid integer"),
        (("frobnicate",), "No such command"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(run: Run, arguments: tuple[str, ...], words: str) -> None:
    assert words in sentence(run(*arguments))


def test_a_broken_configuration_is_one_sentence(run: Run, tmp_path: Path) -> None:
    (tmp_path / "chatserver.toml").write_text("colour = 1\n")
    for command in (("plugins",), ("migrate",), ("serve",), ("key", "create", "--account", "a@b.org")):
        assert "the key 'colour' is unknown" in sentence(run(*command))


def test_a_folder_that_cannot_be_written_is_one_sentence(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    assert str(tmp_path / "data") in sentence(run("migrate"))
