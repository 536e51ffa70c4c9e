"""Files in the composer and in messages: picked, pasted, dropped, sent ahead, taken out, kept with the draft."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from chatserver.domain.messages import ImagePart
from tests.browser.gallery import drawing
from tests.browser.stage import Site, ask, pick, replies, write

pytestmark = pytest.mark.browser

Visit = Callable[..., Page]
Shoot = Callable[[Page, str], None]


def attach(page: Page, *files: tuple[str, bytes]) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Attach files").click()
    chooser.value.set_files([{"name": name, "mimeType": "", "buffer": content} for name, content in files])


def chips(page: Page) -> Locator:
    return page.locator("#files").get_by_role("listitem")


def drop(page: Page, kind: str, name: str, content: bytes, media_type: str) -> None:
    """What a browser tells of files that are pasted or dropped: a script can make such events, and only that."""
    page.locator("#text").evaluate(
        """(box, [kind, name, content, type]) => {
          const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0))
          const data = new DataTransfer()
          data.items.add(new File([bytes], name, { type }))
          const init = { bubbles: true, cancelable: true }
          if (kind === "paste") box.dispatchEvent(new ClipboardEvent("paste", { ...init, clipboardData: data }))
          else for (const step of ["dragover", "drop"])
            box.dispatchEvent(new DragEvent(step, { ...init, dataTransfer: data }))
        }""",
        [kind, name, base64.b64encode(content).decode(), media_type],
    )


def test_picked_pasted_and_dropped_files_are_sent_and_shown(visit: Visit, site: Site, shoot: Shoot) -> None:
    page = visit()
    attach(page, ("schema.sql", b"CREATE TABLE things (id TEXT);" * 100), ("hills.png", drawing()))
    expect(chips(page)).to_have_count(2)
    expect(chips(page).nth(0)).to_contain_text("schema.sql")
    expect(chips(page).nth(0)).to_contain_text("3 KB")
    expect(chips(page).nth(1).locator("img")).to_be_visible()
    drop(page, "paste", "image.png", drawing(80, 60), "image/png")
    drop(page, "drop", "report.pdf", b"%PDF-1.7 nothing", "application/pdf")
    expect(chips(page)).to_have_count(4)
    expect(chips(page).nth(3)).to_contain_text("only its name")
    shoot(page, "files-composer")
    page.get_by_role("button", name="Remove image.png").click()
    expect(chips(page)).to_have_count(3)
    expect(page.get_by_role("button", name="Remove report.pdf")).to_be_focused()
    ask(page, "What do you see?")
    question = replies(page).first
    expect(replies(page)).to_have_count(2)
    expect(chips(page)).to_have_count(0)
    image = question.get_by_role("img", name="hills.png")
    expect(image).to_be_visible()
    page.wait_for_function("() => document.querySelector('.picture img').naturalWidth > 0")
    box = image.bounding_box()
    assert box and (round(box["width"]), round(box["height"])) == (320, 210), "known before the picture arrives"
    expect(question.get_by_role("link", name=re.compile("schema.sql"))).to_have_attribute("download", "schema.sql")
    shoot(page, "files-message")
    (asked,) = [one for one in site.actor.requests[-3:] if "hills.png" in str(one.messages[0].parts)][:1]
    shown = [part for part in asked.messages[0].parts if isinstance(part, ImagePart)]
    assert shown and shown[0].url.startswith("data:image/png;base64,")
    with page.expect_popup() as popup:
        image.click()
    popup.value.wait_for_load_state()
    assert popup.value.url.startswith(f"{site.url}/files/")
    with page.expect_download() as download:
        question.get_by_role("link", name=re.compile("schema.sql")).click()
    assert download.value.suggested_filename == "schema.sql"
    assert Path(download.value.path()).read_bytes().startswith(b"CREATE TABLE")


def test_files_are_kept_with_the_draft_and_a_refused_send_gives_them_back(visit: Visit, site: Site) -> None:
    page = visit()
    pick(page, "Thinker")
    attach(page, ("hills.png", drawing()), ("notes.md", b"# Notes"))
    expect(page.locator("#files [name=attachments]")).to_have_count(2)
    page.reload()
    expect(chips(page)).to_have_count(2)
    expect(chips(page).nth(0)).to_contain_text("hills.png")
    ask(page, "Look")
    expect(page.get_by_role("alert")).to_contain_text("cannot see pictures")
    expect(chips(page)).to_have_count(2)
    expect(page.get_by_role("textbox", name="Message")).to_have_value("Look")
    pick(page, "Swift")
    page.get_by_role("button", name="Send").click()
    expect(replies(page).nth(1)).to_have_attribute("data-state", "done")
    page.reload()
    expect(replies(page)).to_have_count(2)
    expect(chips(page)).to_have_count(0)


def test_what_is_not_taken_says_so_on_its_chip_and_stops_nobody(visit: Visit) -> None:
    page = visit()
    attach(page, ("run.exe", b"MZ\x90\x00\x01"), ("broken.png", b"\x89PNG\r\n\x1a\nnothing"), ("fine.txt", b"words"))
    expect(chips(page)).to_have_count(3)
    expect(chips(page).nth(0)).to_contain_text("This kind of file is not taken")
    expect(chips(page).nth(1)).to_contain_text("damaged and cannot be opened")
    expect(chips(page).nth(2)).to_contain_text("5 B")
    page.get_by_role("button", name="Remove run.exe").click()
    page.get_by_role("button", name="Remove broken.png").click()
    ask(page, "Read it")
    expect(replies(page).first.get_by_role("link", name=re.compile("fine.txt"))).to_be_visible()


def test_a_picture_alone_is_sent_by_the_keyboard(visit: Visit) -> None:
    page = visit()
    page.get_by_role("textbox", name="Message").press("Tab")
    expect(page.get_by_role("button", name="Attach files")).to_be_focused()
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files([{"name": "hills.png", "mimeType": "image/png", "buffer": drawing()}])
    expect(page.locator("#files [name=attachments]")).to_have_count(1)
    page.get_by_role("textbox", name="Message").press("Enter")
    expect(replies(page).first.get_by_role("img", name="hills.png")).to_be_visible()
    expect(replies(page)).to_have_count(2)


def test_progress_shows_and_send_waits_for_it(visit: Visit) -> None:
    page = visit()
    held = []
    page.route("**/files", lambda route: held.append(route))
    attach(page, ("slow.txt", b"words"), ("gone.txt", b"more words"))
    expect(page.get_by_role("progressbar", name="Uploading")).to_have_count(2)
    write(page, "Read it when it is there")
    page.get_by_role("button", name="Send").click()
    expect(replies(page)).to_have_count(0)
    page.get_by_role("button", name="Remove gone.txt").click()
    expect(chips(page)).to_have_count(1)
    held[0].continue_()
    expect(replies(page)).to_have_count(2)
    expect(replies(page).first).to_contain_text("slow.txt")


def test_an_upload_that_breaks_off_can_be_tried_again(visit: Visit) -> None:
    page = visit()
    page.route("**/files", lambda route: route.abort())
    attach(page, ("lost.txt", b"words"))
    expect(chips(page)).to_contain_text("did not arrive")
    page.unroute("**/files")
    page.get_by_role("button", name="Remove lost.txt").click()
    attach(page, ("lost.txt", b"words"))
    expect(page.locator("#files [name=attachments]")).to_have_count(1)


def test_without_a_script_files_go_along_with_the_form(visit: Visit) -> None:
    page = visit(script=False)
    page.locator("#pick-files").set_input_files(
        [
            {"name": "hills.png", "mimeType": "image/png", "buffer": drawing()},
            {"name": "notes.md", "mimeType": "text/markdown", "buffer": b"# Notes"},
        ]
    )
    write(page, "What are these?")
    page.get_by_role("button", name="Send").click()
    question = replies(page).first
    expect(question.get_by_role("img", name="hills.png")).to_be_visible()
    expect(question.get_by_role("link", name=re.compile("notes.md"))).to_be_visible()


def test_a_script_that_does_not_come_loses_nothing(visit: Visit) -> None:
    page = visit()
    page.route("**/files.js", lambda route: route.abort())
    attach_without = page.locator("#pick-files")
    attach_without.set_input_files([{"name": "notes.md", "mimeType": "", "buffer": b"# Notes"}])
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    ask(page, "Read it")
    expect(replies(page).first.get_by_role("link", name=re.compile("notes.md"))).to_be_visible()


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (1440, "dark"), (390, "light"), (390, "dark")])
def test_files_look_right_everywhere(visit: Visit, shoot: Shoot, width: int, scheme: str) -> None:
    page = visit(width=width, scheme=scheme)
    attach(
        page,
        ("hills.png", drawing()),
        ("a-rather-long-name-of-a-table.csv", b"a,b\n"),
        ("tall.png", drawing(200, 900)),
    )
    ask(page, "What is the difference between these?")
    expect(replies(page).nth(1)).to_have_attribute("aria-busy", "false")
    attach(page, ("hills.png", drawing()), ("report.pdf", b"%PDF-1.7"), ("run.exe", b"MZ\x90\x00\x01"))
    expect(page.locator("#files .bad")).to_have_count(1)
    expect(page.locator("#files [name=attachments]")).to_have_count(2)
    page.wait_for_function("() => [...document.images].every((image) => image.complete)")
    shoot(page, f"files-{width}-{scheme}")
    found = Axe().run(page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"][:120]) for one in found] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
