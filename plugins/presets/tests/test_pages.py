"""The pages of presets: made, changed, read back, deleted; one's own and nobody else's."""

from __future__ import annotations

import asyncio
import re

import pytest
from chatserver_presets import shelf

from chatserver.testing.server import Site, SiteClient

from .conftest import ask, make

HTML = {"accept": "text/html"}


async def test_every_save_makes_a_version_and_an_older_one_comes_back(ada: SiteClient) -> None:
    guide = await make(ada, "Guide", before="one", temperature="1")
    where = f"/x/presets/{guide}"
    for before in ("two", "two", "three"):
        done = await ada.post(where, data={"name": "Guide", "before": before})
        assert (done.status_code, done.headers["location"]) == (303, f"{where}?saved=1")
    assert "Saved as version 3." in (await ada.get(f"{where}?saved=1")).text
    page = (await ada.get(f"{where}/versions")).text
    assert re.findall(r"<b>Version (\d)</b>", page) == ["3", "2", "1"]
    first = (await ada.get(f"{where}/versions/1")).text
    assert '<pre dir="auto" tabindex="0">one</pre>' in first and "<dd>1</dd>" in first
    assert (await ada.post(f"{where}/versions/1/restore")).status_code == 303
    page = (await ada.get(where)).text
    assert "Version 4" in page and "\none</textarea>" in page and 'value="1"' in page
    for number in ("9", "0", "x", "1" * 20):
        assert (await ada.get(f"{where}/versions/{number}")).status_code == 404
        assert (await ada.post(f"{where}/versions/{number}/restore")).status_code == 404


async def test_what_was_typed_is_kept_when_it_does_not_fit(ada: SiteClient) -> None:
    typed = {"name": "", "before": "</textarea><b>x", "after": "y", "temperature": "hot", "model": "gone-model"}
    for path in ("/x/presets/new", f"/x/presets/{await make(ada)}"):
        answer = await ada.post(path, data={**typed, "name": "Mine"})
        assert answer.status_code == 422
        assert "The temperature is a number from 0 to 2." in answer.text and 'role="alert"' in answer.text
        assert "\n&lt;/textarea&gt;&lt;b&gt;x</textarea>" in answer.text and 'value="hot"' in answer.text
        assert 'value="gone-model" selected' in answer.text
        nameless = await ada.post(path, data={**typed, "temperature": ""})
        assert nameless.status_code == 422 and "Give the preset a name." in nameless.text


async def test_a_deleted_one_can_be_taken_back(ada: SiteClient) -> None:
    guide = await make(ada, "<script>alert(1)</script>")
    gone = await ada.post(f"/x/presets/{guide}/delete")
    assert gone.headers["location"] == f"/x/presets/?deleted={guide}"
    page = (await ada.get(gone.headers["location"])).text
    assert "“&lt;script&gt;alert(1)&lt;/script&gt;” is deleted." in page and "Use" not in page
    assert (await ada.get(f"/x/presets/{guide}")).status_code == 404
    assert (await ada.post(f"/x/presets/{guide}/restore")).status_code == 303
    page = (await ada.get("/x/presets/")).text
    assert "Use &lt;script&gt;" in page and "<script>alert" not in page
    assert (await ada.post(f"/x/presets/{guide}/restore")).status_code == 404


async def test_there_are_limits(ada: SiteClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "PRESETS_LIMIT", 3)
    monkeypatch.setattr(shelf, "VERSIONS_LIMIT", 2)
    answers = await asyncio.gather(*(ada.post("/x/presets/new", data={"name": f"P{n}"}) for n in range(6)))
    assert sorted(answer.status_code for answer in answers) == [303] * 3 + [422] * 3
    where = next(answer.headers["location"] for answer in answers if answer.status_code == 303).partition("?")[0]
    saves = await asyncio.gather(*(ada.post(where, data={"name": f"N{n}"}) for n in range(3)))
    assert sorted(answer.status_code for answer in saves) == [303, 422, 422]


ROUTES = [
    ("GET", "/x/presets/{id}"),
    ("POST", "/x/presets/{id}"),
    ("GET", "/x/presets/{id}/versions"),
    ("GET", "/x/presets/{id}/versions/1"),
    ("POST", "/x/presets/{id}/versions/1/restore"),
    ("POST", "/x/presets/{id}/delete"),
    ("POST", "/x/presets/{id}/restore"),
    ("GET", "/x/presets/chip?id={id}"),
    ("GET", "/x/presets/?deleted={id}"),
    ("GET", "/?presets.id={id}"),
]
"""Every place for a preset's id. The list and the form for a new one take none."""


async def test_somebody_elses_preset_answers_like_one_that_never_was(site: Site, ada: SiteClient) -> None:
    described = {path.partition("?")[0] for _, path in ROUTES} | {"/x/presets/", "/x/presets/new"}
    served = {
        path.replace("{preset}", "{id}").replace("{number}", "1") for path, _ in site.app.state.extensions.routes()
    }
    assert {path for path in served if path.startswith("/x/presets/")} <= described, "describe this route in ROUTES"
    guide, deleted = await make(ada, "Hers", before="A secret."), await make(ada, "Gone")
    await ada.post(f"/x/presets/{deleted}/delete")
    unknown = guide[:-4] + "0000"
    for visitor in (await site.sign_up("bob@example.org"), await site.sign_up("root@example.org", role="admin")):
        for method, path in ROUTES:
            answers = [await look(visitor, method, path, one) for one in (guide, deleted, unknown, "no-such'")]
            assert len(set(answers[:3])) == 1, path
            assert answers[0][0] == answers[3][0] == (200 if "?" in path and "chip" not in path else 404), path
        chat = (await visitor.post("/api/conversations", json={})).json()["id"]
        refusals = set()
        for preset in (guide, deleted, unknown):
            answer = await ask(visitor, chat, presets=preset)
            refusals.add((answer.status_code, answer.json()["error"]["message"]))
        assert len(refusals) == 1
    page = (await ada.get(f"/x/presets/{guide}")).text
    assert "A secret." in page and "Version 1" in page, "nothing of hers has changed"
    stranger = await site.browser().get(f"/x/presets/{guide}", headers=HTML)
    assert stranger.headers["location"].startswith("/sign-in")


@pytest.mark.parametrize(("language", "words"), [("fr", "Préréglages"), ("zh", "预设")])
async def test_its_pages_speak_the_readers_language(site: Site, ada: SiteClient, language: str, words: str) -> None:
    assert ada.actor is not None
    await site.house.accounts.set_settings(ada.actor, {"language": language})
    page = (await ada.get("/x/presets/")).text
    assert f"<h1>{words}</h1>" in page
    wrong = (await ada.post("/x/presets/new", data={"name": ""})).text
    assert "Give the preset a name." not in wrong


async def test_switched_off_it_is_nowhere(site: Site, ada: SiteClient) -> None:
    await make(ada)
    site.house.plugins.switch("presets", False)
    assert (await ada.get("/x/presets/", headers=HTML)).status_code == 404
    page = (await ada.get("/")).text
    assert "presets" not in page
    refused = await ada.post("/send", data={"text": "Hi", "presets.id": "x"})
    assert refused.status_code == 422
    site.house.plugins.switch("presets", True)
    assert 'id="preset-pick"' in (await ada.get("/")).text


async def look(visitor: SiteClient, method: str, path: str, preset_id: str) -> tuple[int, str]:
    """Status and page, the id and what differs with every request taken out."""
    form = {"name": "Mine"} if method == "POST" else None
    answer = await visitor.request(method, path.format(id=preset_id), headers=HTML, data=form)
    return answer.status_code, answer.text.replace(preset_id, "ID")
