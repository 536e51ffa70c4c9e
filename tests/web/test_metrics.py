"""/metrics: a format a strict parser takes, figures that tell what happened, labels nobody can make up."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from chatserver import Context, hookimpl
from chatserver.domain.figures import SERIES_LIMIT, Counter, Distribution, Figures, Gauge
from chatserver.testing.server import Site, open_site
from chatserver.testing.upstream import FakeUpstream
from chatserver.web.metrics import write_text
from chatserver.web.siblings import Siblings

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parsed(text: str) -> Samples:
    """Every sample; what is there twice, or does not belong to its family, fails."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        assert family.type in ("counter", "gauge", "histogram"), family
        assert family.documentation
        for sample in family.samples:
            assert sample.name.startswith(family.name), sample
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found, key
            found[key] = sample.value
    return found


async def scrape(site: Site) -> Samples:
    answer = await site.browser().get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return parsed(answer.text)


def value(samples: Samples, name: str, **labels: str) -> float:
    """The sum of the samples with this name and these labels."""
    wanted = set(labels.items())
    return sum(amount for (one, given), amount in samples.items() if one == name and wanted <= set(given))


async def until_ended(site: Site, states: dict[str, float]) -> Samples:
    """The first scrape that has as many ended turns of each state."""
    async with asyncio.timeout(40):
        while True:
            samples = await scrape(site)
            if all(value(samples, "chatserver_turns_ended_total", state=s) >= n for s, n in states.items()):
                return samples
            await asyncio.sleep(0.02)


async def test_calls_are_counted_by_model_and_channel(tmp_path: Path, fake_upstream: FakeUpstream) -> None:
    async with open_site(tmp_path, fake_upstream.base_url) as site:
        ann = await site.sign_up("ann@example.org")
        for model in ("fake-n5", "fake-n5", "fake-err500"):
            assert (await ann.post("/send", data={"text": "Hello", "model": model})).status_code in (200, 303)
        key = await site.make_key("ann@example.org")
        program = site.api(key)
        made = (await program.post("/api/conversations", json={"title": "Mine"})).json()["id"]
        asked = {"parent_id": None, "text": "Hello", "model": "fake-n5"}
        assert (await program.post(f"/api/conversations/{made}/messages", json=asked)).status_code == 202
        samples = await until_ended(site, {"done": 3, "failed": 1})
        by_channel = {"model": "fake-n5", "channel": "fake"}
        chats = {"kind": "chat", "state": "done"}
        assert value(samples, "chatserver_calls_total", **by_channel, **chats, origin="web") == 2
        assert value(samples, "chatserver_calls_total", **by_channel, **chats, origin="api") == 1
        assert value(samples, "chatserver_calls_total", model="fake-err500", state="failed") == 1
        assert value(samples, "chatserver_call_attempts_total", model="fake-err500", outcome="server") >= 2
        assert value(samples, "chatserver_call_attempts_total", **by_channel, outcome="done") >= 3
        assert value(samples, "chatserver_call_fallbacks_total", model="fake-err500") == 0
        assert value(samples, "chatserver_first_token_seconds_count", **by_channel) >= 3
        assert value(samples, "chatserver_first_token_seconds_count", model="fake-err500") == 0
        assert value(samples, "chatserver_call_duration_seconds_count", **by_channel) >= 3
        assert value(samples, "chatserver_tokens_total", **by_channel, meter="output") >= 15
        assert value(samples, "chatserver_turns_started_total", origin="web") == 3
        assert value(samples, "chatserver_turns_started_total", origin="api") == 1
        assert value(samples, "chatserver_http_responses_total", status="202") >= 1
        assert value(samples, "chatserver_egress_requests_total", profile="channel", outcome="answered") >= 4
        assert value(samples, "chatserver_build_info", engine="sqlite") == 1
        assert value(samples, "chatserver_database_up") == 1
        assert value(samples, "chatserver_writer_units_total") > 4
        assert value(samples, "chatserver_writer_batch_seconds_count") > 0
        assert value(samples, "process_resident_memory_bytes") > 10_000_000
        assert value(samples, "process_open_fds") > 3
        assert value(samples, "chatserver_disk_free_bytes") > 0
        assert ("chatserver_outbox_waiting", ()) in samples
        assert ("chatserver_streams_open", ()) in samples


async def test_nothing_that_was_sent_becomes_a_label(tmp_path: Path, fake_upstream: FakeUpstream) -> None:
    async with open_site(tmp_path, fake_upstream.base_url) as site:
        ann = await site.sign_up("ann@example.org")
        made_up = 'made-up"} 1\nfake 2'
        await ann.post("/send", data={"text": made_up, "model": made_up, "kind": made_up, "origin": made_up})
        await ann.get(f"/{'x' * 20}/made-up", headers={"user-agent": "made-up"})
        text = (await site.browser().get("/metrics")).text
        parsed(text)
        assert "made-up" not in text


class Grower:
    """Counts what it likes, and has a gauge that breaks."""

    def __init__(self) -> None:
        self.leaves: Any = None

    @hookimpl
    async def startup(self, ctx: Context) -> None:
        self.leaves = ctx.metrics.counter("leaves_total", "Leaves that fell", ["tree"])
        ctx.metrics.gauge("height_metres", "How high", lambda: [({"tree": 'an "oak"\n'}, 12.5)])
        ctx.metrics.distribution("fall_seconds", "How long they fell").observe(0.3)
        ctx.metrics.gauge("broken", "Nobody knows", lambda: 1 / 0)


async def test_a_plugin_has_figures_of_its_own(tmp_path: Path, fake_upstream: FakeUpstream) -> None:
    grower = Grower()
    async with open_site(tmp_path, fake_upstream.base_url, plugins=[("garden", grower)]) as site:
        grower.leaves.add(2, tree="birch")
        samples = await scrape(site)
        assert value(samples, "chatserver_garden_leaves_total", tree="birch") == 2
        assert value(samples, "chatserver_garden_height_metres", tree='an "oak"\n') == 12.5
        assert value(samples, "chatserver_garden_fall_seconds_bucket", le="0.25") == 0
        assert value(samples, "chatserver_garden_fall_seconds_bucket", le="+Inf") == 1
        assert not any("broken" in name for name, _ in samples)
        site.house.plugins.switch("garden", False)
        assert not any("garden" in name for name, _ in await scrape(site))


async def test_a_database_that_does_not_answer_is_a_figure(tmp_path: Path, fake_upstream: FakeUpstream) -> None:
    async with open_site(tmp_path, fake_upstream.base_url) as site:
        await site.house.db.close()
        samples = await scrape(site)
        assert value(samples, "chatserver_database_up") == 0
        assert ("chatserver_outbox_waiting", ()) not in samples
        assert (await site.browser().get("/readyz")).status_code == 503
        assert (await site.browser().get("/healthz")).status_code == 200


def test_labels_without_end_are_counted_as_other() -> None:
    counter, spread = Counter("a_total", "Many", ["who"]), Distribution("b_seconds", "Many", ["who"])
    for number in range(SERIES_LIMIT + 5):
        counter.add(who=str(number))
        spread.observe(1.0, who=str(number))
    counter.add(who="0")
    samples = parsed(write_text([counter.family(), spread.family()]))
    assert samples["a_total", (("who", "other"),)] == 5
    assert samples["a_total", (("who", "0"),)] == 2
    assert samples["b_seconds_count", (("who", "other"),)] == 5


def test_names_are_names_and_ones_own() -> None:
    figures = Figures()
    figures.add(Counter("a_total", "One"))
    for name in ("a_total", "Upper", "with space", 'quote"', "", "1st"):
        with pytest.raises(ValueError, match="name"):
            figures.add(Gauge(name, "Another", lambda: 1), "garden")


def test_a_bucket_holds_its_bound() -> None:
    spread = Distribution("a_seconds", "Spread", bounds=(0.1, 1.0))
    for seconds in (0.1, 0.5, 1.0, 7.0):
        spread.observe(seconds)
    samples = parsed(write_text([spread.family()]))
    found = [samples["a_seconds_bucket", (("le", bound),)] for bound in ("0.1", "1", "+Inf")]
    assert found == [1, 3, 4]
    assert samples["a_seconds_sum", ()] == pytest.approx(8.6)


async def test_workers_answer_for_each_other(tmp_path: Path, fake_upstream: FakeUpstream) -> None:
    first, second = Siblings(tmp_path, 0), Siblings(tmp_path, 1)
    calls, waiting = Counter("calls_total", "Calls", ["model"]), Gauge("waiting", "Waiting", lambda: 7, is_shared=True)
    calls.add(3, model="a")
    other = Counter("calls_total", "Calls", ["model"])
    other.add(4, model="a")
    other.add(1, model="b")
    own = [calls.family(), waiting.family()]
    await second.start(lambda: [other.family(), waiting.family()])
    try:
        (tmp_path / "2.sock").touch()  # one that died
        samples = parsed(write_text(await first.merge(own)))
    finally:
        await second.stop()
    assert samples == {
        ("calls_total", (("model", "a"), ("worker", "0"))): 3,
        ("calls_total", (("model", "a"), ("worker", "1"))): 4,
        ("calls_total", (("model", "b"), ("worker", "1"))): 1,
        ("waiting", ()): 7,
    }
    assert not (tmp_path / "1.sock").exists()
    alone = parsed(write_text(await first.merge(own)))
    assert value(alone, "calls_total") == 3
