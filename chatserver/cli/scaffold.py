"""`new-plugin`: a package an author can install, with one test that is green from the first minute."""

from __future__ import annotations

import re
from pathlib import Path

import click

from chatserver import __version__
from chatserver.cli.base import commands
from chatserver.errors import BadInput, Conflict

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")

PROJECT = """\
[build-system]
requires = ["hatchling>=1.25"]
build-backend = "hatchling.build"

[project]
name = "chatserver-{dashed}"
version = "0.1.0"
description = "What this plugin brings, in a sentence."
readme = "README.md"
requires-python = ">=3.11"
dependencies = [
    # The hooks this was written against; a plugin is refused by any other version.
    "chatserver>={low},<{high}",
]

[project.optional-dependencies]
test = ["pytest>=8.3", "pytest-asyncio>=1.0", "httpx>=0.27,<1"]

[project.entry-points."chatserver.plugins"]
{name} = "chatserver_{name}"

[tool.hatch.build.targets.wheel]
packages = ["chatserver_{name}"]

[tool.pytest.ini_options]
asyncio_mode = "auto"
"""

README = """\
# chatserver-{dashed}

What it brings, to whom, and how one sees that it works.

```console
pip install -e '.[test]'
pytest
```

Allow it in `chatserver.toml`, because it is not one of the house's own, and restart:

```toml
[plugins]
enabled = ["{name}"]
```
"""

CODE = {
    "provider": '''\
"""A model behind a format of its own. docs/hooks.md says what else a plugin may bring."""

from __future__ import annotations

from collections.abc import AsyncIterator

from chatserver import (
    Channel,
    ChatRequest,
    Egress,
    Finish,
    Model,
    Provider,
    ProviderDelta,
    TextDelta,
    hookimpl,
    text_of,
)


class {camel}:
    """Speaks one vendor's format. Errors are UpstreamError; a stream that ends without a Finish was cut."""

    name = "{name}"

    async def discover(self, http: Egress) -> list[Channel]:
        return [Channel("{name}", "{name}", source="found")]

    async def list_models(self, channel: Channel, http: Egress) -> list[Model]:
        return [Model("{name}", context_tokens=8_000)]

    async def chat(self, request: ChatRequest, channel: Channel, http: Egress) -> AsyncIterator[ProviderDelta]:
        yield TextDelta(f"You said: {{text_of(request.messages[-1].parts)}}")
        yield Finish("stop")


@hookimpl
def register_providers() -> list[Provider]:
    return [{camel}()]
''',
    "tool": '''\
"""A tool that models may call in a turn. docs/hooks.md says what else a plugin may bring."""

from __future__ import annotations

from typing import Any

from chatserver import Tool, ToolOutcome, ToolSpec, ToolUse, hookimpl


class {camel}:
    """What comes in was written by a model and is checked by nobody; what goes out is read by one."""

    spec = ToolSpec(
        "{name}",
        "Say what this does, for a model that has to decide whether to call it.",
        {{"type": "object", "properties": {{"about": {{"type": "string"}}}}, "required": ["about"]}},
    )
    needs_consent = False

    async def call(self, arguments: dict[str, Any], use: ToolUse) -> ToolOutcome:
        about = arguments.get("about")
        if not isinstance(about, str):
            return ToolOutcome("Say what it is about.", is_error=True)
        return ToolOutcome(f"Nothing is known about {{about}} yet.")


@hookimpl
def register_tools() -> list[Tool]:
    return [{camel}()]
''',
    "page": '''\
"""A page in the house's frame, and its link at the side. docs/hooks.md says what else a plugin may bring."""

from __future__ import annotations

from pathlib import Path

from chatserver import NavItem, PageAnswer, PageFiles, PageVisit, Route, hookimpl


@hookimpl
def register_pages() -> list[PageFiles]:
    return [PageFiles(str(Path(__file__).parent / "templates"))]


@hookimpl
def register_routes() -> list[Route]:
    return [Route("/", page=show)]


@hookimpl
async def nav_items() -> list[NavItem]:
    return [NavItem("{title}", "/x/{name}/", "puzzle")]


async def show(visit: PageVisit) -> PageAnswer:
    return await visit.page("page.html", who=visit.actor.account.name or visit.actor.account.email)
''',
}

PAGE = """\
{% extends "plugin.html" %}
{% block heading %}TITLE{% endblock %}
{% block page %}<p>{{ who }}</p>{% endblock %}
"""

TESTS = {
    "provider": '''\
"""It answers. A provider that asks a vendor over HTTP subclasses chatserver.testing.provider.ProviderContract, too."""

from __future__ import annotations

import chatserver_{name}

from chatserver import Channel, ChatRequest, Finish, PromptMessage, TextDelta, TextPart


async def test_it_answers() -> None:
    asked = ChatRequest("{name}", (PromptMessage("user", (TextPart("Hello"),)),))
    channel = Channel("{name}", "{name}", source="found")
    said = [delta async for delta in chatserver_{name}.{camel}().chat(asked, channel, None)]
    assert isinstance(said[0], TextDelta) and "Hello" in said[0].text
    assert isinstance(said[-1], Finish)
''',
    "tool": '''\
"""The tool is offered, and answers what a model may ask."""

from __future__ import annotations

import chatserver_{name}

from chatserver.plugins import Plugins


async def test_it_answers() -> None:
    plugins = Plugins.load(found=(), extra=[("{name}", chatserver_{name})])
    ((_, tool),) = plugins.registered("register_tools")
    assert (await tool.call({{"about": "trees"}}, None)).text
    assert (await tool.call({{}}, None)).is_error
''',
    "page": '''\
"""The page is there for who is signed in."""

from __future__ import annotations

from pathlib import Path

import chatserver_{name}

from chatserver.testing.server import open_site


async def test_the_page_is_there(tmp_path: Path) -> None:
    async with open_site(tmp_path, plugins=[("{name}", chatserver_{name})]) as site:
        ada = await site.sign_up("ada@example.org")
        assert "<h1>{title}</h1>" in (await ada.get("/x/{name}/")).text
''',
}


@commands.command("new-plugin")
@click.argument("name")
@click.option("--kind", type=click.Choice(sorted(CODE)), default="provider", show_default=True)
@click.option("--into", default=".", show_default=True, metavar="DIR", help="Where its folder is made.")
def new_plugin(name: str, kind: str, into: str) -> None:
    """Make a package for a plugin of your own, with one test that is green."""
    if not NAME.fullmatch(name):
        raise BadInput("A plugin's name is lower-case letters, digits and _, beginning with a letter.")
    folder = Path(into) / f"chatserver-{name.replace('_', '-')}"
    if folder.exists():
        raise Conflict(f"{folder} is there already. Pick another name, or remove it.")
    for path, text in files_of(name, kind).items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    click.echo(f"{folder} is made. Next: cd {folder} && pip install -e '.[test]' && pytest")


def files_of(name: str, kind: str) -> dict[str, str]:
    """What stands in the folder: texts by their path in it."""
    major, minor, *_ = __version__.split(".")
    words = {
        "name": name,
        "dashed": name.replace("_", "-"),
        "camel": "".join(part.capitalize() for part in name.split("_")),
        "title": name.replace("_", " ").capitalize(),
        "low": f"{major}.{minor}",
        "high": f"{major}.{int(minor) + 2}",
    }
    package = f"chatserver_{name}"
    files = {
        "pyproject.toml": PROJECT.format(**words),
        "README.md": README.format(**words),
        f"{package}/__init__.py": CODE[kind].format(**words),
        f"tests/test_{name}.py": TESTS[kind].format(**words),
    }
    if kind == "page":
        files[f"{package}/templates/page.html"] = PAGE.replace("TITLE", words["title"])
    return files
