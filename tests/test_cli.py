"""The command line, run as people run it: a process, its exit status, and what it prints."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from chatserver.cli import commands
from tests.running import RunningServer

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Call `chatserver …` on a data folder of the test's own."""

    def run(
        *arguments: str, stdin: str = "", places: bool = True, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        where = ["--data", str(tmp_path / "data"), "--config", str(tmp_path / "chatserver.toml")] if places else []
        command = [sys.executable, "-m", "chatserver", *arguments, *where]
        environ = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "LANG": "C.UTF-8", **variables}
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


def test_the_docs_name_every_command_and_option() -> None:
    text = (Path(__file__).resolve().parent.parent / "docs" / "cli.md").read_text()
    for path, command in walk("chatserver", commands):
        if isinstance(command, click.Group):
            continue
        (row,) = re.findall(rf"^\| `{path}`.*$", text, re.MULTILINE)
        words = {word if word.startswith("-") else word.upper() for one in command.params for word in one.opts}
        assert {word for word in words - {"--data", "--config"} if word not in row} == set(), path


def walk(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from walk(f"{path} {name}", child)


def test_an_account_and_its_key_on_a_fresh_folder(run: Run) -> None:
    made = run("account", "create", "--email", "Ann@Example.org", "--role", "admin", "--groups", "staff, friends")
    assert (made.returncode, made.stdout) == (0, "ann@example.org is now an admin, without a password.\n")
    key = run("key", "create", "--account", "ann@example.org")
    assert re.fullmatch(r"cs_\w{6}_[\w-]{43}\n", key.stdout)
    assert key.stderr == ""
    narrow = ("--scopes", "models.use", "--models", "a,b", "--days", "30", "--requests-per-minute", "5")
    assert run("key", "create", "--account", "ann@example.org", *narrow).returncode == 0
    wrong = run("key", "create", "--account", "ann@example.org", "--scopes", "everything")
    assert "There is no right “everything”" in sentence(wrong)
    again = run("account", "create", "--email", "ann@example.org")
    assert "ann@example.org" in sentence(again)


def test_updating_an_account(run: Run, tmp_path: Path) -> None:
    run("account", "create", "--email", "ann@example.org")
    assert run("account", "update", "--email", "ann@example.org", "--role", "admin").returncode == 0
    assert run("account", "update", "--email", "ann@example.org", "--groups", "a,b").returncode == 0
    assert "last admin" in sentence(run("account", "update", "--email", "ann@example.org", "--suspend"))
    run("key", "create", "--account", "ann@example.org")
    with contextlib.closing(sqlite3.connect(tmp_path / "data" / "chatserver.sqlite")) as db:
        noted = db.execute("SELECT actor_id, action, details FROM audit ORDER BY id").fetchall()
    assert {who for who, _, _ in noted} == {"command line"}
    actions = ["account_created", "account_changed", "account_changed", "key_created"]
    assert [action for _, action, _ in noted] == actions and json.loads(noted[1][2]) == {"role": "admin"}
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


# --- doctor ---------------------------------------------------------------------------------------------------------


def test_doctor_finds_mends_and_exits_by_what_is_left(run: Run, tmp_path: Path) -> None:
    assert "none yet" in run("doctor").stdout
    run("account", "create", "--email", "ann@example.org")
    db = sqlite3.connect(tmp_path / "data" / "chatserver.sqlite")
    with db:
        db.execute(
            "INSERT INTO notices (source, key, level, sentence, details, told_at, read_at)"
            " VALUES ('barn', 'k', 'info', 'Kept in %(place)s.', '{\"place\":\"memory\"}', 1, 2)"
        )
    db.close()
    healthy = run("doctor")
    assert "notice: barn: Kept in memory." in healthy.stdout
    assert (healthy.returncode, healthy.stdout.splitlines()[-1]) == (0, "database: all is well")
    db = sqlite3.connect(tmp_path / "data" / "chatserver.sqlite")
    with db:
        (owner,) = db.execute("SELECT id FROM accounts").fetchone()
        db.execute(
            "INSERT INTO conversations (id, owner_id, title, title_source, tip_id, model, pinned, archived, branches,"
            " created_at, updated_at) VALUES ('c1', ?, '', 'none', 'nowhere', '', 0, 0, 0, 1, 1)",
            (owner,),
        )
    db.close()
    broken = run("doctor")
    assert broken.returncode == 1
    assert "broken: Conversation c1 opens at a message that is not there." in broken.stdout
    mended = run("doctor", "--repair")
    assert (mended.returncode, "mended: Conversation c1" in mended.stdout) == (0, True)
    assert run("doctor").returncode == 0


# --- serve ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    server = RunningServer(tmp_path / "served", "")
    yield server.start()
    server.stop()


def test_serve_says_where_things_are_and_how_to_make_an_account(server: RunningServer) -> None:
    said = server.log.read_text()
    assert f"Data:          {server.data}\n" in said
    assert f"Configuration: {server.config}\n" in said
    (line,) = re.findall(r"^An account: +(.*)$", said, re.MULTILINE)
    command = shlex.split(line.replace("YOU@EXAMPLE.ORG", "ann@example.org"))
    assert command[command.index("--data") + 1] == str(server.data)
    made = subprocess.run(command, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
    assert (made.returncode, made.stderr) == (0, "")
    assert f"{server.url}/setup/" in server.setup_link()


def test_a_second_server_on_the_same_data_is_one_sentence(server: RunningServer, run: Run) -> None:
    places = ("--data", str(server.data), "--config", str(server.config))
    for command in (("serve", "--port", "0"), ("migrate",)):
        assert "is in use by process" in sentence(run(*command, *places, places=False))
    assert run("doctor", *places, places=False).returncode == 0
    assert run("migrate", "--plan", *places, places=False).returncode == 0


def test_a_taken_port_is_one_sentence(server: RunningServer, run: Run) -> None:
    assert f"port {server.port}" in sentence(run("serve", "--port", str(server.port)))


def test_serve_ends_with_zero_at_a_polite_stop(server: RunningServer) -> None:
    assert server.stop() == 0
    assert "Traceback" not in server.log.read_text()


def test_a_plugin_that_cannot_start_stops_the_start_by_name(run: Run, tmp_path: Path) -> None:
    (tmp_path / "chatserver_broken.py").write_text(
        "from chatserver import hookimpl\n@hookimpl\ndef startup(ctx):\n    raise OSError('the sky fell')\n"
    )
    info = tmp_path / "chatserver_broken-1.dist-info"
    info.mkdir()
    info.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: chatserver-broken\nVersion: 1\n")
    info.joinpath("entry_points.txt").write_text("[chatserver.plugins]\nbroken = chatserver_broken\n")
    (tmp_path / "chatserver.toml").write_text('[plugins]\nenabled = ["broken"]\n')
    result = run("serve", "--port", "0", PYTHONPATH=str(tmp_path))
    assert sentence(result) == "The plugin broken could not start: OSError: the sky fell"
