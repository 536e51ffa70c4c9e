"""Gather every marked message into the catalogues of its package, and say what is not translated yet.

python scripts/translations.py            # update chatserver/locale and plugins/*/*/locale
python scripts/translations.py --check    # change nothing; exit 1 when something is missing, fuzzy or out of place
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from gettext import GNUTranslations
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from sentences import pieced, sentences

ROOT = Path(__file__).resolve().parent.parent
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
LOCALES = {"zh": "zh_Hans", "fr": "fr"}
METHODS = [("**.py", "python"), ("**/templates/**.html", "jinja2")]
OPTIONS = {"**/templates/**.html": {"trimmed": "true", "extensions": "jinja2.ext.i18n"}}
KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2), "tell": (2,), "tell_soon": (2,)}
"""Of a notice the second argument: its key comes first."""
_PLACES = re.compile(r"\{[^}]*\}|%\([a-z_]+\)[sd]")


def packages() -> Iterator[Path]:
    """The core, and every plugin and theme of ours that marks a message."""
    yield ROOT / "chatserver"
    for project in sorted([*ROOT.glob("plugins/*/pyproject.toml"), *ROOT.glob("themes/*/pyproject.toml")]):
        yield from project.parent.glob("chatserver_*")


def gather(package: Path) -> Catalog:
    """What a package says, in the order of its files. Places in the source are left out, so that lines may move."""
    catalog = Catalog(fuzzy=False)
    with contextlib.redirect_stderr(io.StringIO()):  # it tells of f-strings that only a log is told
        marked = list(extract_from_dir(package, METHODS, OPTIONS, KEYWORDS, comment_tags=("Translators:",)))
    found = [(file, line, message, comments) for file, line, message, comments, _context in marked]
    found += [(one.file, one.line, one.text, []) for one in sentences(package) if one.text]
    for _file, _line, message, comments in sorted(found, key=lambda one: (one[0], one[1])):
        catalog.add(message, None, auto_comments=comments)
    return catalog


def update(package: Path, language: str, said: Catalog) -> Path:
    path = package / "locale" / f"{language}.po"
    path.parent.mkdir(exist_ok=True)
    kept = read(path, language) if path.is_file() else Catalog(locale=LOCALES[language])
    kept.update(said, no_fuzzy_matching=True)
    kept.obsolete.clear()
    kept.fuzzy = False
    kept.header_comment = "# The words of the page. Gathered by `make translations`."
    with path.open("wb") as file:
        write_po(file, kept, width=0, omit_header=False, no_location=True, sort_output=False, include_previous=False)
    clean = "\n".join(
        line
        for line in path.read_text().split("\n")
        if not line.startswith(('"POT-Creation-Date', '"PO-Revision-Date', '"Generated-By'))
    )
    path.write_text(clean)
    path.with_suffix(".mo").write_bytes(compiled(path, language))
    return path


def compiled(path: Path, language: str) -> bytes:
    """What gettext reads: the server carries nothing that could read the text."""
    catalog = read(path, language)
    catalog.creation_date = catalog.revision_date = LONG_AGO  # else every compilation would be another
    file = io.BytesIO()
    write_mo(file, catalog)
    return file.getvalue()


def told_by(binary: bytes) -> dict[object, str]:
    """What a compiled catalogue says, without its head, which names the program that made it."""
    told = dict(vars(GNUTranslations(io.BytesIO(binary)))["_catalog"])
    told.pop("", None)
    return told


def read(path: Path, language: str) -> Catalog:
    with path.open("rb") as file:
        return read_po(file, locale=LOCALES[language])


def faults(package: Path, language: str, said: Catalog) -> list[str]:
    """What keeps a package from speaking a language: missing, fuzzy, other places to fill in, words nobody says."""
    path = package / "locale" / f"{language}.po"
    if not len(said):
        return []
    if not path.is_file():
        return [f"{path.relative_to(ROOT)} is not there"]
    kept = read(path, language)
    where = path.relative_to(ROOT)
    binary = path.with_suffix(".mo")
    stale = not binary.is_file() or told_by(binary.read_bytes()) != told_by(compiled(path, language))
    wrong = [f"{binary.relative_to(ROOT)} is not what `make translations` compiles"] if stale else []
    wrong += [
        fault for message in said if message.id for fault in _faults_of(message, kept, f"{where}: {message.id!r}")
    ]
    said_ids = {_id(message) for message in said}
    wrong += [f"{where}: {m.id!r} is said by nobody" for m in kept if m.id and _id(m) not in said_ids]
    return wrong


def _faults_of(message: Message, kept: Catalog, where: str) -> list[str]:
    found = kept.get(message.id)
    texts = [] if found is None else ([found.string] if isinstance(found.string, str) else list(found.string or ()))
    if found is None or not texts or not all(texts):
        return [f"{where} is not translated"]
    if found.fuzzy:
        return [f"{where} is fuzzy"]
    given = message.id if isinstance(message.id, str) else message.id[-1]
    wanted = sorted(set(_PLACES.findall(given)))
    return [
        f"{where} has other places to fill in than its translation {text!r}"
        for text in texts
        if sorted(set(_PLACES.findall(text))) != wanted
    ]


def _id(message: Message) -> str:
    return message.id if isinstance(message.id, str) else message.id[0]


def main(checks: bool) -> int:
    wrong: list[str] = []
    for package in packages():
        wrong += [f"{package.name}/{one}" for one in pieced(package)]
        said = gather(package)
        if not len(said):
            continue
        for language in LOCALES:
            if not checks:
                update(package, language, said)
            wrong += faults(package, language, said)
    for line in wrong:
        print(line)
    print(f"{len(wrong)} to mend." if wrong else "Everything is said in every language.")
    return 1 if checks and wrong else 0


if __name__ == "__main__":
    raise SystemExit(main("--check" in sys.argv))
