"""The page's script is one file in a browser and many here, and loses nothing on the way."""

from __future__ import annotations

import re
from collections import Counter

from chatserver.web import assets
from chatserver.web.joining import join_script

MODULES = {path.name: path.read_text() for path in assets.STATIC.glob("*.js")}
NAMES = re.compile(r"^(?:export )?(?:async )?(?:function|const|let|class) ([\w$]+)", re.M)


def test_what_is_imported_stands_before_who_needs_it_once() -> None:
    modules = {
        "app.js": 'import "./b.js"\nimport { a } from "./a.js"\n\n// a remark\nb(a)\n\nexport { a }\n',
        "a.js": 'import * as all from "./app.js"\n\nexport const a = () => all // why\n',
        "b.js": 'import { a } from "./a.js"\n\nexport async function b(it) {\n  // another\n  return it(a)\n}\n',
        "lazy.js": 'import { a } from "./app.js"\n',
    }
    assert join_script(modules, "app.js") == (
        'import * as all from "./app.js"\nconst a = () => all // why\n'
        "async function b(it) {\nreturn it(a)\n}\n"
        "b(a)\nexport { a }\n",
        {"app.js", "a.js", "b.js"},
    )


def test_modules_that_need_each_other_are_joined_all_the_same() -> None:
    modules = {
        "app.js": 'import { a } from "./a.js"\na()\n',
        "a.js": 'import { b } from "./b.js"\nexport const a = () => b\n',
        "b.js": 'import { a } from "./a.js"\nexport const b = () => a\n',
    }
    assert join_script(modules, "app.js")[0] == "const b = () => a\nconst a = () => b\na()\n"


def test_page_script_is_whole() -> None:
    """Every declaration of its parts is in it, under a name of its own; nothing is left that only a module may say."""
    joined, parts = join_script(MODULES, "app.js")
    declared = Counter(name for part in parts for name in NAMES.findall(MODULES[part]))
    assert [name for name, count in declared.items() if count > 1] == []
    assert set(declared) <= set(NAMES.findall(joined))
    assert re.findall(r"^import .*$", joined, re.M) == ['import * as house from "./app.js"']
    assert len(re.findall(r"^export\b", joined, re.M)) == 1


def test_no_module_holds_text_of_several_lines() -> None:
    """Or it would lose its blank lines and indents on the way."""
    for name, text in MODULES.items():
        lines = text.splitlines() if name != "htmx.min.js" else []
        assert [line for line in lines if line.count("`") % 2] == [], name


def test_parts_of_the_page_script_are_imported_by_the_name_of_who_exports_them() -> None:
    """Each part would run by itself, unjoined: whom it imports from is there and exports that."""
    parts = join_script(MODULES, "app.js")[1]
    exported = {
        part: set(re.findall(r"^export .*?(?:function|const|let) ([\w$]+)", MODULES[part], re.M)) for part in parts
    }
    for part in parts:
        for names, origin in re.findall(r'^import \{ (.*) \} from "\./(.*)"$', MODULES[part], re.M):
            assert set(names.split(", ")) <= exported[origin], f"{part} from {origin}"


def test_a_browser_is_given_one_file() -> None:
    parts = join_script(MODULES, "app.js")[1]
    digest = assets.url("core", "app.js").split("/")[3]
    assert [name for name in parts if assets.find("core", digest, name)] == ["app.js"]
