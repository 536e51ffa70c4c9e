"""The wheels, as a stranger gets them: built, installed offline in a fresh environment, and a message answered."""

from __future__ import annotations

import hashlib
import http.cookiejar
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import time
import tomllib
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from chatserver.plugins.found import BUNDLED
from chatserver.testing.upstream import FakeUpstream
from tests.running import RunningServer

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "wheels"
BOX_MAX_MB = 130
BOX_MAX_PACKAGES = 60
GPL = re.compile(r"(?<!L)(?<!Lesser )(A?GPL|General Public License)")
PASSWORD = "correct horse battery"

pytestmark = pytest.mark.timeout(400)


def projects() -> dict[str, Path]:
    """Every distribution of this checkout, by name."""
    files = [ROOT / "pyproject.toml", *ROOT.glob("plugins/*/pyproject.toml"), *ROOT.glob("themes/*/pyproject.toml")]
    return {read(file)["project"]["name"]: file.parent for file in files}


def read(file: Path) -> dict[str, Any]:
    return tomllib.loads(file.read_text())


def requirement_name(text: str) -> str:
    return re.split(r"[\[<>=!~; ]", text, maxsplit=1)[0]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every wheel of ours."""
    folder = tmp_path_factory.mktemp("wheels")
    for project in projects().values():
        call(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder), cwd=project)
    return folder


@pytest.fixture(scope="module")
def strangers() -> Path:
    """A folder with what the box needs of others; fetched once and kept in the checkout's cache."""
    wanted: set[str] = set()
    for name in ["chatserver", *(requirement_name(one) for one in box())]:
        wanted |= set(read(projects()[name] / "pyproject.toml")["project"]["dependencies"])
    texts = sorted(one for one in wanted if requirement_name(one) != "chatserver")
    folder = CACHE / hashlib.sha256("\n".join([sys.version, *texts]).encode()).hexdigest()[:16]
    if not (folder / "complete").exists():
        call(sys.executable, "-m", "pip", "download", "-q", "--only-binary=:all:", "-d", str(folder), *texts)
        (folder / "complete").touch()
    return folder


def box() -> list[str]:
    return list(read(ROOT / "pyproject.toml")["project"]["optional-dependencies"]["box"])


def call(*command: str, cwd: Path = ROOT, env: dict[str, str] | None = None) -> str:
    result = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout[-2000:]}\n{result.stderr[-4000:]}"
    return result.stdout


@pytest.fixture(scope="module")
def fresh(wheels: Path, strangers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with nothing but `chatserver[box]`, installed without a network."""
    venv = tmp_path_factory.mktemp("fresh") / "venv"
    call(sys.executable, "-m", "venv", "--without-pip", str(venv))
    pip = [sys.executable, "-m", "pip", "--python", str(venv / "bin" / "python"), "install", "-q", "--no-index"]
    # Nothing of this machine's own configuration may help.
    env = {**os.environ, "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": f"{wheels} {strangers}"}
    call(*pip, "chatserver[box]", env=env)
    return venv


class FreshServer(RunningServer):
    """A server run from an environment of its own."""

    venv: Path

    def command(self, *words: str) -> list[str]:
        return [str(self.venv / "bin" / "chatserver"), *words]


class Browser:
    """Cookies, forms and what a browser says about where a request comes from."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        )
        self.csrf = ""

    def ask(self, path: str, body: dict[str, Any] | None = None, *, is_form: bool = False) -> str:
        headers = {"Sec-Fetch-Site": "same-origin", "X-CSRF": self.csrf}
        data = None
        if body is not None:
            data = (urllib.parse.urlencode(body) if is_form else json.dumps(body)).encode()
            headers["Content-Type"] = "application/x-www-form-urlencoded" if is_form else "application/json"
        request = urllib.request.Request(self.url + path, data, headers)
        with self._opener.open(request, timeout=30) as answer:
            text = answer.read().decode()
        found = re.search(r'name="csrf" value="([^"]+)"', text)
        self.csrf = found[1] if found else self.csrf
        return text

    def json(self, path: str, body: dict[str, Any] | None = None) -> Any:
        return json.loads(self.ask(path, body))


def test_the_box_signs_somebody_in_and_answers(fresh: Path, tmp_path: Path) -> None:
    with FakeUpstream.in_thread() as upstream:
        server = FreshServer(tmp_path, upstream.base_url, models=["fake-n5"])
        server.venv = fresh
        server.start()
        try:
            key = server.account("ann@example.org", PASSWORD)
            assert key.startswith("cs_")
            browser = Browser(server.url)
            browser.ask("/sign-in", {"email": "ann@example.org", "password": PASSWORD}, is_form=True)
            assert "Message" in browser.ask("/")
            conversation = browser.json("/api/conversations", {})["id"]
            sent = browser.json(
                f"/api/conversations/{conversation}/messages", {"parent_id": None, "text": "hello", "model": "fake-n5"}
            )
            assert browser.ask(f"/api/turns/{sent['turn_id']}/events").count("event: end") == 1
            assert state_of(browser, sent["turn_id"]) == "done"
            question, reply = browser.json(f"/api/conversations/{conversation}/messages")["messages"]
            assert question["parts"] == [{"type": "text", "text": "hello"}]
            assert reply["parts"][0]["text"]
        finally:
            assert server.stop() == 0


def test_used_plugins_are_uninstalled_and_installed_again(fresh: Path, wheels: Path, tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--python", str(fresh / "bin" / "python")]
    env = {**os.environ, "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": str(wheels)}
    names = ["chatserver-artifacts", "chatserver-voices"]

    def there(browser: Browser) -> list[str]:
        page = browser.ask(f"/c/{chat}")
        assert "tick tock" in page
        return [mark for mark in ("cover-card", "Read aloud", "/x/artifacts/", "/x/voices/") if mark in page]

    with FakeUpstream.in_thread() as upstream:
        server = FreshServer(tmp_path, upstream.base_url, models=["fake-echo"])
        server.venv = fresh
        server.start()
        try:
            server.account("ann@example.org", PASSWORD)
            browser = Browser(server.url)
            browser.ask("/sign-in", {"email": "ann@example.org", "password": PASSWORD}, is_form=True)
            browser.ask("/")
            chat = browser.json("/api/conversations", {})["id"]
            text = '```html title="A clock"\n<p>tick tock</p>\n```'
            question = {"parent_id": None, "text": text, "model": "fake-echo"}
            sent = browser.json(f"/api/conversations/{chat}/messages", question)
            assert state_of(browser, sent["turn_id"]) == "done" and len(there(browser)) == 3
            (clock,) = browser.json(f"/x/artifacts/?conversation={chat}")["artifacts"]
            place = f"/x/artifacts/panel/{chat}/{sent['reply_id']}/{clock['id']}"
            browser.ask(place, {"text": "<p>by hand</p>", "csrf": browser.csrf}, is_form=True)
            browser.ask("/x/voices/", {"voice": "default", "speed": "1.5", "csrf": browser.csrf}, is_form=True)
            assert server.stop() == 0
            try:
                call(*pip, "uninstall", "-q", "-y", *names, env=env)
                server.start()
                assert there(browser) == [] and "Message" in browser.ask("/")
                assert "/x/voices/" not in browser.ask("/settings")
                assert server.stop() == 0
                server.run("doctor")
            finally:
                call(*pip, "install", "-q", "--no-index", "--no-deps", *names, env=env)
            server.start()
            assert len(there(browser)) == 3
            (clock,) = browser.json(f"/x/artifacts/?conversation={chat}")["artifacts"]
            assert [one["is_by_hand"] for one in clock["versions"]] == [False, True]
            assert 'value="1.5" selected' in browser.ask("/x/voices/")
        finally:
            server.stop()


def state_of(browser: Browser, turn_id: str) -> str:
    deadline = time.monotonic() + 10
    state = "running"
    while state == "running" and time.monotonic() < deadline:
        state = browser.json(f"/api/turns/{turn_id}")["state"]
    return state


def test_the_box_is_light(fresh: Path) -> None:
    (site,) = (fresh / "lib").glob("python*/site-packages")
    size_bytes = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    packages = [path for path in site.glob("*.dist-info") if not path.name.startswith("pip-")]  # it comes with any venv
    assert size_bytes <= BOX_MAX_MB * 1_000_000
    assert len(packages) <= BOX_MAX_PACKAGES


def test_the_core_starts_without_any_plugin(fresh: Path, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    names = ", ".join(f'"{name}"' for name in BUNDLED)
    server = FreshServer(tmp_path / "x", "")
    server.venv = fresh
    server.config.write_text(f"[plugins]\ndisabled = [{names}]\n")
    server.start()
    try:
        assert "<form" in Browser(server.url).ask("/sign-in")
    finally:
        assert server.stop() == 0


def test_a_plugin_from_outside_answers_and_has_its_button_and_its_page(
    wheels: Path, strangers: Path, tmp_path: Path
) -> None:
    """The plugin of docs/plugins, as a wheel beside the core in an environment of its own."""
    call(
        sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path), cwd=ROOT / "docs/plugins/shout"
    )
    venv = tmp_path / "venv"
    call(sys.executable, "-m", "venv", "--without-pip", str(venv))
    pip = [sys.executable, "-m", "pip", "--python", str(venv / "bin" / "python"), "install", "-q", "--no-index"]
    env = {**os.environ, "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": f"{wheels} {strangers} {tmp_path}"}
    call(*pip, "chatserver-password", "chatserver-shout", env=env)
    server = FreshServer(tmp_path / "x", "")
    server.venv = venv
    server.config.write_text('[plugins]\nenabled = ["shout"]\n')
    server.start()
    try:
        server.account("ann@example.org", PASSWORD, role="admin")
        browser = Browser(server.url)
        browser.ask("/sign-in", {"email": "ann@example.org", "password": PASSWORD}, is_form=True)
        assert 'href="/x/shout/"' in browser.ask("/")
        assert 'value="1"' in browser.ask("/x/shout/")
        assert 'value="3"' in browser.ask("/x/shout/", {"marks": "3", "csrf": browser.csrf}, is_form=True)
        conversation = browser.json("/api/conversations", {})["id"]
        question = {"parent_id": None, "text": "hello", "model": "shout"}
        sent = browser.json(f"/api/conversations/{conversation}/messages", question)
        assert state_of(browser, sent["turn_id"]) == "done"
        _, reply = browser.json(f"/api/conversations/{conversation}/messages")["messages"]
        assert reply["parts"][0]["text"] == "HELLO!!!"
    finally:
        assert server.stop() == 0


def test_every_wheel_holds_its_package_and_nothing_of_the_tests(wheels: Path) -> None:
    built = sorted(wheels.glob("*.whl"))
    assert len(built) == len(projects())
    for wheel in built:
        names = zipfile.ZipFile(wheel).namelist()
        package = wheel.name.split("-")[0]
        assert f"{package}/__init__.py" in names
        foreign = {name for name in names if not name.startswith((f"{package}/", f"{package}-"))}
        assert not foreign, wheel.name


def test_the_cores_wheel_holds_what_is_not_python(wheels: Path) -> None:
    (wheel,) = wheels.glob("chatserver-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.startswith("chatserver/web/templates/") for name in names)
    assert any(name.startswith("chatserver/web/static/") and name.endswith(".js") for name in names)
    assert any(name.endswith("/licenses/LICENSE") for name in names)


@pytest.mark.parametrize("name", sorted(set(projects()) - {"chatserver"}))
def test_a_plugins_project_keeps_the_conventions(name: str) -> None:
    folder = projects()[name]
    project = read(folder / "pyproject.toml")["project"]
    plugin = folder.name
    assert name == f"chatserver-{plugin}".replace("_", "-")
    (entry,) = project["entry-points"]["chatserver.plugins"].items()
    assert (entry[0], entry[1].partition(":")[0]) == (plugin, f"chatserver_{plugin}")
    assert BUNDLED[plugin] == name
    assert "chatserver>=0.1,<0.3" in project["dependencies"]
    assert project["license"].startswith("Apache-2.0")
    assert (folder / "README.md").exists()


def test_versions_move_together() -> None:
    import chatserver

    versions = {name: read(folder / "pyproject.toml")["project"]["version"] for name, folder in projects().items()}
    assert set(versions.values()) == {chatserver.__version__}
    extras = read(ROOT / "pyproject.toml")["project"]["optional-dependencies"]
    ours = [one for name in ("box", "all", "cloud") for one in extras[name] if one.startswith("chatserver-")]
    assert all(one.endswith(f"=={chatserver.__version__}") for one in ours)


def test_our_sets_bring_nothing_under_the_gpl() -> None:
    """`[all]` promises it. PyAV says BSD of itself and carries x264 and x265 in its wheel, so it is named."""
    met: set[str] = set()
    waiting = [Requirement(f"chatserver[{name}]") for name in ("box", "all", "cloud")]
    while waiting:
        wanted = waiting.pop()
        known = f"{canonicalize_name(wanted.name)}[{','.join(sorted(wanted.extras))}]"
        if known in met:
            continue
        met.add(known)
        for text in importlib.metadata.requires(wanted.name) or ():
            one = Requirement(text)
            if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in ("", *wanted.extras)):
                waiting.append(one)
    names = {one.partition("[")[0] for one in met}
    assert {"chatserver-dictation", "chatserver-knowledge", "msgspec"} <= names
    assert not names & {"av", "faster-whisper", "piper-tts", "chatserver-piper"}
    told = {name: importlib.metadata.metadata(name) for name in names}
    licences = {
        name: [
            str(one.get("License-Expression", "")),
            str(one.get("License", ""))[:200],
            *(one.get_all("Classifier") or ()),
        ]
        for name, one in told.items()
    }
    assert [name for name, texts in licences.items() if any(GPL.search(text) for text in texts)] == []


def test_no_package_host_is_named_anywhere() -> None:
    tracked = call("git", "ls-files").split()
    hosts = re.compile(r"pypi\.|pythonhosted|npmjs|--index-url|--extra-index", re.IGNORECASE)
    kinds = {".py", ".toml", ".md", ".cfg", ".sh", ".html", ".js", "", ".yml", ".txt"}
    texts = [ROOT / one for one in tracked if Path(one).suffix in kinds and one != "tests/test_packaging.py"]
    named = [str(path) for path in texts if path.is_file() and hosts.search(path.read_text(errors="ignore"))]
    assert named == []
