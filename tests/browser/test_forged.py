"""A page of somebody else's, open in the same browser, changes nothing here, whatever it sends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Browser

from chatserver.domain.access import Account

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

PAGE = """<!doctype html><title>evil</title><body><script>
const site = "%SITE%", conversation = "%CONVERSATION%", session = "%SESSION%";
const targets = [
  ["/settings/keys", "name=evil"], ["/settings/sessions/end", "session_id=" + session], ["/sign-out", ""],
  ["/send", "text=evil&model=x"], [`/c/${conversation}/rename`, "title=evil"], [`/c/${conversation}/delete`, ""],
  ["/settings/look", "theme=dark"], ["/sign-in", "email=evil@example.org&password=evil"],
  ["/api/conversations", '{"title":"evil"}'], [`/api/conversations/${conversation}`, '{"title":"evil"}'],
];
const types = ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data", "application/json"];
async function attack() {
  for (const [path, body] of targets) {
    for (const type of types)
      for (const method of ["POST", "PATCH", "DELETE", "PUT"])
        for (const mode of ["no-cors", "cors"])
          await fetch(site + path, {method, mode, body, credentials: "include", headers: {"content-type": type}})
            .catch(() => 0);
    for (const enctype of types.slice(0, 3)) {
      const frame = document.createElement("iframe"); frame.name = "f" + Math.random(); document.body.append(frame);
      const form = document.createElement("form");
      Object.assign(form, {method: "POST", action: site + path, enctype, target: frame.name});
      for (const pair of body.split("&")) {
        const field = document.createElement("input"); [field.name, field.value] = pair.split("=").concat("");
        form.append(field);
      }
      document.body.append(form); form.submit();
      await new Promise(done => { frame.onload = done; setTimeout(done, 300) });
    }
    for (const how of ["img", "script", "link"]) {
      const element = document.createElement(how);
      element[how === "link" ? "href" : "src"] = site + path; element.rel = "stylesheet"; document.body.append(element);
    }
    navigator.sendBeacon(site + path, new Blob([body], {type: "application/x-www-form-urlencoded"}));
  }
  document.title = "done";
}
attack();
</script></body>"""


class Evil:
    """Serves one page on a port of its own."""

    def __init__(self) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = outer.page.encode()
                self.send_response(200)
                self.send_header("content-type", "text/html")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                return

        self.page = ""
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def evil() -> Iterator[Evil]:
    evil = Evil()
    yield evil
    evil.server.shutdown()
    evil.server.server_close()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"], ids=["another site", "the same site, another port"])
def test_a_foreign_page_changes_nothing(browser: Browser, site: Any, account: Account, evil: Evil, host: str) -> None:
    accounts, conversations = site.house.accounts, site.house.conversations
    context = browser.new_context()
    context.add_cookies([site.cookie(account)])
    sid = context.cookies(site.url)[0]["value"]
    actor = site.call(lambda: accounts.actor_of_cookie(sid))
    conversation = site.call(lambda: conversations.create(actor, "Mine"))

    def everything() -> list[Any]:
        return [
            [(line.id, line.title) for line in site.call(lambda: conversations.list(actor))[0]],
            [key.id for key in site.call(lambda: accounts.keys(actor))],
            [session.id for session in site.call(lambda: accounts.sessions(actor))],
            site.call(lambda: accounts.settings(actor)),
        ]

    before = everything()
    names = {"SITE": site.url, "CONVERSATION": conversation.id, "SESSION": actor.session_id}
    evil.page = PAGE
    for name, value in names.items():
        evil.page = evil.page.replace(f"%{name}%", value)
    page = context.new_page()
    page.goto(f"http://{host}:{evil.server.server_port}/")
    page.wait_for_function("document.title === 'done'", timeout=90_000)
    assert everything() == before
    assert context.cookies(site.url)[0]["value"] == sid
    page.goto(f"{site.url}/settings")
    assert page.get_by_role("button", name="Sign out").first.is_visible(), "and nobody was signed out"
    context.close()
