"""No hook changes by accident: signatures are locked, each is documented with an example that runs, each is tested."""

from __future__ import annotations

import inspect
import re
import types
from pathlib import Path

import pytest

from chatserver import hookspecs
from chatserver.plugins import Plugins
from chatserver.plugins.hooks import Hooks, Spec

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "tests" / "hooks.lock"
DOCS = ROOT / "docs" / "hooks.md"
EXAMPLE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def specs() -> dict[str, Spec]:
    hooks = Hooks()
    hooks.add_specs(hookspecs, "chatserver")
    return hooks.specs


def locked_lines() -> str:
    lines = []
    for name, spec in sorted(specs().items()):
        rule = spec.rule
        flags = [flag for flag in ("at_start", "fatal", "guard") if getattr(rule, flag)]
        signature = str(inspect.signature(getattr(hookspecs, name))).replace("'", "")
        lines.append(" ".join([f"{name}{signature}:", rule.mode, f"{rule.timeout_s:g}s", *flags]))
    return "\n".join(lines) + "\n"


def documented() -> dict[str, str]:
    """The text below each `### \\`hook\\`` heading."""
    parts = re.split(r"^#{2,3} (.*)$", DOCS.read_text(), flags=re.MULTILINE)
    return {head.strip("`"): body for head, body in zip(parts[1::2], parts[2::2], strict=True)}


def test_signatures_are_the_locked_ones() -> None:
    assert locked_lines() == LOCK.read_text(), "a hook changed; docs/hooks.md says what that means"


@pytest.mark.parametrize("hook", sorted(specs()))
def test_every_hook_is_documented_with_an_example(hook: str) -> None:
    text = documented()[hook]
    rule = specs()[hook].rule
    assert text.lstrip().startswith(rule.mode), f"the docs begin with the mode, {rule.mode}"
    assert ("at start" in text.split("\n\n")[0]) == rule.at_start
    assert ("a guard" in text.split("\n\n")[0]) == rule.guard
    assert any(f"def {hook}(" in example for example in EXAMPLE.findall(text))


def test_the_docs_speak_of_no_hook_that_is_not_there() -> None:
    headings = re.findall(r"^### `(\w+)`$", DOCS.read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(specs())


def test_the_docs_name_every_slot() -> None:
    from chatserver.web.slots import CONSOLE_SLOTS, MESSAGE_SLOTS, PAGE_SLOTS, WRITING_SLOTS

    table = documented()["render_slot"].partition("| slot |")[2]
    assert set(re.findall(r"`([a-z]+(?:\.[a-z]+)?)`", table.partition("```")[0])) - {"message_id"} == {
        *PAGE_SLOTS,
        *MESSAGE_SLOTS,
        *WRITING_SLOTS,
        *CONSOLE_SLOTS,
    }


def examples() -> list[tuple[str, str]]:
    return [(head, code) for head, text in documented().items() for code in EXAMPLE.findall(text)]


@pytest.mark.parametrize(("head", "code"), examples(), ids=[head for head, _ in examples()])
async def test_the_examples_of_the_docs_load(head: str, code: str, tmp_path: Path) -> None:
    module = types.ModuleType("example")
    exec(compile(code, f"docs/hooks.md, {head}", "exec"), module.__dict__)
    holder = next((one for one in vars(module).values() if _holds_hooks(one, module)), module)
    plugins = Plugins.load(found=(), extra=[("example", holder)])
    (line,) = plugins.report()
    assert head not in specs() or head in line.hooks
    await plugins.start()
    await plugins.stop()
    fixtures: dict[str, object] = {
        "plugin_manager": lambda **holders: Plugins.load(found=(), extra=list(holders.items())),
        "tmp_path": tmp_path,
    }
    for name, test in vars(module).items():
        if name.startswith("test_"):
            wanted = inspect.signature(test).parameters
            await test(**{fixture: given for fixture, given in fixtures.items() if fixture in wanted})


def _holds_hooks(value: object, module: types.ModuleType) -> bool:
    is_own = inspect.isclass(value) and value.__module__ == module.__name__
    return is_own and any(hasattr(function, "chatserver_impl") for function in vars(value).values())


@pytest.mark.parametrize("hook", sorted(specs()))
def test_every_hook_is_tested(hook: str) -> None:
    texts = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py") if path.name != Path(__file__).name]
    called = re.compile(rf"{hook}=|def {hook}\(|\"{hook}\"")
    assert any(called.search(text) for text in texts)


if __name__ == "__main__":
    print(locked_lines(), end="")
