"""Sources on the page: chips where an answer names them, the list, the tab; what shares, files and the API show."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from chatserver import Prompt, Source, hookimpl
from chatserver.domain.covers import Cover
from chatserver.testing.server import Site, SiteClient, open_site
from chatserver.testing.upstream import FakeUpstream
from chatserver.web.covers import render_covered
from chatserver.web.markdown import render

MARK = '<a data-cite="1"></a>'
OAK = Source("l:1", 'oaks "old".md', "A secret passage.", page=3, place="Old <oaks>", url="/x/library/p/1")
FIR = Source("l:2", "firs.md", "Another.", url="https://example.org/firs")
TEXT = "Oaks do [1]. Firs[1, 2]. No [7], `[1]`, [1](https://a.example), [see [1]](https://b.example).\n\n```\n[2]\n```"


class Library:
    @hookimpl
    async def prepare_prompt(self, prompt: Prompt) -> Prompt | None:
        return msgspec.structs.replace(prompt, sources=(OAK, FIR))


@pytest.fixture
async def site(tmp_path: Path, fake_upstream: FakeUpstream) -> AsyncIterator[Site]:
    async with open_site(tmp_path, fake_upstream.base_url, plugins=[("library", Library())]) as site:
        yield site


async def asked(ada: SiteClient, text: str) -> tuple[str, str]:
    chat = (await ada.post("/api/conversations", json={"title": "t"})).json()["id"]
    body = {"parent_id": None, "text": text, "model": "fake-echo"}
    sent = (await ada.post(f"/api/conversations/{chat}/messages", json=body)).json()
    await ada.get(f"/api/turns/{sent['turn_id']}/events?after=0")
    return chat, sent["reply_id"]


def chips(page: str) -> list[str]:
    return re.findall(r'<a class="cite" href="([^"]*)"', page)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("One [1]. Two[1], [1;1] and [1, 1]", 6),
        ("- [1] item\n- **b [1]**\n\n| a [1] |\n|--|\n| [1] |", 4),
        ("[1]: https://example.org/\n\nA definition is none: [1]", 1),
        ("[9] [0] [1234] [1, 9] [x] [-1] [١] \\[1]", 0),
        ("`[1]`\n\n    [1]\n\n```\n[1]\n```\n\n$a[1]$ [1](https://a.example) ![b [1]](https://a.example/b.png)", 0),
        ('<a data-cite="1"></a> &lt;a data-cite="1"&gt;', 0),
    ],
)
def test_a_known_number_in_the_words_is_marked(text: str, count: int) -> None:
    assert render(text, frozenset({1})).count(MARK) == count
    assert MARK not in render(text)


def test_cards_and_chips_go_together() -> None:
    text = "See [1].\n```svg\n<svg/>\n```\nAnd [1]"
    start = text.index("```")
    cover = Cover("m", start, text.index("\nAnd") + 1, "<svg/>", "A drawing", "/x/drawings/1", "svg")
    assert render_covered(text, [cover], frozenset({1})).count(MARK) == 2


async def test_an_answer_shows_what_it_names(site: Site) -> None:
    ada, eve = await site.sign_up("ada@example.org"), await site.sign_up("eve@example.org")
    chat, reply = await asked(ada, TEXT)
    base = f"/c/{chat}/{reply}/sources"
    page = (await ada.get(f"/c/{chat}")).text
    assert chips(page)[:3] == [f"{base}?open=1", f"{base}?open=1", f"{base}?open=2"]
    assert 'aria-label="Source 1: oaks &#34;old&#34;.md, page 3, Old &lt;oaks&gt;"' in page
    assert 'aria-label="Source 2: firs.md"' in page and "[7]" in page and "<oaks>" not in page
    assert '<section class="cites named">' in page
    french = (await ada.get(f"/c/{chat}", headers={"accept-language": "fr"})).text
    assert 'aria-label="Source 2\u00a0: firs.md"' in french

    tab = (await ada.get(f"{base}?open=2", headers={"hx-request": "true"})).text
    assert 'href="https://example.org/firs" rel="noopener noreferrer nofollow ugc"' in tab and "<html" not in tab
    whole = (await ada.get(base)).text
    assert "<h1>Sources</h1>" in whole and 'data-url="/x/library/p/1"' in whole and 'href="/x/library/p/1"' in whole
    assert "secret passage" not in page + tab + whole
    for other in (f"/c/{chat}/unknown/sources", f"/c/unknown/{reply}/sources"):
        assert (await ada.get(other)).status_code == 404
    assert (await eve.get(base)).status_code == 404
    shown = (await ada.get(f"/c/{chat}/{reply}/map", headers={"hx-request": "true"})).text
    assert f'hx-get="{base}"' in shown, "the panel has the tab"

    told = (await ada.get(f"/api/conversations/{chat}/messages")).json()["messages"][-1]["parts"]
    assert told[-2:] == [
        {
            "type": "citation",
            "source": 'oaks "old".md',
            "url": "/x/library/p/1",
            "number": 1,
            "id": "l:1",
            "page": 3,
            "place": "Old <oaks>",
        },
        {"type": "citation", "source": "firs.md", "url": "https://example.org/firs", "number": 2, "id": "l:2"},
    ]


async def test_an_answer_that_names_none_lists_them(site: Site) -> None:
    ada = await site.sign_up("ada@example.org")
    chat, reply = await asked(ada, "Oaks do.")
    page = (await ada.get(f"/c/{chat}")).text
    assert '<section class="cites">' in page and len(chips(page)) == 2
    shown = (await ada.get(f"/c/{chat}/{reply}/sources?open=99")).text
    assert 'aria-current="true"' in shown, "an unknown number shows the first"


async def test_others_read_names_and_no_addresses(site: Site) -> None:
    ada = await site.sign_up("ada@example.org")
    chat, reply = await asked(ada, TEXT)
    assert ada.actor is not None
    made = await site.house.shares.create(ada.actor, chat, reply)
    shared = (await site.browser().get(f"/s/{made.secret}")).text
    assert chips(shared) == [f"#s-{reply}-1", f"#s-{reply}-1", f"#s-{reply}-2"]
    assert f'id="s-{reply}-1"' in shared and "page 3, Old &lt;oaks&gt;" in shared
    html = (await ada.get(f"/api/conversations/{chat}/export", params={"format": "html"})).text
    assert chips(html) == chips(shared) and "/x/library" not in html
    text = (await ada.get(f"/api/conversations/{chat}/export", params={"format": "md"})).text
    assert '- [1] oaks "old".md, page 3, Old <oaks>\n- [2] firs.md' in text
    assert "/x/library" not in shared + text and "secret passage" not in shared + html + text
