"""What the migrations of a released version were: written down once, read again by the tests of every later version.

python -m tests.store.schemas > tests/store/schema-VERSION.sql
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from chatserver import __version__
from chatserver.domain.extend import Migration
from chatserver.plugins import Plugins
from chatserver.plugins.found import BUNDLED
from chatserver.store import audit, search
from chatserver.store.migrations import Sets, checksum_of
from chatserver.store.schema import CORE
from tests.engines import ENGINES

FOLDER = Path(__file__).parent
_HEAD = re.compile(r"^-- (\S+) (\S+) sha256 ([0-9a-f]{64})$", re.MULTILINE)


def current() -> dict[str, list[Migration]]:
    """Every set of ours by its name; search has one an engine, `search@sqlite`."""
    modules = [(name, importlib.import_module(f"chatserver_{name}")) for name in BUNDLED]
    plugins = Plugins.load(found=[], extra=modules)
    sets = {"core": CORE, **{f"search@{engine}": search.migrations(engine) for engine in ENGINES}}
    sets |= {f"audit@{engine}": audit.guards(engine) for engine in ENGINES}
    return {**sets, **dict(plugins.migrations())}


def written(sets: dict[str, list[Migration]]) -> str:
    lines = [f"-- The schema of version {__version__}, by migration; tests/store/schemas.py says how it was written."]
    for name, migrations in sets.items():
        for migration in migrations:
            lines.append(f"\n-- {name} {migration.name} sha256 {checksum_of(migration)}")
            lines += [f"{statement};" for statement in migration.sql]
    return "\n".join(lines) + "\n"


def read(file: Path) -> dict[str, list[Migration]]:
    """The sets as they were then. A migration whose text does not have its checksum any more fails here."""
    _, *parts = _HEAD.split(file.read_text())
    sets: dict[str, list[Migration]] = {}
    for name, title, checksum, body in zip(parts[::4], parts[1::4], parts[2::4], parts[3::4], strict=True):
        migration = Migration(title, tuple(part.strip() for part in body.split(";\n") if part.strip()))
        assert checksum_of(migration) == checksum, f"{file.name}: {name}/{title} was edited by hand"
        sets.setdefault(name, []).append(migration)
    return sets


def of_engine(sets: dict[str, list[Migration]], engine: str) -> Sets:
    """As a house on this engine brings them."""
    wanted = {name: name.partition("@")[0] for name in sets if name.partition("@")[2] in ("", engine)}
    return [(title, sets[name]) for name, title in wanted.items()]


if __name__ == "__main__":
    print(written(current()), end="")
