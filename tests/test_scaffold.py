"""`chatserver new-plugin`: each kind is a package whose own test is green, run as its author would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from chatserver.cli import commands
from chatserver.cli.scaffold import CODE


@pytest.mark.parametrize("kind", sorted(CODE))
def test_what_is_made_is_green(tmp_path: Path, kind: str) -> None:
    made = CliRunner().invoke(commands, ["new-plugin", "weather_map", "--kind", kind, "--into", str(tmp_path)])
    assert made.exit_code == 0, made.output
    folder = tmp_path / "chatserver-weather-map"
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=55,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    ruff = subprocess.run(
        [
            sys.executable,
            "-m",
            "ruff",
            "check",
            "--isolated",
            "--select",
            "E,F,B,UP",
            "--line-length",
            "120",
            str(folder),
        ],
        capture_output=True,
        text=True,
    )
    assert ruff.returncode == 0, ruff.stdout


def test_a_bad_name_and_a_taken_folder_are_told(tmp_path: Path) -> None:
    run = CliRunner()
    assert run.invoke(commands, ["new-plugin", "Weather-Map", "--into", str(tmp_path)]).exit_code != 0
    assert run.invoke(commands, ["new-plugin", "weather", "--into", str(tmp_path)]).exit_code == 0
    again = run.invoke(commands, ["new-plugin", "weather", "--into", str(tmp_path)])
    assert again.exit_code != 0 and "there already" in str(again.exception)
