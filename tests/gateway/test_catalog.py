"""What the catalog offers: written-down channels, found ones, and the demo only where there is nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from chatserver.domain.extend import ChatRequest, Egress, ProviderDelta
from chatserver.domain.models import Channel, Model, ModelAlias, first_token_patience_s
from chatserver.errors import SetupError, UpstreamError
from chatserver.gateway.catalog import Catalog
from chatserver.gateway.egress import EgressClient


class Shelf:
    """A provider with a list of models and a list of channels it finds."""

    name = "shelf"

    def __init__(self, found: list[Channel], models: dict[str, list[Model]]) -> None:
        self.found, self.models = found, models

    async def discover(self, http: Egress) -> list[Channel]:
        return self.found

    async def list_models(self, channel: Channel, http: Egress) -> list[Model]:
        if channel.name not in self.models:
            raise UpstreamError("It does not answer.", kind="connect", retryable=True)
        return self.models[channel.name]

    async def chat(self, request: ChatRequest, channel: Channel, http: Egress) -> AsyncIterator[ProviderDelta]:
        raise AssertionError("nobody asks")
        yield  # type: ignore[unreachable]


async def opened(channels: list[Channel], shelf: Shelf) -> Catalog:
    catalog = Catalog({"shelf": shelf}, channels, EgressClient())
    await catalog.start()
    await catalog.ready(2)
    await catalog.stop()
    return catalog


DEMO = Channel("demo", "shelf", priority=-100, source="found")


async def test_the_demo_is_offered_only_where_there_is_nothing_else() -> None:
    shelf = Shelf([DEMO], {"demo": [Model("tiny", is_demo=True)], "real": [Model("big")]})
    assert [m.id for m in (await opened([], shelf)).models(["default"])] == ["tiny"]
    real = Channel("real", "shelf")
    assert [m.id for m in (await opened([real], shelf)).models(["default"])] == ["big"]


async def test_groups_aliases_weight_and_priority() -> None:
    channels = [
        Channel("one", "shelf", models=(ModelAlias("gpt", "upstream-gpt"),), priority=10),
        Channel("two", "shelf", models=(ModelAlias("gpt", "gpt"),), priority=0),
        Channel("off", "shelf", models=(ModelAlias("gpt", "gpt"),), weight=0, priority=99),
        Channel("staff", "shelf", models=(ModelAlias("secret", "secret"),), groups=("staff",)),
    ]
    catalog = await opened(channels, Shelf([], {}))
    assert [m.id for m in catalog.models(["default"])] == ["gpt"]
    assert [m.id for m in catalog.models(["staff"])] == ["secret"]
    assert [(c.channel.name, c.upstream_model) for c in catalog.candidates("gpt", ["default"])] == [
        ("one", "upstream-gpt"),
        ("two", "gpt"),
    ]
    assert catalog.candidates("secret", ["default"]) == ()


async def test_a_name_somebody_gave_is_the_title() -> None:
    aliases = (ModelAlias("quick", "c-4"), ModelAlias("strong", "c-4"), ModelAlias("c-4", "c-4"))
    shelf = Shelf([], {"named": [Model("c-4", "Claude 4", 200_000)], "asked": [Model("other")]})
    channels = [Channel("named", "shelf", models=aliases, priority=1), Channel("asked", "shelf")]
    models = (await opened(channels, shelf)).models(["default"])
    assert [model.title for model in models] == ["quick", "strong", "Claude 4", "other"]
    assert [model.context_tokens for model in models] == [200_000, 200_000, 200_000, 0]


async def test_models_that_embed_are_asked_for_that_alone() -> None:
    vectors = Model("vectors", abilities=("embeddings",))
    shelf = Shelf([], {"all": [Model("gpt"), vectors], "named": [vectors]})
    named = Channel("named", "shelf", models=(ModelAlias("ours", "vectors"), ModelAlias("new", "new")))
    catalog = await opened([Channel("all", "shelf"), named], shelf)
    assert [model.id for model in catalog.models(["default"])] == ["gpt", "new"]
    assert [model.id for model in catalog.all_models(["default"])] == ["gpt", "vectors", "ours", "new"]
    for name in ("vectors", "ours"):
        assert catalog.candidates(name, ["default"]) == ()
        assert len(catalog.candidates(name, ["default"], embeds=True)) == 1
    assert len(catalog.candidates("new", ["default"], embeds=True)) == 1, "nobody told what it is"


async def test_a_channel_of_the_file_that_is_off_is_asked_by_nobody() -> None:
    off = Channel("off", "shelf", models=(ModelAlias("gpt", "gpt"),), is_on=False)
    catalog = await opened([off, Channel("silent", "shelf", is_on=False)], Shelf([], {}))
    assert catalog.models(["default"]) == [] and catalog.candidates("gpt", ["default"]) == ()
    assert [report.problem for report in catalog.reports()] == ["", ""]


async def test_equal_weights_share_and_three_to_one_is_three_to_one() -> None:
    channels = [
        Channel("a", "shelf", models=(ModelAlias("m", "m"),), weight=3),
        Channel("b", "shelf", models=(ModelAlias("m", "m"),), weight=1),
    ]
    catalog = await opened(channels, Shelf([], {}))
    first = [catalog.candidates("m", ["default"])[0].channel.name for _ in range(4000)]
    assert 0.70 < first.count("a") / 4000 < 0.80


async def test_an_upstream_that_does_not_tell_its_models_is_a_problem_in_a_sentence() -> None:
    catalog = await opened([Channel("dead", "shelf")], Shelf([], {}))
    assert [report.problem for report in catalog.reports()] == ["It does not answer."]


async def test_an_unknown_provider_stops_the_start_with_its_name() -> None:
    with pytest.raises(SetupError, match="'nowhere'"):
        Catalog({"shelf": Shelf([], {})}, [Channel("x", "nowhere")], EgressClient())


@pytest.mark.parametrize(
    ("url", "seconds"),
    [
        ("http://127.0.0.1:8080/v1", 300),
        ("http://localhost/v1", 300),
        ("http://10.0.0.5", 300),
        ("https://api.example.com", 60),
    ],
)
def test_a_model_next_door_may_take_longer(url: str, seconds: float) -> None:
    assert first_token_patience_s(url) == seconds


async def test_a_channel_that_comes_later_is_found_and_takes_the_demo_s_place() -> None:
    shelf = Shelf([DEMO], {"demo": [Model("tiny", is_demo=True)], "late": [Model("big")]})
    catalog = await opened([], shelf)
    shelf.found = [DEMO, Channel("late", "shelf", source="found")]
    await catalog.find()
    assert [m.id for m in catalog.models(["default"])] == ["big"]
    shelf.found = [DEMO]
    await catalog.find()
    assert [report.channel.name for report in catalog.reports()] == ["late"], "what was found stays"


async def test_a_provider_that_fails_to_find_harms_nobody() -> None:
    class Broken(Shelf):
        is_broken = False

        async def discover(self, http: Egress) -> list[Channel]:
            if self.is_broken:
                raise ValueError("nothing in sight")
            return []

    shelf = Broken([], {"real": [Model("big")]})
    catalog = await opened([Channel("real", "shelf")], shelf)
    shelf.is_broken = True
    await catalog.find()
    assert [m.id for m in catalog.models(["default"])] == ["big"]
