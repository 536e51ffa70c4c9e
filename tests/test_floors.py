"""Who may import whom, and who may touch what; read from the source, plugins and themes included."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EVERYBODY = {"errors", "clock", "domain"}
# A floor and the floors it may import, itself aside. "" is the public module, chatserver/__init__.py.
MAY_IMPORT = {
    "domain": set(),
    "errors": set(),
    "clock": set(),
    "logs": {"errors"},
    # The words of the page, and of plugins: the only reader of catalogues.
    "words": {"cldr"},
    "cldr": set(),
    "hookspecs": EVERYBODY,
    "plugins": EVERYBODY | {"hookspecs"},
    "settings": EVERYBODY,
    "store": EVERYBODY,
    "gateway": EVERYBODY,
    # What providers share: plugins import it, and so does nobody above the gateway.
    "upstreams": EVERYBODY,
    # Scripts of their own processes, and what starts them: they import nothing of ours.
    "confined": EVERYBODY,
    "chat": EVERYBODY | {"store", "gateway", "plugins", "confined"},
    "work": EVERYBODY | {"store", "plugins"},
    # The assembled server: made by cli, handed to web, which so needs none of the rooms below chat.
    "house": EVERYBODY | {"chat", "work", "store", "gateway", "plugins"},
    "web": EVERYBODY | {"chat", "work", "house", "words", ""},
    # What an engine is made of: the seam, decoders of rows, the bookkeeping of migrations. And the jail, for plugins
    # that open what people bring.
    "": EVERYBODY | {"hookspecs", "plugins", "store", "words", "confined"},
    # Where each setting comes from, for people.
    "sources": EVERYBODY | {"settings"},
    # What the settings mean for the database; and the processes of one server.
    "databases": EVERYBODY | {"settings", "store", "plugins"},
    "workers": EVERYBODY,
    "cli": None,
    "__main__": {"cli"},
    "testing": None,
}
# Libraries that belong to one room. A floor name, or a path below chatserver/.
ONLY_IN = {
    "sqlite3": {"store"},
    "sqlite_utils": {"store"},
    "litestar": {"web"},
    "jinja2": {"web"},
    "markdown_it": {"web"},
    "nh3": {"web"},
    "pygments": {"web"},
    "uvicorn": {"web"},
    "aiohttp": {"gateway"},
    "PIL": {"confined"},
    "charset_normalizer": {"confined"},
    "pluggy": {"hookspecs", "plugins"},
    "click": {"cli"},
}
# One egress client for the core and for plugins: whoever wants out asks for it.
HTTP_CLIENTS = {"aiohttp", "httpx", "requests", "urllib3", "urllib.request", "http.client", "pycurl", "niquests"}
# Libraries that open connections by themselves, each with the plugin that may have it: they go where an operator wrote
# down that they go, a database, a bus or a bucket, and never to an address a member, a model or a document named.
CONNECT_BY_THEMSELVES = {
    "psycopg": {"postgres"},
    "psycopg_pool": {"postgres"},
    "redis": {"redis"},
    "obstore": {"s3"},
}
FORBIDDEN_CLIENTS = {
    "asyncpg",
    "boto3",
    "botocore",
    "aioboto3",
    "aiobotocore",
    "minio",
    "pymysql",
    "ftplib",
    "paramiko",
}
TIME_MODULES = {"time", "datetime"}
SLEEP_ONLY = {"sleep"}


def check_source(path: str, source: str) -> list[str]:
    """What is wrong with a file; `path` is relative to the checkout and decides which rules hold for it."""
    parts = Path(path).parts
    tree = ast.parse(source, path)
    if parts[0] == "chatserver":
        floor = _floor(parts)
        return [*_check_core_imports(path, floor, tree), *_check_touching(path, floor, tree)]
    if parts[0] in ("plugins", "themes"):
        return _check_plugin(path, parts[1], tree)
    return []


def _floor(parts: tuple[str, ...]) -> str:
    name = Path(parts[1]).stem
    return "" if name == "__init__" else name


def _imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, dotted name); `from chatserver import clock` counts as chatserver.clock."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield node.lineno, "." * node.level
            elif node.module in ("chatserver", "urllib", "http"):
                for alias in node.names:
                    yield node.lineno, f"{node.module}.{alias.name}"
            else:
                yield node.lineno, node.module or ""


def _check_core_imports(path: str, floor: str, tree: ast.AST) -> list[str]:
    if floor not in MAY_IMPORT:
        return [f"{path}: {floor} is no floor of the house; add it to the rules or move it"]
    allowed = MAY_IMPORT[floor]
    wrong = []
    for line, name in _imports(tree):
        if name.startswith("."):
            wrong.append(f"{path}:{line}: imports are written out in full")
        elif name == "chatserver" or name.startswith("chatserver."):
            target = [*name.split("."), ""][1]
            target = target if target in MAY_IMPORT else ""
            if allowed is not None and target != floor and target not in allowed:
                wrong.append(f"{path}:{line}: {floor or 'chatserver'} may not import {name}")
        else:
            if name.split(".")[0] in {*CONNECT_BY_THEMSELVES, *FORBIDDEN_CLIENTS} and floor != "testing":
                wrong.append(f"{path}:{line}: the core connects to nothing by {name}")
            wrong += [
                f"{path}:{line}: {library} belongs to {', '.join(sorted(rooms))}"
                for library, rooms in ONLY_IN.items()
                if name.split(".")[0] == library and floor not in {*rooms, "testing"}
            ]
            if name in HTTP_CLIENTS and floor not in ("gateway", "testing"):
                wrong.append(f"{path}:{line}: the only HTTP client is the egress of gateway, and this is {name}")
    return wrong


def _check_touching(path: str, floor: str, tree: ast.AST) -> list[str]:
    wrong = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
            continue
        owner, name = node.value.id, node.attr
        if owner == "os" and name in ("environ", "getenv", "environb") and floor not in ("settings", "testing"):
            wrong.append(f"{path}:{node.lineno}: only settings reads the environment")
        if owner in TIME_MODULES and name not in SLEEP_ONLY and floor not in ("clock", "testing"):
            is_reading = owner == "time" or name in ("now", "utcnow", "today")
            if is_reading and name not in ("struct_time", "strftime"):
                wrong.append(f"{path}:{node.lineno}: only clock reads the time")
    return wrong


def _check_plugin(path: str, plugin: str, tree: ast.AST) -> list[str]:
    is_test = "tests" in Path(path).parts
    wrong = []
    for line, name in _imports(tree):
        if name in HTTP_CLIENTS and not is_test:
            wrong.append(f"{path}:{line}: a plugin's way out is ctx.http, and this is {name}")
        library = name.split(".")[0]
        if not is_test and (plugin not in CONNECT_BY_THEMSELVES.get(library, {plugin}) or library in FORBIDDEN_CLIENTS):
            wrong.append(f"{path}:{line}: {library} connects by itself, which takes a decision of its own")
        if not name.startswith("chatserver."):
            continue
        part = name.split(".")[1]
        if part != "testing" and name != "chatserver.upstreams" and (ROOT / "chatserver" / part).exists():
            wrong.append(f"{path}:{line}: a plugin imports chatserver and chatserver.testing, and this is {name}")
        if part != "testing" and part != "clock" and (ROOT / "chatserver" / f"{part}.py").exists():
            wrong.append(f"{path}:{line}: a plugin imports chatserver and chatserver.testing, and this is {name}")
    return wrong


def sources() -> list[Path]:
    found: list[Path] = []
    for folder in ("chatserver", "plugins", "themes"):
        found += (ROOT / folder).rglob("*.py")
    return [path.relative_to(ROOT) for path in sorted(found) if "build" not in path.parts]


def test_every_file_keeps_to_its_floor() -> None:
    wrong = [problem for path in sources() for problem in check_source(str(path), (ROOT / path).read_text())]
    assert not wrong, "\n".join(wrong)


def test_every_floor_is_drawn_in_the_docs() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    for floor in set(MAY_IMPORT) - {"", "__main__"}:
        assert f"{floor}.py" in text or f"{floor}/" in text, floor


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("chatserver/domain/x.py", "from chatserver.errors import NotFound"),
        ("chatserver/domain/x.py", "import chatserver.store.turns"),
        ("chatserver/store/x.py", "from chatserver.gateway import relay"),
        ("chatserver/gateway/x.py", "from chatserver.store import turns"),
        ("chatserver/web/x.py", "from chatserver.store.turns import Turn"),
        ("chatserver/web/x.py", "from chatserver.plugins import Plugins"),
        ("chatserver/web/x.py", "def f():\n    from chatserver import store"),
        ("chatserver/work/x.py", "from chatserver.chat.runner import Runner"),
        ("chatserver/chat/x.py", "from chatserver.web import app"),
        ("chatserver/chat/x.py", "from chatserver import settings"),
        ("chatserver/chat/x.py", "from chatserver import Message"),
        ("chatserver/plugins/x.py", "from chatserver.store.database import Tx"),
        ("chatserver/chat/x.py", "from ..store import turns"),
        ("chatserver/helpers.py", "x = 1"),
        ("chatserver/chat/x.py", "import sqlite3"),
        ("chatserver/chat/x.py", "from litestar import get"),
        ("chatserver/web/x.py", "import aiohttp"),
        ("chatserver/web/x.py", "from urllib import request"),
        ("chatserver/web/x.py", "import httpx"),
        ("chatserver/store/x.py", "import obstore"),
        ("chatserver/web/x.py", "import os\nx = os.environ['A']"),
        ("chatserver/chat/x.py", "import time\nx = time.monotonic()"),
        ("chatserver/chat/x.py", "import datetime\nx = datetime.datetime.now"),
        ("plugins/weather/chatserver_weather/__init__.py", "from chatserver.domain.models import Model"),
        ("plugins/weather/chatserver_weather/__init__.py", "from chatserver.errors import NotFound"),
        ("plugins/weather/chatserver_weather/__init__.py", "import requests"),
        ("plugins/weather/tests/test_x.py", "from chatserver.plugins import Plugins"),
        ("plugins/weather/chatserver_weather/__init__.py", "from obstore.store import S3Store"),
        ("plugins/s3/chatserver_s3/__init__.py", "import boto3"),
        ("themes/dark/chatserver_dark/__init__.py", "from chatserver.web import app"),
    ],
)
def test_a_wrong_line_is_found(path: str, source: str) -> None:
    if source.endswith("datetime.now"):
        source = "from datetime import datetime\nx = datetime.now"
    assert check_source(path, source)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("chatserver/chat/x.py", "from chatserver import clock\nfrom chatserver.store.turns import Turn"),
        ("chatserver/web/x.py", "from chatserver.chat.runner import Runner\nimport litestar"),
        ("chatserver/cli/serving.py", "from chatserver.web import app\nimport click"),
        ("chatserver/store/x.py", "import sqlite3\nimport time\ntime.sleep(1)"),
        ("plugins/weather/chatserver_weather/__init__.py", "from chatserver import hookimpl, Model, clock"),
        ("plugins/weather/tests/test_x.py", "from chatserver.testing.provider import FakeUpstream\nimport httpx"),
        ("plugins/s3/chatserver_s3/__init__.py", "def f():\n    import obstore"),
    ],
)
def test_a_right_line_is_let_through(path: str, source: str) -> None:
    assert check_source(path, source) == []
