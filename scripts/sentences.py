"""What the house says in its errors: the page shows their sentences too, so a catalogue has to know each of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ERRORS = set("BadInput NotFound Conflict Refused LimitReached Unavailable TooLarge StorageFull ChatserverError".split())
ERRORS |= {"MethodNotAllowed", "ProofNeeded"}
ROOMS = ("chat/", "web/", "store/", "plugins/")
"""Of the core, those that stand behind a page. What the command line says stays English."""
SPOKEN_ELSEWHERE = set("backups copying exports doctor shared_backups sqlite snapshot direct".split())
"""Modules that speak to the command line, or to programs."""
PROGRAMS = set("openai_api imports otel anthropic gemini openai ollama local echo redis piper".split())
"""Plugins that speak to programs."""
PASSED_ON = {
    "chat/refusals.py": "a plugin's refusal, which the plugin told in the reader's words",
    "web/errors.py": "what a library found wrong with a request",
    "chatserver_mcp/connection.py": "what somebody else's server said",
}
"""Where a sentence is somebody else's."""


class Sentence(NamedTuple):
    """One error where it is made. text: None when it is put together from pieces, so that no catalogue can know it."""

    file: str
    line: int
    text: str | None


def sentences(package: Path) -> Iterator[Sentence]:
    """What a package's errors say that is not marked by itself."""
    if package.name.removeprefix("chatserver_") in PROGRAMS:
        return
    for path in sorted(package.rglob("*.py")):
        file = path.relative_to(package).as_posix()
        if package.name == "chatserver" and (not file.startswith(ROOMS) or path.stem in SPOKEN_ELSEWHERE):
            continue
        tree = ast.parse(path.read_text())
        pieces = {name for node in ast.walk(tree) for name in _pieced_names(node)}
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not _is_error(node.func) or not node.args:
                continue
            said = node.args[0]
            if isinstance(said, ast.Constant) and isinstance(said.value, str):
                yield Sentence(file, node.lineno, said.value)
            elif _is_pieced(said) or (isinstance(said, ast.Name) and said.id in pieces):
                yield Sentence(file, node.lineno, None)


def pieced(package: Path) -> list[str]:
    """The errors whose sentence no catalogue can know: they want `values`."""
    return [
        f"{one.file}:{one.line} puts its sentence together: say it with %(name)s, and values={{…}}"
        for one in sentences(package)
        if one.text is None and not {one.file, f"{package.name}/{one.file}"} & PASSED_ON.keys()
    ]


def _is_error(called: ast.expr) -> bool:
    return isinstance(called, ast.Name) and called.id in ERRORS


def _is_pieced(said: ast.expr) -> bool:
    """An f-string, a sum, or the doing of a method, but that of a marked sentence filled in."""
    if isinstance(said, ast.Call) and isinstance(said.func, ast.Attribute):
        of = said.func.value
        return said.func.attr != "format" or isinstance(of, ast.Constant | ast.JoinedStr)
    return isinstance(said, ast.JoinedStr | ast.BinOp)


def _pieced_names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Assign) and _is_pieced(node.value):
        for target in node.targets:
            if isinstance(target, ast.Name):
                yield target.id
