"""Sample pages rendered without a server behind them, and a script that takes their pictures for people to look at.

python tests/browser/gallery.py OUT_DIR     # writes PNGs: every page, both themes, 390 and 1440 px
"""

from __future__ import annotations

import http.server
import io
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

from chatserver_grove import STYLESHEETS
from PIL import Image, ImageDraw

from chatserver.domain.extend import ThemeSpec
from chatserver.domain.models import Model
from chatserver.web import assets, markdown, templating, views

ROOT = Path(__file__).resolve().parents[2]
GROVE = ROOT / "themes/grove/chatserver_grove/static"

ANSWER = """Keep it plain: an **adjacency list** and one recursive query. A branch is only its leaf, so the path \
to show is the chain of parents, and `parent_id` is all that is stored.

```sql
WITH RECURSIVE path(id, parent_id, depth) AS (
  SELECT id, parent_id, 0 FROM message WHERE id = :leaf
  UNION ALL
  SELECT m.id, m.parent_id, p.depth + 1
  FROM message m JOIN path p ON m.id = p.parent_id
)
SELECT * FROM path ORDER BY depth DESC;  -- root first
```

| Layout | Append | Read a path | Move a branch |
|---|---:|---:|---|
| Adjacency list | 1 row | one query | one update |
| Closure table | depth rows | one query | rewrite subtree |
| Materialised path | 1 row | one scan | rewrite subtree |

### Why not the others

1. They store what can be worked out.
2. They must be *rewritten* when a branch moves:
   - the closure table by every ancestor,
   - the path by every descendant.

> A figure you do not store cannot be wrong.

The cost is $O(d)$ in the depth $d$, see [the manual](https://sqlite.org/lang_with.html).
"""
SECOND = "Linear in the depth. You never need the whole chain on screen, though: the page loads the last 40 messages"


def messages() -> tuple[views.MessageView, ...]:
    def user(id_: str, text: str, **more: object) -> views.MessageView:
        return views.MessageView(id_, "c1", "user", "done", "You", text=text, time="09:18", **more)  # type: ignore[arg-type]

    def reply(id_: str, text: str, state: str = "done", **more: object) -> views.MessageView:
        return views.MessageView(
            id_,
            "c1",
            "assistant",
            state,
            "Qwen 3 32B",
            text=text,
            html=markdown.render(text),
            time="09:19",
            **more,  # type: ignore[arg-type]
        )

    return (
        user(
            "m1",
            "And for a tree of messages, where every edit makes a sibling? It should stay quick at 10,000 messages.",
            versions=views.Versions(2, 3, "/c/c1/x/latest", "/c/c1/y/latest"),
            lane=2,
        ),
        reply(
            "m2",
            ANSWER,
            lane=2,
            versions=views.Versions(2, 2, "/c/c1/x/latest", ""),
            reasoning_html="<p>They want siblings on edit, so…</p>",
            reasoning_ms=6000,
            tokens=412,
            tokens_per_s=38,
            first_token_ms=800,
        ),
        user("m3", "How slow is the recursive query at 10,000 deep?\nAnd in what unit?", lane=2),
        reply(
            "m4",
            SECOND,
            "interrupted",
            lane=2,
            is_continued=False,
            problem=views.Problem("The answer was cut off", "What had arrived is kept. Continue picks up from here."),
            is_last=False,
            cleared_after=True,
        ),
        user("m5", "预设市场的分佣规则是什么？", lane=2),
        reply("m6", SECOND, "running", lane=2, turn_id="t1", is_last=True),
    )


MODELS = views.model_views(
    [
        Model("qwen3-32b", "Qwen 3 32B", 131072, abilities=("reasoning", "tools")),
        Model("gpt-x", "GPT X mini", 400000, abilities=("images",)),
        Model("demo", "SmolLM2 135M", 8192, is_demo=True),
    ]
)
FRAME = views.Frame(csrf="token", me=views.Me("Ada Grove", "AG", "ada@example.org", True), theme="system")


def sidebar(current: str = "c1") -> views.Sidebar:
    def line(id_: str, title: str, **more: object) -> views.LineView:
        return views.LineView(id_, title, f"/c/{id_}", is_current=id_ == current, **more)  # type: ignore[arg-type]

    return views.Sidebar(
        (
            views.LineGroup(
                "Pinned",
                (
                    line("c1", "Storage engine for the tree", branches=3),
                    line("c2", "Prix : unité ou abonnement ?", branches=2),
                ),
            ),
            views.LineGroup(
                "Today",
                (
                    line("c3", "预设市场的分佣规则", is_running=True),
                    line("c4", "Retry and fallback policy"),
                    line("c5", "Translate the release notes"),
                ),
            ),
            views.LineGroup(
                "Yesterday",
                (
                    line("c6", "Quarterly report, by model"),
                    line("c7", "Onboarding mail, three tones", branches=5),
                    line("c8", "Why is p95 first token high?"),
                ),
            ),
            views.LineGroup(
                "Previous 7 days",
                (
                    line("c9", "SVG map of a conversation"),
                    line("c10", "Réponse au comité fiscal UK/UE"),
                    line("c11", "Recipe: miso aubergine"),
                ),
            ),
        )
    )


def chat(**more: object) -> views.ChatView:
    values: dict[str, object] = {
        "conversation_id": "c1",
        "title": "Storage engine for the tree",
        "tip_id": "m6",
        "messages": messages(),
        "model": "qwen3-32b",
        "models": MODELS,
        "running_turn": "t1",
        "older_href": "/c/c1/m6?before=m1",
    }
    return views.ChatView(**(values | more))  # type: ignore[arg-type]


def new_chat(**more: object) -> views.ChatView:
    served = [Model("qwen3-32b", "Qwen 3 32B"), Model("demo", "SmolLM2 135M", is_demo=True)]
    view = views.new_chat_view(served, name="Ada", hour=9)
    return view


def pages() -> dict[str, str]:
    """Every sample page by its address."""
    no_model = views.new_chat_view([], name="Ada", hour=21)
    broken = chat(
        messages=(
            *messages()[2:3],
            views.MessageView(
                "m9",
                "c1",
                "assistant",
                "failed",
                "Qwen 3 32B",
                is_last=True,
                time="09:20",
                problem=views.Problem(
                    "The model's key was refused",
                    "Check api_key of the channel “first” in chatserver.toml, or pick another model.",
                ),
            ),
        ),
        running_turn="",
        older_href="",
        tip_id="m9",
    )
    hits = (
        views.HitView(
            "/c/c1/m2/latest",
            "Storage engine for the tree",
            "…an adjacency list and one recursive query. A branch is only its leaf…",
            "Today",
        ),
    )
    return {
        "/chat": templating.render("chat.html", frame=FRAME, sidebar=sidebar(), chat=chat()),
        "/new": templating.render("chat.html", frame=FRAME, sidebar=sidebar(""), chat=new_chat()),
        "/no-model": templating.render("chat.html", frame=FRAME, sidebar=views.Sidebar(), chat=no_model),
        "/failed": templating.render("chat.html", frame=FRAME, sidebar=sidebar(), chat=broken),
        "/settings": templating.render(
            "settings.html",
            frame=FRAME,
            sidebar=sidebar(""),
            problem=None,
            new_key="",
            news="",
            sessions=(
                views.SessionView("s1", "Chrome on macOS", "09:12", True),
                views.SessionView("s2", "Safari on iPhone", "21 November", False),
            ),
            keys=(views.KeyView("k1", "laptop script", "x9Qz", "20 November", "never used"),),
        ),
        "/search": templating.render("search.html", frame=FRAME, sidebar=sidebar(""), hits=hits, query="adjacency"),
        "/sign-in": templating.render(
            "sign_in.html",
            frame=views.Frame(csrf="t"),
            problem=views.Problem("That did not work.", "Check the email and the password."),
            email="",
            next="",
        ),
        "/setup": templating.render(
            "setup.html", frame=views.Frame(csrf="t"), problem=None, email="", name="", action="/setup/x"
        ),
        "/error": templating.render_error_page(
            views.Problem("There is nothing here", "The chat may have been deleted, or the address is not whole."),
            status=404,
        ),
    }


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        parts = path.split("/", 4)
        found = assets.find(*parts[2:]) if len(parts) == 5 and parts[1] == "static" else None
        body = found.body if found else pages().get(path, "").encode()
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", found.media_type if found else "text/html; charset=utf-8")
        self.send_header(
            "Content-Security-Policy",
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self';"
            " connect-src 'self'; form-action 'self'; base-uri 'none'",
        )
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def serve() -> tuple[http.server.ThreadingHTTPServer, str]:
    assets.install_themes(
        [ThemeSpec("grove", "Grove", str(GROVE), STYLESHEETS, ("fonts/geist-latin-wght-normal.woff2",))]
    )
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_address[1]}"


def main(out: Path, only: list[str]) -> None:
    from playwright.sync_api import sync_playwright

    out.mkdir(parents=True, exist_ok=True)
    server, base = serve()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            for width, height in ((1440, 900), (390, 844)):
                page = browser.new_page(
                    viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
                )  # type: ignore[arg-type]
                page.on(
                    "console", lambda message: print(message.text) if message.type in ("error", "warning") else None
                )
                for name in pages():
                    if only and name.strip("/") not in only:
                        continue
                    page.goto(base + name)
                    page.wait_for_timeout(250)
                    page.screenshot(path=str(out / f"{name.strip('/')}-{scheme}-{width}.png"))
                page.close()
        browser.close()
    server.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])


def drawing(width: int = 640, height: int = 420) -> bytes:
    """Two hills and a sun, as a PNG."""
    image = Image.new("RGB", (width, height), "#dfe9e2")
    draw = ImageDraw.Draw(image)
    draw.polygon([(0, height), (width * 0.35, height * 0.3), (width * 0.7, height)], fill="#2c6e49")
    draw.polygon([(width * 0.4, height), (width * 0.7, height * 0.5), (width, height)], fill="#4c956c")
    draw.ellipse((width * 0.75, height * 0.1, width * 0.88, height * 0.3), fill="#fefee3")
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()
