"""Every word of the page in every language, plural forms and dates included; and which language a reader gets."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo

from chatserver import words
from chatserver.errors import BadInput
from chatserver.testing.server import PASSWORD, Site
from chatserver.web import templating
from chatserver.web.errors import spoken
from chatserver.web.views.times import day_title, moment_of, when_text

DAY_US = 86_400_000_000
MARCH = 1_772_712_000_000_000  # 5 March 2026, noon UTC

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def english() -> None:
    words.speak("en")


def test_a_language_is_negotiated() -> None:
    assert words.negotiate("fr-CA,fr;q=0.9,en;q=0.8") == "fr"
    assert words.negotiate("de, zh-TW;q=0.8, en;q=0.9") == "en"
    assert words.negotiate("zh-Hans-CN") == "zh"
    for odd in ("", "*", "xx", "fr;q=0", "fr;q=9", "," * 10_000, "fr;q=nan", "\x00"):
        assert words.negotiate(odd) == "en"


def test_numbers_and_dates_follow_the_language() -> None:
    told = {}
    for language in words.LANGUAGES:
        words.speak(language)
        today = moment_of(MARCH + 200 * DAY_US, None)
        told[language] = (words.number_text(1234567), day_title(MARCH, today, None), when_text(MARCH, today, None))
    assert told["en"] == ("1,234,567", "March", "Mar 5")
    assert told["zh"] == ("1,234,567", "三月", "3月5日")
    assert told["fr"][0].replace("\u202f", " ") == "1 234 567"
    assert told["fr"][1:] == ("Mars", "5 mars")


def test_what_nobody_translated_is_told_in_english() -> None:
    words.speak("fr")
    assert words.gettext("A sentence that nobody ever wrote.") == "A sentence that nobody ever wrote."
    words.speak("tlh")
    assert words.language() == "en"


def test_the_sentence_of_an_error_is_told_with_its_values() -> None:
    error = BadInput("A reason may have %(most)s characters. Shorten it.", values={"most": 2000})
    assert (error.message, spoken(error)) == ("A reason may have 2,000 characters. Shorten it.",) * 2
    words.speak("fr")
    assert spoken(error).replace("\u202f", " ") == "Un motif peut avoir 2 000 caractères. Raccourcissez-le."
    odd = BadInput("There is no model “%(model)s” here. Pick one from the list.", values={"model": "100 %(d <b>"})
    assert "« 100 %(d <b> »" in spoken(odd).replace("\xa0", " ")
    assert spoken(BadInput("100 % of it")) == "100 % of it"


def test_the_mirror_shows_what_is_translated() -> None:
    words.speak(words.MIRROR)
    assert words.direction() == "rtl"
    assert words.gettext("Send {count}") == "Šéñd {count}"
    assert words.ngettext("%(num)s man", "%(num)s men", 2) == "%(num)s méñ"


@pytest.mark.timeout(120)
def test_everything_is_said_in_every_language() -> None:
    command = [sys.executable, "scripts/translations.py", "--check"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-1000:]


async def test_the_page_speaks_the_browsers_language_until_the_account_says_another(site: Site) -> None:
    ada = await site.sign_up("ada@example.org")
    french = {"accept-language": "fr"}
    page = (await ada.get("/", headers=french)).text
    assert '<html lang="fr" dir="ltr"' in page and "Nouvelle discussion" in page
    assert (await ada.post("/settings/chatting", data={"language": "zh", "send_key": "enter"})).status_code == 303
    page = (await ada.get("/", headers=french)).text
    assert '<html lang="zh-Hans"' in page and "新对话" in page
    assert '<html lang="fr"' in (await site.browser().get("/sign-in", headers=french)).text


async def test_an_error_is_told_in_the_readers_language(site: Site) -> None:
    ada = await site.sign_up("ada@example.org")
    await ada.post("/settings/chatting", data={"language": "fr", "send_key": "enter"})
    page = await ada.get("/c/unknown", headers={"accept-language": "en"})
    assert page.status_code == 404 and "Il n’y a rien ici" in page.text
    api = await ada.get("/api/conversations/unknown", headers={"accept-language": "fr"})
    assert api.json()["error"]["message"] == "There is no such conversation."


def test_a_plugins_words_are_taken_up(tmp_path: Path) -> None:
    catalog = Catalog(locale="fr")
    catalog.add("Weather in {city}", "Le temps à {city}")
    with (tmp_path / "fr.mo").open("wb") as file:
        write_mo(file, catalog)
    words.add_catalogues(tmp_path)
    words.speak("fr")
    assert words.gettext("Weather in {city}") == "Le temps à {city}"


@pytest.mark.parametrize("path", sorted(templating.TEMPLATES.rglob("*.html")), ids=lambda path: path.stem)
def test_no_words_stand_in_a_template_unmarked(path: Path) -> None:
    text = re.sub(r"\{#.*?#\}", "", path.read_text(), flags=re.DOTALL)
    text = re.sub(r"\{%-?\s*trans\b.*?endtrans\s*-?%\}", "", text, flags=re.DOTALL)
    text = re.sub(r"\{\{.*?\}\}|\{%.*?%\}|<!--.*?-->|<style>.*?</style>", "", text, flags=re.DOTALL)
    for label in re.findall(r'(?:aria-label|title|placeholder|alt)="([^"]*)"', text):
        assert not re.search(r"[A-Za-z]{3}", label) or label.startswith("http"), label
    shown = re.sub(r"<kbd.*?</kbd>|<[^>]*>", " ", text, flags=re.DOTALL).replace("chatserver", "")
    said = set(re.findall(r"[A-Za-z]{2,}", re.sub(r"&[a-z]+;", "", shown)))
    assert said <= {"Markdown", "HTML", "JSON"}, "names are the same in every language, words are not"


@pytest.mark.parametrize(
    "odd",
    [{"language": "tlh", "send_key": "enter"}, {"default_model": "none", "send_key": "enter"}, {"send_key": "space"}],
)
async def test_a_choice_that_makes_no_sense_changes_nothing(site: Site, odd: dict[str, str]) -> None:
    ada = await site.sign_up("ada@example.org")
    assert ada.actor is not None
    before = await site.house.accounts.settings(ada.actor)
    page = await ada.post("/settings/chatting", data=odd)
    assert page.status_code == 422 and "Nothing was changed." in page.text
    assert await site.house.accounts.settings(ada.actor) == before


async def test_a_refusal_of_the_door_and_of_a_plugin_is_told_in_french(site: Site) -> None:
    guest, french = site.browser(), {"accept-language": "fr"}
    page = await guest.post("/sign-in", data={"email": "nobody@example.org", "password": "not it"}, headers=french)
    assert page.status_code == 401
    assert "L’adresse ou le mot de passe n’est pas le bon." in page.text and "Vérifiez les deux" in page.text
    ada = await site.sign_up("ada@example.org")
    await ada.post("/settings/chatting", data={"language": "fr", "send_key": "enter"})
    many = "&".join(f"name{number}=1" for number in range(2000))
    kind = {"content-type": "application/x-www-form-urlencoded"}
    assert "Le formulaire a plus de" in (await ada.post("/settings/chatting", content=many, headers=kind | french)).text
    assert ada.actor is not None
    await site.house.accounts.set_secret(ada.actor.account_id, PASSWORD, keep=ada.actor)
    short = await ada.post("/settings/password", data={"current": PASSWORD, "new": "court"})
    assert "Un mot de passe a au moins 8 caractères." in short.text and "facile à retenir" in short.text


def test_a_sentence_that_no_catalogue_can_know_is_found(tmp_path: Path) -> None:
    package = tmp_path / "chatserver_odd"
    package.mkdir()
    (package / "door.py").write_text(
        'raise BadInput("Well known.")\nraise BadInput(f"At most {MOST}.")\ntext = f"{a}"\nraise Conflict(text)\n'
    )
    script = "import sys; sys.path.insert(0, 'scripts'); from pathlib import Path; from sentences import *;"
    script += f"p = Path({str(package)!r}); print(len(pieced(p)), [one.text for one in sentences(p)])"
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.split(maxsplit=1)[0] == "2" and "'Well known.'" in result.stdout
