"""Markdown to HTML: what is drawn, what is refused, and what it may cost."""

from __future__ import annotations

import asyncio
import itertools
import threading
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatserver.web import dialect, figures, markdown
from chatserver.web.formulas import to_mathml
from chatserver.web.markdown import RENDERED_CHARS, RENDERED_WEIGHT, prepare, render, render_now, weight

PROSE_NAMES = "p h3 h4 h5 h6 ul ol li blockquote hr br strong em s a code div table thead tbody tr td th"
PROSE_TAGS = set(PROSE_NAMES.split())
FIGURE_TAGS = {"figure", "figcaption", "span", "button", "svg", "use", "pre"}
MATHML_NAMES = (
    "math mrow mi mo mn ms mtext mspace mfrac msqrt mroot mstyle msub msup msubsup munder mover munderover "
    "mtable mtr mtd mpadded mphantom menclose mmultiscripts mprescripts merror"
)
MATHML_TAGS = set(MATHML_NAMES.split())
MATHML_ATTRIBUTE_NAMES = (
    "display stretchy fence form lspace rspace minsize maxsize movablelimits separator mathvariant "
    "displaystyle scriptlevel width height depth voffset linebreak linethickness columnalign columnlines "
    "rowlines columnspacing rowspacing columnspan rowspan notation accent accentunder"
)
MATHML_ATTRIBUTES = set(MATHML_ATTRIBUTE_NAMES.split())
ATTRIBUTES = {
    "a": {"href", "title", "rel"},
    "ol": {"start", "dir"},
    "td": {"class", "dir"},
    "th": {"class", "dir"},
    "div": {"class", "role", "tabindex", "aria-label"},
    "figure": {"class", "data-info"},
    "button": {"type", "class", "data-copy-code", "aria-label"},
    "svg": {"class", "aria-hidden"},
    "use": {"href"},
    "pre": {"tabindex", "class", "dir"},
    "code": {"class", "data-tail"},
    "span": {"class", "data-tail"},
}
CLASSES = {"tbl", "math", "code", "icon-btn", "i", "s", "k", "m", "f", "c", "r", "mid", "plain"}


class Inspector(HTMLParser):
    """Collects whatever is not on the list."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in PROSE_TAGS | FIGURE_TAGS | MATHML_TAGS:
            self.faults.append(f"<{tag}>")
        for name, value in attrs:
            allowed = MATHML_ATTRIBUTES if tag in MATHML_TAGS else ATTRIBUTES.get(tag, {"dir"})
            if name not in allowed:
                self.faults.append(f"{tag}[{name}]")
            if name == "class":
                unknown = {word for word in str(value).split() if word not in CLASSES}
                self.faults += [word for word in unknown if word.removeprefix("language-") not in LANGUAGES]
            if name == "href" and tag == "a":
                self.links.append(str(value))
                if not str(value).startswith(("http://", "https://", "mailto:")):
                    self.faults.append(f"href {value}")
            if name == "href" and tag == "use" and not str(value).startswith("/static/core/"):
                self.faults.append(f"use {value}")

    def handle_comment(self, data: str) -> None:
        self.faults.append("comment")

    def handle_decl(self, decl: str) -> None:
        self.faults.append("declaration")

    def handle_pi(self, data: str) -> None:
        self.faults.append("instruction")


LANGUAGES = set(figures._LANGUAGES.values())


def inspect(html: str) -> Inspector:
    inspector = Inspector()
    inspector.feed(html)
    inspector.close()
    return inspector


# ---------------------------------------------------------------------------------------------- what is drawn


@pytest.mark.parametrize(
    ("markdown", "html"),
    [
        ("**a** *b* ~~c~~ `d`", "<strong>a</strong> <em>b</em> <s>c</s> <code>d</code>"),
        ("# One", '<h3 dir="auto">One</h3>'),
        ("3. a", '<ol dir="auto" start="3"><li>a</li></ol>'),
        ("- [ ] a\n- [x] b", "<li>☐ a</li><li>☑ b</li>"),
        ("<b>x</b> & y", "&lt;b&gt;x&lt;/b&gt; &amp; y"),
        ("a\u0000b", "a\ufffdb"),
    ],
)
def test_plain_markdown_is_drawn(markdown: str, html: str) -> None:
    assert html in render(markdown)


def test_every_block_of_prose_finds_its_own_direction() -> None:
    for text in ("مرحبا", "# שלום", "- a", "1. a", "> a", "|a|\n|-|\n|ب|"):
        assert 'dir="auto"' in render(text)


def test_table_is_a_group_one_can_scroll_and_is_aligned_by_class() -> None:
    html = render("| a | b | c |\n|---|--:|:-:|\n| 1 | 2 | 3 |")
    assert '<div class="tbl" role="group" tabindex="0" aria-label="Table"><table>' in html
    assert '<td dir="auto" class="r">2</td>' in html
    assert '<td dir="auto" class="mid">3</td>' in html
    assert "style" not in html


def test_finished_code_has_colours_a_label_and_a_copy_button() -> None:
    html = render('```py\nprint("<b>", 1) # hi\n```')
    assert "<figcaption><span>python</span>" in html
    assert '<button type="button" class="icon-btn" data-copy-code aria-label="Copy code">' in html
    assert '<pre tabindex="0"><code class="language-python">' in html
    assert '<span class="s">"&lt;b&gt;"</span>' in html
    assert '<span class="c"># hi</span>' in html


def test_unknown_language_keeps_its_label_but_gets_no_class() -> None:
    html = render('```"><img\nx\n```')
    assert "<span>&quot;&gt;&lt;img</span>" in html
    assert "<code>x</code>" in html


def test_formulas_become_mathml_and_prices_stay_prices() -> None:
    html = render("$x<y$ costs $5 and $6, or $$\\frac{a}{b}$$\n\n$$\nz\n$$\n\n\\[\nq\n\\]\n\n\\(r_1\\)")
    assert html.count("<math ") == 5
    assert "costs $5 and $6" in html
    assert "<mo>&lt;</mo>" in html


@pytest.mark.parametrize("tex", [r"\frac", "a^", "{" * 300, r"\def\a{\a\a}\a", "x" * 3000, r"\begin{x}"])
def test_tex_that_is_not_understood_comes_back_as_code(tex: str) -> None:
    assert to_mathml(tex, display=False).startswith("<code>")


@pytest.mark.parametrize("tex", [r"\text{<script>alert(1)</script>}", r"\mbox{<img src=x>}", r"\href{javascript:a}{x}",
                                 r"\style{color:red}{x}", r"\class{y}{x}", "&lt;img src=x onerror=a&gt;"])  # fmt: skip
def test_tex_cannot_bring_html(tex: str) -> None:
    assert inspect(to_mathml(tex, display=True)).faults == []


def test_picture_becomes_a_link_that_names_its_host() -> None:
    html = render("![a cat](https://evil.example/cat.png?q=1)")
    assert "<img" not in html
    assert ">a cat (evil.example)</a>" in html


def test_refused_scheme_stays_readable_text() -> None:
    assert render("[x](javascript:alert(1))") == '<p dir="auto">[x](javascript:alert(1))</p>'
    assert "<a" not in render("[x](/sign-out) [y](//evil.example) [z](data:text/html,x)")


def test_bare_address_is_a_link_without_the_punctuation_after_it() -> None:
    html = render("See https://a.example/b_(c). Or (https://d.example/e), **https://f.example**!")
    assert inspect(html).links == ["https://a.example/b_(c)", "https://d.example/e", "https://f.example"]
    assert 'rel="noopener noreferrer nofollow ugc"' in html


# ---------------------------------------------------------------------------------------------- what is refused

TAGS = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<svg onload=alert(1)>",
    "<svg><script>a</script></svg>",
    "<iframe src=https://evil.example>", "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<base href=//evil.example>", "<form action=//evil.example><input>", "<style>*{x:url(//evil.example)}</style>",
    "<link rel=stylesheet href=//evil.example>", "<object data=//evil.example>", "<embed src=//evil.example>",
    "<div hx-get=/sign-out hx-trigger=load>", "<a href='javascript:alert(1)'>x</a>", "<p style='x:y' id=composer>",
    "<math><mtext><table><mglyph><style><img src onerror=alert(1)>", "<video poster=//evil.example>",
    "<template><script>a</script></template>", "<!--><img src=x onerror=alert(1)>", "<![CDATA[<img src=x>]]>",
    "<samp></samp>", "</samp><img src=x onerror=a>", "<span data-tail></span>", "<?php x ?>",
    "<noscript><p title='</noscript><img src=x>'>",
]  # fmt: skip
URLS = [
    "javascript:alert(1)", "JaVaScRiPt:alert(1)", "java\tscript:alert(1)", "&#106;avascript:alert(1)",
    "javascript&colon;a",
    "\x01javascript:alert(1)", "vbscript:x", "data:text/html,<script>a</script>", "data:image/svg+xml,<svg onload=a>",
    "//evil.example", "/sign-out", "file:///etc/passwd", "blob:x", "https://evil.example/\"onmouseover=alert(1)",
    "https://evil.example/'><img src=x onerror=a>", "http://a\" title=\"<samp></samp>", "https://x.example/<samp></samp>",
    "mailto:a@b.example\"onclick=a", "http://[::1]\"><script>", "https://a.example\u202e/x",
]  # fmt: skip
TAG_PLACES = [
    "{}", "a {} b", "**{}**", "- {}", "> {}", "# {}", "| {} |\n|---|\n| {} |", "`{}`", "```\n{}\n```",
    "```{}\nx\n```", "    {}",
    "[{}](https://ok.example)", "![{}](https://ok.example/x.png)", "[x](https://ok.example \"{}\")", "$\\text{{{}}}$",
    "$$\n{}\n$$", "[r]: https://ok.example '{}'\n\n[r]", "~~{}", "\\{}", "{}\n===", "```html\n{}\n```", "<{}>",
]  # fmt: skip
URL_PLACES = [
    "[x]({})", "[x](<{}>)", "![x]({})", "<{}>", "[r]: {}\n\n[r]", "[r]: <{}>\n\n![r]", "{}", "[![x]({})](https://ok.example)",
    "[x](https://ok.example '{}')", "$\\href{{{}}}{{x}}$",
]  # fmt: skip
PAYLOADS = [
    *(place.replace("{}", tag) for place, tag in itertools.product(TAG_PLACES, TAGS)),
    *(place.replace("{}", url) for place, url in itertools.product(URL_PLACES, URLS)),
]


def test_there_are_enough_payloads() -> None:
    assert len(set(PAYLOADS)) >= 500


def test_no_payload_survives() -> None:
    faults = {payload: inspect(render_now(payload)).faults for payload in PAYLOADS}
    assert {payload: found for payload, found in faults.items() if found} == {}


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet=st.sampled_from("<>\"'&;:/=()[]!*_`~$\\{}|#- \nabcimgsrcphx"), max_size=200))
def test_no_order_of_characters_leaves_the_list(text: str) -> None:
    assert inspect(render_now(text)).faults == []


def test_no_attribute_can_write_a_slot() -> None:
    html = render('[a](https://x.example "<samp></samp>") $x$\n\n```\ncode\n```')
    assert "‹samp›" in html
    assert html.count("<math") == html.count("<figure") + 0 == 1


# ---------------------------------------------------------------------------------------------- what it may cost

HOSTILE = {
    "brackets": "[" * 20_000,
    "pictures": "![" * 20_000,
    "quotes": ">" * 100_000,
    "quoted lines": "> " * 50_000 + "a",
    "stars": "*" * 50_000,
    "underscores": "_" * 50_000,
    "emphasis": "*a _b " * 20_000,
    "deep list": "\n".join("  " * i + "- a" for i in range(400)),
    "list on one line": "- " * 20_000,
    "long table": "|a|b|c|\n|-|-|-|\n" + "|x|y|z|\n" * 20_000,
    "wide table": "|" + "a|" * 2_000 + "\n|" + "-|" * 2_000 + "\n" + ("|" + "a|" * 2_000 + "\n") * 20,
    "one long line": "a" * 1_000_000,
    "backticks": " ".join("`" * i for i in range(1, 600)),
    "unclosed formulas": "$$a\n" * 20_000,
    "brackets of formulas": "\\(" * 25_000,
    "angles": "<" * 100_000,
    "entities": "&" * 100_000,
    "definitions": "[a]: b\n" * 20_000,
    "parentheses": "[a](" + "(" * 50_000,
    "address": "https://a" + ")" * 100_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_input_is_read_within_a_bound_of_steps(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted, not timed: how often the parser looks at a token again, and how many blocks it opens."""
    steps = {"skips": 0, "blocks": 0}
    skip, tokenize = dialect._Inlines.skipToken, dialect._Blocks.tokenize

    def counted_skip(self: dialect._Inlines, state: object) -> None:
        steps["skips"] += 1
        skip(self, state)  # type: ignore[arg-type]

    def counted_tokenize(self: dialect._Blocks, *arguments: object) -> None:
        steps["blocks"] += 1
        tokenize(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(dialect._Inlines, "skipToken", counted_skip)
    monkeypatch.setattr(dialect._Blocks, "tokenize", counted_tokenize)
    text = HOSTILE[name]
    html = render_now(text)
    assert steps["skips"] <= dialect.SKIPS_AT_LEAST + (dialect.SKIPS_PER_CHAR + 1) * len(text)
    assert steps["blocks"] <= 25_000
    assert inspect(html).faults == []
    # Nothing is lost by being too much: the letters are all there.
    assert html.count("a") >= text.count("a")


def test_over_the_limits_a_message_is_shown_as_it_was_written() -> None:
    assert render("a" * (RENDERED_CHARS + 1)).startswith('<pre class="plain" dir="auto">')
    table = "|a|\n" * (RENDERED_WEIGHT // 10)
    assert weight(table) > RENDERED_WEIGHT
    assert render(table).startswith('<pre class="plain" dir="auto">')
    assert render("> " * 100 + "a").startswith('<pre class="plain" dir="auto">&gt; ')


def test_an_ordinary_long_answer_is_far_below_the_limits() -> None:
    answer = ("Some **bold** words and `code`, [a link](https://a.example).\n\n- one\n- two\n\n" * 300)[:20_000]
    assert weight(answer) < RENDERED_WEIGHT / 3


def test_too_much_code_loses_its_colours_and_no_letter() -> None:
    html = render_now("```python\n" + "x = 1\n" * 20_000 + "```")
    assert "<span class=" not in html
    assert html.count("x = 1") == 20_000


async def test_heavy_message_is_drawn_once_and_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[threading.Thread] = []

    def noticed(text: str) -> str:
        drawn.append(threading.current_thread())
        return render_now(text)

    monkeypatch.setattr(markdown, "render_now", noticed)
    heavy = "A **heavy** message with `code`, for this test alone.\n\n" * 2_000
    await asyncio.gather(prepare("light", heavy), asyncio.sleep(0))
    assert "<strong>heavy</strong>" in render(heavy)
    assert len(drawn) == 1
    assert drawn[0] is not threading.main_thread()
