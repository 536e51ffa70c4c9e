"""What `make` does before it serves or tests: only what is missing, and a sentence where it cannot."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, over a checkout that holds only its project files; what it would run is kept in `ran`."""
    spec = importlib.util.spec_from_file_location("install", ROOT / "scripts" / "install.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for file in module.project_files():
        copy = tmp_path / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy)
    (tmp_path / ".venv").mkdir()
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(module, "STAMP", tmp_path / ".venv" / "stamp.json")
    monkeypatch.setattr(module, "make_venv", lambda: None)
    monkeypatch.setattr(module, "install_tools", lambda: None)
    module.ran = []  # type: ignore[attr-defined]
    monkeypatch.setattr(module, "run", lambda *command: module.ran.append([str(part) for part in command]))
    return module


def test_the_box_is_one_pip_command_and_the_demo_models_weights(install: ModuleType) -> None:
    install.main("box")
    box, weights = install.ran
    folders = [box[at + 1] for at, word in enumerate(box) if word == "-e"]
    assert folders[0] == ".[box]"
    names = {f"chatserver-{Path(folder).name}".replace("_", "-") for folder in folders[1:]}
    assert names == {one.partition("=")[0] for one in extras()["box"]} | {"chatserver-imports", "chatserver-local"}
    assert weights[-2:] == ["--no-deps", install.DEMO_MODEL]


def test_the_tests_get_everything_there_is(install: ModuleType) -> None:
    install.main("test")
    folders = [word for at, word in enumerate(install.ran[0]) if install.ran[0][at - 1] == "-e"]
    assert folders[0] == ".[box,all,test]"
    assert len(folders) == len(install.project_files())


def test_nothing_is_installed_twice(install: ModuleType) -> None:
    install.main("test")
    install.ran.clear()
    for wanted in ("test", "box", "all"):
        install.main(wanted)
    assert install.ran == []


def test_a_changed_project_is_installed_again(install: ModuleType) -> None:
    install.main("box")
    install.ran.clear()
    install.main("all")
    assert len(install.ran) == 2
    with (install.ROOT / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    install.main("box")
    assert len(install.ran) == 4


@pytest.mark.parametrize("is_root", [True, False])
def test_without_venv_root_gets_the_package_and_others_a_sentence(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], is_root: bool
) -> None:
    spec = importlib.util.spec_from_file_location("again", ROOT / "scripts" / "install.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    works = iter([False, True])
    installed: list[str] = []
    monkeypatch.setattr(module, "VENV", install.ROOT / "none")
    monkeypatch.setattr(module, "try_venv", lambda: next(works))
    monkeypatch.setattr(module, "can_use_apt", lambda: is_root)
    monkeypatch.setattr(module, "apt_install", lambda *packages: installed.extend(packages))
    if is_root:
        module.make_venv()
        assert installed == ["python3-venv"]
    else:
        with pytest.raises(SystemExit) as caught:
            module.make_venv()
        assert caught.value.code == 1
        assert capsys.readouterr().err.count("\n") == 1
        assert installed == []


def test_make_run_passes_neither_host_nor_port_and_keeps_what_is_set() -> None:
    told = subprocess.run(["make", "-n", "run"], cwd=ROOT, capture_output=True, text=True, timeout=20).stdout
    (line,) = [line for line in told.replace("\\\n", " ").splitlines() if "chatserver serve" in line]
    assert "--host" not in line and "--port" not in line
    assert 'CHATSERVER_DATA="${CHATSERVER_DATA:-' in line
    assert 'CHATSERVER_CONFIG="${CHATSERVER_CONFIG:-' in line


def test_the_extras_name_only_what_is_here() -> None:
    named = [one for name in ("box", "all", "cloud") for one in extras()[name] if "==" in one]
    ours = {one.partition("=")[0].partition("[")[0] for one in named}
    folders = {f"chatserver-{path.parent.name}".replace("_", "-") for path in ROOT.glob("*/*/pyproject.toml")}
    assert ours <= folders


def extras() -> dict[str, list[str]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return dict(project["optional-dependencies"])
