"""What templates are handed, and the HTML they make of it."""

from __future__ import annotations

import re
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from chatserver import words
from chatserver.domain.access import Account
from chatserver.domain.calls import Usage
from chatserver.domain.conversations import ConversationLine, PathItem
from chatserver.domain.messages import FilePart, ImagePart, Message, ReasoningPart, TextPart
from chatserver.domain.models import Model
from chatserver.domain.turns import Turn, TurnError
from chatserver.web import assets, templating, views
from chatserver.web.views.attachments import attachment_views

NOW = 1_795_000_000_000_000
DAY = 86_400_000_000


def message(id_: str, role: str = "assistant", state: str = "done", text: str = "Hi", **more: object) -> Message:
    return Message(id_, "c1", None, role, state, (TextPart(text),) if text else (), "m-one", NOW, **more)  # type: ignore[arg-type]


def turn(state: str = "done", **more: object) -> Turn:
    return Turn("t1", "c1", "a1", "q1", "r1", state, "m-one", "web", NOW, "", 1, 0, **more)  # type: ignore[arg-type]


def shown(item: PathItem, **more: object) -> str:
    return templating.render_message(views.message_view(item, render=lambda text: f"<p>{text}</p>", **more))  # type: ignore[arg-type]


def test_question_is_escaped_and_reply_is_rendered() -> None:
    question = shown(PathItem(message("q1", "user", text="<b>&"), ("q1",)))
    assert "&lt;b&gt;&amp;" in question and "<b>&" not in question
    assert "<p>Hi</p>" in shown(PathItem(message("r1"), ("r1",)))


def test_running_reply_is_busy_and_has_no_buttons() -> None:
    article = shown(PathItem(message("r1", state="running", text=""), ("r1",), turn("running")))
    assert 'aria-busy="true"' in article and 'data-turn="t1"' in article and 'data-seq="0"' in article
    assert "Regenerate" not in article
    for place in ('data-part="text"', 'data-part="reasoning"', "data-done", "data-open", "data-status"):
        assert place in article


def test_message_bodies_are_dead_to_htmx() -> None:
    for role in ("user", "assistant"):
        article = shown(PathItem(message("x1", role), ("x1",)))
        bodies = re.findall(r'<(?:div|details) class="(?:prose|bubble|think)"[^>]*>', article)
        assert bodies and all("hx-disable" in body and "hx-ignore" in body for body in bodies)


def test_versions_are_counted_and_linked_to_the_end_of_their_branches() -> None:
    view = views.message_view(PathItem(message("b"), ("a", "b", "c")), render=str)
    assert view.versions == views.Versions(2, 3, "/c/c1/a/latest", "/c/c1/c/latest")
    article = templating.render_message(view)
    assert "<span>2/3</span>" in article
    assert 'aria-label="Previous version"' in article and 'aria-label="Next version"' in article


def test_fork_changes_the_colour_of_the_rail_from_there_on() -> None:
    items = [PathItem(message("a", "user"), ("a",)), PathItem(message("c"), ("b", "c")), PathItem(message("d"), ("d",))]
    assert [view.lane for view in views.message_views(items, render=str)] == [1, 2, 2]


@pytest.mark.parametrize("state", ["stopped", "interrupted"])
def test_reply_that_is_not_whole_can_be_continued_where_it_ends(state: str) -> None:
    item = PathItem(message("r1", state=state), ("r1",), turn(state))
    assert "/m/r1/continue" in shown(item)
    assert "/m/r1/continue" not in shown(item, is_last=False)


def test_failure_says_what_happened_and_what_to_do() -> None:
    error = TurnError("upstream_key_refused", "Check the key of the channel first.")
    article = shown(PathItem(message("r1", state="failed", text=""), ("r1",), turn("failed", error=error)))
    assert "The model&#39;s key was refused" in article and "Check the key of the channel first." in article


def test_figures_tell_tokens_speed_and_first_token() -> None:
    done = turn(first_token_at=NOW + 800_000, ended_at=NOW + 10_800_000, usage=Usage(input=9, output=400, reasoning=12))
    view = views.message_view(PathItem(message("r1"), ("r1",), done), render=str)
    assert views.figures(view) == ("412 tokens", "41 tok/s", "first token 0.8 s")
    guessed = turn(usage=Usage(output=1, estimated=True))
    assert views.figures(views.message_view(PathItem(message("r1"), ("r1",), guessed), render=str)) == ("≈ 1 token",)


def test_thoughts_are_folded_and_timed() -> None:
    parts = (ReasoningPart("Hm.", 6000), TextPart("Yes."))
    thinking = Message("r1", "c1", None, "assistant", "done", parts, "m-one", NOW)
    assert "Thought for 6 s" in shown(PathItem(thinking, ("r1",)))


def test_what_was_left_out_and_what_was_cleared_is_shown() -> None:
    article = shown(PathItem(message("r1", cleared_after=True), ("r1",), turn(left_out=2)))
    assert "2 earlier messages did not fit" in article
    assert "Context cleared" in article and "/c/c1/restore-context?message_id=r1" in article


def test_chats_are_grouped_by_the_day_of_the_person() -> None:
    def line(number: int, days: float, **more: object) -> ConversationLine:
        values = {"pinned": False, "archived": False, "is_running": False, "branches": 1} | more
        return ConversationLine(f"c{number}", f"T{number}", None, int(NOW - days * DAY), **values)  # type: ignore[arg-type]

    lines = [line(0, 90, pinned=True), line(1, 0), line(2, 1), line(3, 5), line(4, 40), line(5, 600)]
    groups = views.sidebar(lines, current="c2", now_us=NOW, zone=UTC).groups
    assert [group.title for group in groups[:4]] == ["Pinned", "Today", "Yesterday", "Previous 7 days"]
    assert len(groups) == 6 and re.fullmatch(r"[A-Z][a-z]+ \d{4}", groups[5].title)
    assert groups[2].lines[0].is_current and groups[0].lines[0].title == "T0"


@pytest.mark.parametrize(
    ("ms", "text"), [(40, "40 ms"), (800, "0.8 s"), (6000, "6 s"), (12_400, "12 s"), (125_000, "2 min 5 s")]
)
def test_durations_read_well(ms: int, text: str) -> None:
    assert views.seconds_text(ms) == text


def test_picked_model_is_the_wanted_one_then_a_real_one_then_the_demo() -> None:
    demo, real = Model("demo", is_demo=True), Model("real")
    assert views.pick_model([demo, real], "demo") == "demo"
    assert views.pick_model([demo, real], "gone") == "real"
    assert views.pick_model([demo], "") == "demo"
    assert views.pick_model([], "x") == ""


def test_initials_and_devices_are_recognised() -> None:
    account = Account("a", "ada.grove@example.org", "", "member", "active", ("default",), 0)
    assert views.me_of(account).initials == "AG"
    assert views.device_name("Mozilla/5.0 (iPhone) AppleWebKit Version/17 Safari/604") == "Safari on iPhone"
    assert views.device_name("") == "Unknown device"


def test_time_zone_that_nobody_knows_is_the_servers() -> None:
    assert views.zone_of("Mars/Olympus") is None and views.zone_of("../etc/passwd") is None


def test_static_files_have_their_hash_in_the_address() -> None:
    address = assets.url("core", "app.js")
    _, _, root, digest, name = address.split("/", 4)
    found = assets.find(root, digest, name)
    assert found is not None and found.media_type.startswith("text/javascript") and len(found.packed) < len(found.body)
    assert assets.find(root, "0" * 12, name) is None
    assert assets.find("core", digest, "../app.py") is None


def test_templates_hold_no_inline_script_style_or_handler() -> None:
    for path in (Path(templating.__file__).parent / "templates").glob("*.html"):
        # the one file that is no page of ours: a chat to take away holds its own style, under a policy of its own
        text = path.read_text().replace(
            "<style>{{ css|safe }}</style>", "" if path.name == "export.html" else "<style>"
        )
        assert not re.search(r"<style|\sstyle=|<script(?![^>]*\ssrc=)|\shx-on|\son[a-z]+=|javascript:", text), path.name


def test_every_template_parses_and_every_icon_it_names_exists() -> None:
    sprite = (assets.STATIC / "icons.svg").read_text()
    known = set(re.findall(r'<symbol id="([a-z0-9-]+)"', sprite))
    for path in (Path(templating.__file__).parent / "templates").rglob("*.html"):
        templating.environment_of("").get_template(path.relative_to(templating.TEMPLATES).as_posix())
        named = set(re.findall(r'icon\("([a-z0-9-]+)"', path.read_text()))
        assert named <= known, (path.name, named - known)


def test_buttons_are_filled_in_for_each_message_in_its_language() -> None:
    def article(id: str, **more: Any) -> str:
        return templating.render_message(views.MessageView(id, "c", "assistant", "stopped", "Swift", text="x", **more))

    first, second = article("AAAA"), article("BBBB")
    assert first.replace("AAAA", "BBBB") == second and "/m/BBBB/regenerate" in second
    assert 'aria-pressed="true"' not in first and 'aria-pressed="true"' in article("AAAA", verdict="bad")
    assert "/m/AAAA/continue" not in first and "/m/AAAA/continue" in article("AAAA", is_last=True)
    words.speak(words.MIRROR)
    assert 'aria-label="Copy"' in first and 'aria-label="Copy"' not in article("AAAA")
    words.speak("en")
    assert article("AAAA") == first


def test_a_picture_that_never_came_is_a_name_and_no_broken_picture() -> None:
    """An import names the files of its chats, whether or not they were in what one brought."""
    came = ImagePart(file_id="a", media_type="image/png", alt="cat.png", width=4, height=3)
    missing, unnamed = ImagePart(file_id="b", alt="dog.png"), ImagePart(file_id="c")
    shown = attachment_views((missing, came, unnamed, FilePart("d", "notes.txt")))
    assert [(one.name, bool(one.thumbnail)) for one in shown] == [
        ("cat.png", True),
        ("dog.png", False),
        ("Picture", False),
        ("notes.txt", False),
    ]
