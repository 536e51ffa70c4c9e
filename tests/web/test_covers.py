"""Cards that stand in a message for stretches of its text."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from chatserver import Cover, CoverContext, hookimpl, text_of
from chatserver.domain.access import Account
from chatserver.domain.conversations import Conversation, PathItem, PathView
from chatserver.domain.messages import Message, TextPart
from chatserver.plugins import Plugins
from chatserver.web import covers
from chatserver.web.markdown import render

ADA = Account("a1", "ada@example.org", "Ada", "member", "active", ("default",), 0)
TEXT = 'Here:\n\n```svg title="A <tree>"\n<svg/>\n```\nand a [link][r].\n\n[r]: https://a.example'
FENCE = TEXT[TEXT.index("```svg") : TEXT.rindex("```") + 3]


def over(part: str, text: str = TEXT, **more: str) -> Cover:
    start = text.index(part)
    return Cover("m1", start, start + len(part), **{"source": "<svg/>", "title": "A <tree>", "href": "/x/a", **more})


def test_a_card_stands_for_its_stretch_and_the_rest_is_as_it_was() -> None:
    html = covers.render_covered(TEXT, [over(FENCE, language="html", note="SVG · version 1")])
    before, _, after = html.partition('<div class="cover">')
    assert before == '<p dir="auto">Here:</p>'
    assert '<a class="cover-card" href="/x/a" data-room="panel">' in after and "SVG · version 1" in after
    assert "A &lt;tree&gt;" in after and "A <tree>" not in html
    assert '<code class="language-html">' in after and "data-copy-code" in after  # behind it, to be copied
    assert after.endswith('</details></div><p dir="auto">and a ' + render("[link](https://a.example)")[14:-4] + ".</p>")


def test_a_card_may_stand_for_what_is_no_block() -> None:
    html = covers.render_covered("1. One <x>two</x> three", [over("<x>two</x>", "1. One <x>two</x> three")])
    assert html.startswith('<ol dir="auto">') and html.count('<div class="cover">') == 1
    assert "&lt;x&gt;" not in html and "three" in html


def test_what_is_out_of_place_is_left_out() -> None:
    wrong = [Cover("m1", 5, 5, "", "", ""), Cover("m1", 0, 10**6, "", "", ""), over("svg title")]
    assert covers.render_covered(TEXT, [over(FENCE), *wrong[:2]]).count('<div class="cover">') == 1
    assert covers.render_covered(TEXT, [over(FENCE), wrong[2]]).count('<div class="cover">') == 1
    forged = "\ue0100\ue011\n\n```\n\ue0100\ue011\n```\n\n" + TEXT
    assert covers.render_covered(forged, [over(FENCE, forged)]).count('<div class="cover">') == 1
    heavy = "*_`[" * 20_000 + "\n\n" + FENCE
    assert '<div class="cover">' not in covers.render_covered(heavy, [over(FENCE, heavy)])


class Tree:
    """Covers the first fence of each reply."""

    @hookimpl
    def cover_text(self, context: CoverContext) -> list[Cover]:
        return [
            msgspec.structs.replace(over(FENCE, text_of(message.parts)), message_id=message.id)
            for message in context.messages
        ]


def said(message_id: str, role: str, state: str = "done") -> PathItem:
    message = Message(message_id, "c1", None, role, state, (TextPart(TEXT),), "m", 0)  # type: ignore[arg-type]
    return PathItem(message, (message_id,))


async def test_plugins_are_asked_for_finished_replies_only(plugin_manager: Callable[..., Plugins]) -> None:
    items = (said("q", "user"), said("m1", "assistant"), said("m2", "assistant", "running"))
    path = PathView(Conversation("c1", "a1", "", "none", "m2", "", False, False, 0, 0), "m2", items, False)
    dressed = await covers.dress(plugin_manager(tree=Tree()), ADA, path)
    assert list(dressed) == ["m1"] and '<div class="cover">' in dressed["m1"]
    assert await covers.dress(plugin_manager(), ADA, path) == {}
