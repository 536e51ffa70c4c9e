"""One chat as a file: whole, safe to open anywhere, named after its title, and read in again."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chatserver.chat.import_files import ImportFile
from chatserver.chat.imports import survey, take_file
from chatserver.clock import new_id, now_us
from chatserver.domain.messages import FilePart, Message, ReasoningPart, TextPart
from chatserver.errors import BadInput
from chatserver.store import messages as message_rows
from chatserver.testing.server import Site, SiteClient
from chatserver.web.downloads import disposition

pytestmark = pytest.mark.asyncio(loop_scope="module")
NASTY = (
    '<script>alert(1)</script> "><img src=//evil.example/x onerror=alert(2)> [x](javascript:alert(3))'
    " ![y](//evil.example/y)"
)
CODE = "Look:\n\n```python\nprint(1)\n```\n"


async def told(
    site: Site, ada: SiteClient, title: str, *texts: str, parent: str | None = None
) -> tuple[str, list[str]]:
    """A conversation of questions and answers with these texts, below each other."""
    conversation: str = (await ada.post("/api/conversations", json={"title": title})).json()["id"]
    return conversation, await tell(site, conversation, parent, *texts)


async def tell(site: Site, conversation: str, parent: str | None, *texts: str) -> list[str]:
    ids: list[str] = []

    def store(tx: Any) -> None:
        above = parent
        for number, text in enumerate(texts):
            role: Any = "assistant" if number % 2 else "user"
            model = "fake-n5" if number % 2 else ""
            parts = (ReasoningPart("a quiet thought"), TextPart(text)) if number % 2 else (TextPart(text),)
            message = Message(new_id(), conversation, above, role, "done", parts, model, now_us())
            message_rows.insert_message(tx, message)
            tx.run("UPDATE conversations SET tip_id = :tip WHERE id = :id", tip=message.id, id=conversation)
            above = message.id
            ids.append(message.id)

    await site.house.db.write(store)
    return ids


async def download(ada: SiteClient, conversation: str, **query: Any) -> Any:
    answer = await ada.get(f"/api/conversations/{conversation}/export", params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-disposition"].startswith("attachment; ")
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
    return answer


async def test_markdown_holds_what_was_said_as_it_was_said(shared_site: Site) -> None:
    ada = await shared_site.sign_up("markdown@example.org")
    conversation, ids = await told(shared_site, ada, "On trees", "What is *this*?", CODE, "And then?", "Nothing.")
    text = (await download(ada, conversation)).text
    assert text.startswith("# On trees\n\n*")
    assert "\n## You\n\nWhat is *this*?\n\n## fake-n5\n\nLook:\n\n```python\nprint(1)\n```\n" in text
    assert "quiet thought" not in text
    assert "\n> a quiet thought\n" in (await download(ada, conversation, reasoning=1)).text
    assert "And then?" not in (await download(ada, conversation, tip=ids[1])).text


async def test_a_tree_says_what_answers_what(shared_site: Site) -> None:
    ada = await shared_site.sign_up("tree-out@example.org")
    conversation, ids = await told(shared_site, ada, "On trees", "one", "two", "three", "four")
    await tell(shared_site, conversation, ids[1], "another three", "another four")
    path = (await download(ada, conversation)).text
    assert "another three" in path and "\nthree\n" not in path and "## You" in path
    tree = (await download(ada, conversation, scope="tree")).text
    assert re.findall("^## (.*)$", tree, re.MULTILINE) == [
        "1. You",
        "2. fake-n5",
        "3. You · version 1 of 2",
        "4. fake-n5",
        "5. You · version 2 of 2, answers 2",
        "6. fake-n5",
    ]
    page = (await download(ada, conversation, scope="tree", format="html")).text
    assert page.count("<article") == 6 and "version 2 of 2, answers 2" in page


async def test_html_needs_nothing_else_and_runs_nothing(shared_site: Site) -> None:
    ada = await shared_site.sign_up("html-out@example.org")
    conversation, _ = await told(shared_site, ada, NASTY[:100], NASTY, NASTY + "\n\n" + CODE)
    page = (await download(ada, conversation, format="html", reasoning=1)).text
    assert page.startswith("<!doctype html>") and page.rstrip().endswith("</html>")
    for wrong in ("<script", "<img", "<link", "<button", "<svg", "/static/", 'href="javascript', 'src="', " style="):
        assert wrong not in page, wrong
    assert "&lt;script&gt;alert(1)" in page and "print" in page
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert policy and style and "unsafe" not in policy[1]
    assert base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode() in policy[1]


async def test_json_is_read_in_again_whole(shared_site: Site, tmp_path: Path) -> None:
    ada = await shared_site.sign_up("json-out@example.org")
    bob = await shared_site.sign_up("json-in@example.org")
    assert bob.actor is not None
    conversation, ids = await told(shared_site, ada, "On trees", "one", "two", "three", "four")
    await tell(shared_site, conversation, ids[1], "another three", "another four")
    await ada.post(f"/api/conversations/{conversation}/clear-context", json={"message_id": ids[1]})
    raw = (await download(ada, conversation, format="json", scope="tree")).content
    chat = msgspec.json.decode(raw)
    assert chat["format"] == "chatserver-export" and chat["version"] == 1 and len(chat["messages"]) == 6
    assert chat["conversation"]["title"] == "On trees" and "json-out" not in raw.decode()
    file = tmp_path / "chat.json"
    file.write_bytes(raw)
    source = ImportFile(file, [])
    assert survey(source).messages == 6
    report = await take_file(shared_site.house.db, source, {"": bob.actor})
    assert report[""].new == 1 and report[""].messages == 6
    (line,) = (await bob.get("/api/conversations")).json()["conversations"]
    there = (await bob.get(f"/api/conversations/{line['id']}/messages", params={"tree": 1})).json()["messages"]
    here = (await ada.get(f"/api/conversations/{conversation}/messages", params={"tree": 1})).json()["messages"]
    assert [(m["role"], m["parts"], m["cleared"]) for m in there] == [
        (m["role"], m["parts"], m["cleared"]) for m in here
    ]
    again = await take_file(shared_site.house.db, source, {"": bob.actor})
    assert again[""].there == 1 and again[""].new == 0
    for damaged in (raw[:-40], raw.replace(b'"version":1', b'"version":9'), raw.replace(ids[0].encode(), b"x", 1)):
        file.write_bytes(damaged)
        with pytest.raises(BadInput):
            survey(ImportFile(file, []))


async def test_a_branch_as_json_is_that_branch(shared_site: Site) -> None:
    ada = await shared_site.sign_up("json-path@example.org")
    conversation, ids = await told(shared_site, ada, "On trees", "one", "two", "three", "four")
    await tell(shared_site, conversation, ids[1], "another three")
    chat = (await download(ada, conversation, format="json", tip=ids[3])).json()
    assert [message["id"] for message in chat["messages"]] == ids and chat["conversation"]["tip_id"] == ids[3]


async def test_files_are_named_and_deleted_messages_are_not_in_it(shared_site: Site) -> None:
    ada = await shared_site.sign_up("files-out@example.org")
    conversation, ids = await told(shared_site, ada, "On trees", "one", "two", "three", "four")
    parts = (FilePart("f1", "plan.txt", "text/plain", 3), TextPart("see there"))
    last = Message(new_id(), conversation, ids[3], "user", "done", parts, "", now_us())
    await shared_site.house.db.write(lambda tx: message_rows.insert_message(tx, last))
    assert "*File: plan.txt*" in (await download(ada, conversation, tip=last.id)).text
    await ada.delete(f"/api/messages/{ids[2]}")
    assert "three" not in (await download(ada, conversation, scope="tree")).text


async def test_an_answer_that_is_being_written_stands_there_as_far_as_it_is(shared_site: Site) -> None:
    ada = await shared_site.sign_up("running-out@example.org")
    conversation = (await ada.post("/api/conversations", json={"title": "Now"})).json()["id"]
    body = {"parent_id": None, "text": "wait", "model": "fake-hang"}
    sent = (await ada.post(f"/api/conversations/{conversation}/messages", json=body)).json()
    text = (await download(ada, conversation)).text
    assert "wait" in text and "*The answer was cut off*" in text
    await ada.post(f"/api/turns/{sent['turn_id']}/stop")


async def test_a_long_chat_comes_in_pieces(shared_site: Site) -> None:
    ada = await shared_site.sign_up("long-out@example.org")
    conversation, ids = await told(shared_site, ada, "Long", *(f"number {number}" for number in range(900)))
    text = (await download(ada, conversation)).text
    assert re.findall(r"^number (\d+)$", text, re.MULTILINE) == [str(number) for number in range(900)]
    assert len((await download(ada, conversation, format="json", scope="tree")).json()["messages"]) == len(ids)


async def test_an_empty_chat_is_an_empty_file(shared_site: Site) -> None:
    ada = await shared_site.sign_up("empty-out@example.org")
    conversation = (await ada.post("/api/conversations", json={"title": "Empty"})).json()["id"]
    assert (await download(ada, conversation)).text.startswith("# Empty")
    for scope in ("path", "tree"):
        assert (await download(ada, conversation, format="json", scope=scope)).json()["messages"] == []
    for wrong in ({"format": "exe"}, {"scope": "world"}):
        answer = await ada.get(f"/api/conversations/{conversation}/export", params=wrong)
        assert answer.status_code == 400 and answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("title", "plain", "whole"),
    [
        ("On trees", "On trees.md", "On%20trees.md"),
        ("../../etc/passwd", "etc passwd.md", "etc%20passwd.md"),
        ("a\r\nSet-Cookie: x=1", "a Set-Cookie x=1.md", "a%20Set-Cookie%20x%3D1.md"),
        ('"; filename=evil.exe', "filename=evil.exe.md", None),
        ("Prix : à l’unité ?", "Prix a lunite.md", "Prix%20%C3%A0%20l%E2%80%99unit%C3%A9.md"),
        ("预设市场", "chat.md", "%E9%A2%84%E8%AE%BE%E5%B8%82%E5%9C%BA.md"),
        ("\u202eexe.cod", "exe.cod.md", "exe.cod.md"),
        ("...", "chat.md", "chat.md"),
        ("x" * 500, "x" * 80 + ".md", "x" * 80 + ".md"),
    ],
)
async def test_a_download_has_a_harmless_name(title: str, plain: str, whole: str | None) -> None:
    header = disposition(title, "md")
    assert header.isascii() and header.isprintable() and header.count('"') == 2
    found = re.fullmatch(r"attachment; filename=\"([A-Za-z0-9._ -]+)\"; filename\*=UTF-8''(\S+)", header)
    assert found, header
    assert "/" not in found[1] + found[2] and not found[1].startswith(".")
    assert found[1] == re.sub("[^A-Za-z0-9._ -]", "", plain)
    if whole is not None:
        assert found[2] == whole
