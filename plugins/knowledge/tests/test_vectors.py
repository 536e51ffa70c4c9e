"""Where vectors come from: a killed job goes on, a channel may embed, and another model takes over when whole."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chatserver import Unavailable
from chatserver.testing.server import Site
from chatserver.testing.upstream import FakeUpstream, Rule

from .conftest import bring, job_of, make, put_in, search, settled

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

COUNTRIES = ("Peru", "Chad", "Fiji", "Laos", "Mali", "Oman", "Togo", "Cuba", "Iran", "Iraq")
LAND = "".join(f"# {name}\nOf {name} little is told in this book.\n\n" for name in COUNTRIES)
CHANNEL_MODEL = "channel:fake-n5"


async def told(site: Site, admin: Any) -> str:
    """The notices of the plugin, as an admin has them. What was told in passing is written first."""
    await job_of(site, "knowledge.read")._ctx.notices.settle()
    return " ".join(one.sentence for one in await site.house.notices.unread(admin.actor) if one.source == "knowledge")


@pytest.fixture
def ingest(site: Site, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Jobs of this test are run by the test, not by the house."""
    found = job_of(site, "knowledge.read")

    async def queue(file: Any) -> None:
        await found._shelf.mark(file.id, "queued")

    monkeypatch.setattr(found._shelf, "queue", queue)
    return found


async def test_a_killed_job_goes_on_and_embeds_nothing_twice(
    site: Site, ingest: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await site.sign_up("killed@example.org")
    shelf = await make(ada)
    file = await bring(ada, "land.md", LAND.encode())
    await ada.post(f"/x/knowledge/collections/{shelf}/files", json={"file_id": file})
    (known,) = await ingest._shelf.files(shelf)
    embedder, asked = ingest._embedder, []
    real = embedder.passages

    async def dies_after_a_step(model: str, texts: list[str], account: Any) -> Any:
        if asked:
            raise asyncio.CancelledError
        asked.extend(texts)
        return await real(model, texts, account)

    monkeypatch.setattr(embedder, "passages", dies_after_a_step)
    with pytest.raises(asyncio.CancelledError):
        await ingest.run({"file": known.id})
    (line,) = (await ada.get(f"/x/knowledge/collections/{shelf}")).json()["files"]
    assert line["state"] == "running" and line["progress"] == {"step": "embedding", "done": len(asked), "total": 10}
    assert "passages" in (await ada.get(f"/x/knowledge/c/{shelf}")).text
    assert await search(ada, "Togo", shelf) == [], "what is not whole is not searched"

    async def counts(model: str, texts: list[str], account: Any) -> Any:
        asked.extend(texts)
        return await real(model, texts, account)

    async def never(*_: object) -> Any:
        raise AssertionError("a file that was read is not read again")

    monkeypatch.setattr(embedder, "passages", counts)
    monkeypatch.setattr(ingest, "_read", never)
    await ingest.run({"file": known.id})
    assert len(asked) == len(set(asked)) == 10
    assert (await settled(ada, shelf, file))["chunks"] == 10
    assert "Togo" in (await search(ada, "Togo", shelf))[0]["text"]


async def test_three_failed_tries_and_one_more_leave_the_same(
    site: Site, ingest: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await site.sign_up("tries@example.org")
    shelf = await make(ada)
    file = await bring(ada, "land.md", LAND.encode())
    await ada.post(f"/x/knowledge/collections/{shelf}/files", json={"file_id": file})
    (known,) = await ingest._shelf.files(shelf)
    embedder, steps = ingest._embedder, []
    real = embedder.passages

    async def fails_at_the_second_step(model: str, texts: list[str], account: Any) -> Any:
        steps.append(texts)
        if len(steps) % 2 == 0:
            raise Unavailable("away")
        return await real(model, texts, account)

    monkeypatch.setattr(embedder, "passages", fails_at_the_second_step)
    for number in range(2):
        await ingest.run({"file": known.id})
        failed = await settled(ada, shelf, file)
        assert failed["state"] == "failed" and "does not answer" in failed["error"], (number, failed)
    monkeypatch.setattr(ingest, "_embed", None)  # a surprise
    await ingest.run({"file": known.id})
    assert "Something went wrong" in (await settled(ada, shelf, file))["error"]
    monkeypatch.undo()
    await ingest.run({"file": known.id})
    assert (await settled(ada, shelf, file))["chunks"] == 10
    assert len(await search(ada, "country book", shelf, limit=50)) == 10


async def test_another_model_takes_over_when_its_vectors_are_whole(site: Site, upstream: FakeUpstream) -> None:
    ada, admin = await site.sign_up("other@example.org"), await site.sign_up("chief@example.org", role="admin")
    shelf = await make(ada)
    await put_in(ada, shelf, await bring(ada, "land.md", LAND.encode()))
    renewal, embedder = job_of(site, "knowledge.renew"), job_of(site, "knowledge.read")._embedder
    before = embedder.wanted
    assert before in (await admin.get("/admin")).text
    embedder.wanted = CHANNEL_MODEL
    upstream.rules = [Rule(model="fake-n5", options="err500")]
    try:
        await renewal.run({})
        assert (await renewal._chunks.serving()).model == before, "the old one serves while the new one fails"
        assert "gives no embeddings" in await told(site, admin)
        assert "Togo" in (await search(ada, "Togo", shelf))[0]["text"]
        assert "Being embedded anew with fake-n5" in (await admin.get("/admin")).text
        upstream.rules = []
        await renewal.run({})
        assert (await renewal._chunks.serving()).model == CHANNEL_MODEL
        assert "gives no embeddings" not in await told(site, admin)
        upstream.reset()
        assert any("Togo" in one["text"] for one in await search(ada, "Togo", shelf))
        (asked,) = [one for one in upstream.requests if one.path.endswith("/embeddings")]
        assert asked.json["input"] == ["Togo"]
        await put_in(ada, shelf, await bring(ada, "more.md", b"# Tonga\nTonga is an island.\n"))
        assert any("Tonga" in one["text"] for one in await search(ada, "Tonga", shelf, limit=50))
        kinds = await site.house.db.read(
            lambda tx: tx.all(str, "SELECT DISTINCT state FROM calls WHERE kind = 'embedding' AND state <> 'running'")
        )
        assert "done" in kinds, "it is metered like any call"

        upstream.rules = [Rule(model="fake-n5", options="err500")]
        assert "Peru" in (await search(ada, "What of Peru", shelf))[0]["text"], "words answer alone"
        assert "by words alone" in await told(site, admin)
        upstream.rules = []
        assert await search(ada, "What is with Peru", shelf)
        assert "by words alone" not in await told(site, admin)
    finally:
        upstream.rules = []
        embedder.wanted = before
    await renewal.run({})
    assert (await renewal._chunks.serving()).model == before
    models = await site.house.db.read(lambda tx: tx.all(str, "SELECT DISTINCT model FROM knowledge_vectors"))
    assert models == [before]
    assert "Laos" in (await search(ada, "Laos", shelf))[0]["text"]
