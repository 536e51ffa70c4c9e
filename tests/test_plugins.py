"""The plugin manager: what is imported, in which order it is asked, and what happens when a plugin misbehaves."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

import chatserver
from chatserver import (
    Account,
    AccountCreated,
    Actor,
    Admission,
    CallEnded,
    Candidate,
    Channel,
    Delivery,
    Migration,
    Model,
    ModelUse,
    NavItem,
    Prompt,
    PromptMessage,
    Refusal,
    Setting,
    SetupError,
    SlotContext,
    TextPart,
    TurnEnded,
    UpstreamError,
    Usage,
    clock,
    hookimpl,
    hookspec,
)
from chatserver.errors import ChatserverError, Conflict, NotFound, StorageFull, Unavailable
from chatserver.plugins import Found, PluginFault, Plugins
from chatserver.plugins.found import BUNDLED, judge
from chatserver.plugins.watchdog import Watchdog, blame

ACCOUNT = Account("a1", "ann@example.org", "Ann", "member", "active", ("default",), 1)
ACTOR = Actor(ACCOUNT, "web")
MODEL = Model("small")
PROMPT = Prompt((PromptMessage("user", (TextPart("hello"),)),), MODEL, ACCOUNT)
ADMISSION = Admission("c1", ACCOUNT, "web", "chat", "small", 10)
DELIVERY = Delivery(1, AccountCreated("a1"), 1)
SLOT = SlotContext("head", ACCOUNT)


def load(**holders: object) -> Plugins:
    return Plugins.load(found=(), extra=list(holders.items()))


def states(plugins: Plugins) -> dict[str, str]:
    return {one.name: one.state for one in plugins.report()}


def holder(**functions: Callable[..., Any]) -> SimpleNamespace:
    """A plugin made of functions, each named after its hook."""
    return SimpleNamespace(**{name: hookimpl()(function) for name, function in functions.items()})


# --- finding and allowing -------------------------------------------------------------------------------------------


def found(name: str, distribution: str = "", core_range: str = "", target: str = "") -> Found:
    return Found(name, distribution or f"chatserver-{name}", "1.0", target or f"chatserver_{name}", core_range, "")


def verdicts(*plugins: Found, enabled: tuple[str, ...] = (), disabled: tuple[str, ...] = ()) -> dict[str, str]:
    return {one.found.distribution: one.standing for one in judge(plugins, enabled, disabled, "0.1.0")}


def test_ours_are_allowed_and_others_wait_for_their_name() -> None:
    assert verdicts(found("password"), found("weather")) == {
        "chatserver-password": "on",
        "chatserver-weather": "found, not allowed",
    }
    assert verdicts(found("weather"), enabled=("weather",)) == {"chatserver-weather": "on"}


def test_disabled_wins_over_enabled_and_ours() -> None:
    assert verdicts(found("password"), found("weather"), enabled=("weather",), disabled=("weather", "password")) == {
        "chatserver-password": "off",
        "chatserver-weather": "off",
    }


def test_a_stranger_cannot_borrow_the_name_of_one_of_ours() -> None:
    assert verdicts(found("password", "evil"), found("password"))["evil"] == "found, not allowed"
    allowed = verdicts(found("password", "evil"), found("password"), enabled=("password",))
    assert allowed == {"chatserver-password": "on", "evil": "refused"}


def test_a_distribution_of_ours_cannot_bring_further_names() -> None:
    assert verdicts(found("weather", "chatserver-password")) == {"chatserver-password": "found, not allowed"}


@pytest.mark.parametrize("name", ["Weather", "1up", "a-b", "_x"])
def test_a_name_outside_the_rule_is_refused(name: str) -> None:
    assert verdicts(found(name, "x"), enabled=(name,)) == {"x": "refused"}


def test_a_plugin_for_another_version_is_refused_with_a_sentence() -> None:
    plugins = Plugins.load(core_version="0.3.0", found=[found("password", core_range=">=0.1,<0.3")])
    (line,) = plugins.report()
    assert line.state == "refused"
    assert "chatserver-password 1.0 needs chatserver>=0.1,<0.3, and this is 0.3.0" in line.reason


def test_a_prerelease_of_the_core_fits_its_range() -> None:
    (verdict,) = judge([found("password", core_range=">=0.1,<0.3")], (), (), "0.2.0.dev1")
    assert verdict.standing == "on"


@pytest.fixture
def rogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A distribution on the path that leaves a mark when it is imported."""
    (tmp_path / "chatserver_rogue.py").write_text("import sys\nsys.rogue_was_here = True\n")
    info = tmp_path / "chatserver_rogue-6.6.dist-info"
    info.mkdir()
    info.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: chatserver-rogue\nVersion: 6.6\n")
    info.joinpath("entry_points.txt").write_text("[chatserver.plugins]\nrogue = chatserver_rogue\n")
    info.joinpath("RECORD").write_text("chatserver_rogue.py,sha256=abc,1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "rogue_was_here", False, raising=False)
    yield "rogue"
    sys.modules.pop("chatserver_rogue", None)


def test_a_rogue_wheel_is_listed_and_not_imported_until_allowed(rogue: str) -> None:
    others = list(BUNDLED)
    plugins = Plugins.load(disabled=others)
    (line,) = [one for one in plugins.report() if one.name == rogue]
    assert (line.state, line.distribution, line.version) == ("found, not allowed", "chatserver-rogue", "6.6")
    assert len(line.fingerprint) == 16
    assert sys.rogue_was_here is False  # type: ignore[attr-defined]
    with pytest.raises(Conflict, match="restart"):
        plugins.switch(rogue, True)
    Plugins.load(enabled=[rogue], disabled=others)
    assert sys.rogue_was_here is True  # type: ignore[attr-defined]


def test_a_name_that_is_allowed_but_not_installed_is_reported() -> None:
    plugins = Plugins.load(enabled=["weather"], found=())
    assert states(plugins) == {"weather": "missing"}


def test_a_plugin_that_cannot_be_imported_stops_the_start_by_name() -> None:
    with pytest.raises(SetupError, match=r"The plugin gone \(chatserver-gone 1.0\) cannot be imported"):
        Plugins.load(enabled=["gone"], found=[found("gone")])
    plugins = Plugins.load(enabled=["gone"], found=[found("gone")], is_lenient=True)
    assert states(plugins) == {"gone": "refused"}


# --- verifying ------------------------------------------------------------------------------------------------------


def test_an_unknown_hook_fails_at_load_and_names_the_plugin() -> None:
    with pytest.raises(SetupError, match="The plugin weather implements the hook rain_or_shine"):
        load(weather=holder(rain_or_shine=lambda: None))


def test_an_unknown_argument_fails_at_load_and_names_the_plugin() -> None:
    with pytest.raises(
        SetupError, match="The plugin weather asks the hook nav_items for 'person'; the hook gives actor"
    ):
        load(weather=holder(nav_items=lambda person: []))


def test_an_optional_hook_of_an_absent_plugin_is_skipped() -> None:
    class Weather:
        @hookimpl(optional=True)
        def forecast(self, day: str) -> str:
            return day

    assert states(load(weather=Weather)) == {"weather": "on"}


def test_a_lenient_load_reports_what_does_not_fit_and_keeps_the_rest() -> None:
    good = holder(nav_items=lambda actor: [])
    plugins = Plugins.load(
        found=(), extra=[("bad", holder(nav_items=lambda person: [])), ("good", good)], is_lenient=True
    )
    assert states(plugins) == {"bad": "refused", "good": "on"}


class ForecastSpecs:
    @hookspec("first")
    def forecast(self, day: str) -> str | None:
        """What will the weather be?"""


async def test_hooks_of_a_plugin_can_be_implemented_by_one_that_sorts_before_it() -> None:
    plugins = load(
        almanac=holder(forecast=lambda day: f"rain on {day}"),
        weather=holder(register_hookspecs=lambda: [ForecastSpecs]),
    )
    assert await plugins.first("forecast", day="Monday") == "rain on Monday"


def test_a_hook_cannot_be_specified_twice() -> None:
    specs = holder(register_hookspecs=lambda: [ForecastSpecs])
    with pytest.raises(SetupError, match="which exists already"):
        load(one=specs, two=holder(register_hookspecs=lambda: [ForecastSpecs]))


def test_a_register_hook_that_is_a_coroutine_is_refused() -> None:
    async def register_settings() -> list[Setting]:
        return []

    with pytest.raises(SetupError, match="plain function"):
        load(weather=holder(register_settings=register_settings))


def test_slots_named_at_a_hook_that_fills_none_stop_the_start() -> None:
    class Weather:
        @hookimpl(slots=("composer.tools",))
        async def nav_items(self) -> list[NavItem]:
            return []

    with pytest.raises(SetupError, match="The plugin weather names slots at nav_items"):
        load(weather=Weather())


def test_a_register_hook_that_raises_or_answers_rubbish_stops_the_start() -> None:
    with pytest.raises(SetupError, match="The plugin weather failed in register_settings: ZeroDivisionError"):
        load(weather=holder(register_settings=lambda: [1 / 0]))
    with pytest.raises(SetupError, match="The plugin weather failed in register_settings: TypeError"):
        load(weather=holder(register_settings=lambda: ["api_key"]))


def test_two_providers_of_one_name_stop_the_start() -> None:
    class Speaker:
        name = "speaker"

        async def discover(self, http: Any) -> list[Channel]:
            return []

        async def list_models(self, channel: Channel, http: Any) -> list[Model]:
            return []

        async def chat(self, request: Any, channel: Channel, http: Any) -> AsyncIterator[Any]:
            yield

    with pytest.raises(SetupError, match="Both one and two bring 'speaker'"):
        load(
            one=holder(register_providers=lambda: [Speaker()]),
            two=holder(register_providers=lambda: [Speaker()]),
        )
    plugins = load(one=holder(register_providers=lambda: [Speaker()]))
    assert [name for name, _ in plugins.registered("register_providers")] == ["one"]


@pytest.mark.parametrize(
    "hook",
    [
        "register_routes",
        "register_jobs",
        "register_themes",
        "register_auth_backends",
        "register_engines",
        "register_buses",
        "register_importers",
    ],
)
def test_a_register_hook_wants_items_of_its_type(hook: str) -> None:
    with pytest.raises(SetupError, match=hook):
        load(weather=holder(**{hook: lambda: [object()]}))
    assert load(weather=holder(**{hook: lambda: []})).registered(hook) == []


def test_migrations_stay_within_the_prefix() -> None:
    good = Migration("0001", ("CREATE TABLE weather_days (id TEXT PRIMARY KEY)",))
    assert load(weather=holder(register_migrations=lambda: [good])).migrations() == [("weather", [good])]
    bad = Migration("0001", ("DROP TABLE accounts",))
    with pytest.raises(SetupError, match=r"The migration 0001 of weather: .*weather_.*accounts"):
        load(weather=holder(register_migrations=lambda: [bad]))


# --- the four modes -------------------------------------------------------------------------------------------------


async def test_gather_flattens_in_order_of_number_then_name() -> None:
    def offers(label: str) -> Callable[..., list[NavItem]]:
        return lambda actor: [NavItem(label, "/x")]

    class Early:
        @hookimpl(order=10)
        async def nav_items(self, actor: Actor) -> list[NavItem]:
            return [NavItem("early", "/x"), NavItem("bird", "/x")]

    plugins = load(b=holder(nav_items=offers("b")), a=holder(nav_items=offers("a")), z=Early)
    items = await plugins.gather("nav_items", actor=ACTOR)
    assert [item.label for item in items] == ["early", "bird", "a", "b"]


async def test_gather_leaves_out_none_and_keeps_single_answers() -> None:
    plugins = load(
        a=holder(render_slot=lambda context: None),
        b=holder(render_slot=lambda: "<b>hi</b>"),
    )
    assert await plugins.gather("render_slot", context=SLOT) == ["<b>hi</b>"]


async def test_first_stops_at_an_answer_also_of_coroutines() -> None:
    asked = []

    async def nothing(day: str) -> str | None:
        asked.append("a")
        return None

    async def something(day: str) -> str | None:
        asked.append("b")
        return "sun"

    async def never(day: str) -> str | None:
        asked.append("c")
        return "snow"

    plugins = load(
        a=holder(forecast=nothing),
        b=holder(forecast=something),
        c=holder(forecast=never),
        w=holder(register_hookspecs=lambda: [ForecastSpecs]),
    )
    assert await plugins.first("forecast", day="Monday") == "sun"
    assert asked == ["a", "b"]


async def test_chain_passes_each_replacement_on_and_none_keeps_it() -> None:
    async def lower(admission: Admission) -> Admission:
        return msgspec.structs.replace(admission, max_output=100)

    plugins = load(
        a=holder(admit_call=lower),
        b=holder(admit_call=lambda admission: None),
        c=holder(admit_call=lambda admission: msgspec.structs.replace(admission, max_output=admission.max_output // 2)),
    )
    assert (await plugins.chain("admit_call", ADMISSION)).max_output == 50


async def test_a_refusal_stops_the_chain_and_is_no_fault() -> None:
    asked = []
    refusal = Refusal("empty", "Nothing is left.", "Come back tomorrow.")
    plugins = load(
        a=holder(admit_call=lambda admission: refusal),
        b=holder(admit_call=lambda admission: asked.append("b")),
    )
    for _ in range(10):
        assert await plugins.chain("admit_call", ADMISSION) == refusal
    assert asked == []
    assert states(plugins) == {"a": "on", "b": "on"}


async def test_notify_tells_everybody_and_says_who_took_it() -> None:
    told = []

    def fails(delivery: Any) -> None:
        raise OSError("no")

    plugins = load(
        a=holder(handle_event=fails),
        b=holder(handle_event=lambda delivery: told.append(delivery)),
        c=holder(handle_event=lambda delivery: told.append("c")),
    )
    assert await plugins.deliver(DELIVERY, skip=["c"]) == {"a": False, "b": True}
    assert told == [DELIVERY]


async def test_who_names_events_hears_of_no_others() -> None:
    class Ledger:
        told: list[Any] = []

        @hookimpl(events=(CallEnded, TurnEnded))
        async def handle_event(self, delivery: Delivery) -> None:
            self.told.append(delivery)

    plugins = load(a=Ledger(), b=holder(nav_items=lambda actor: []))
    assert [plugins.wants(name) for name in ("turn.ended", "call.ended", "account.created")] == [True, True, False]
    assert await plugins.deliver(DELIVERY) == {}
    ended = Delivery(2, CallEnded("c1", "a1", "chat", "web", "small", "", "done", Usage()), 1)
    assert await plugins.deliver(ended) == {"a": True}
    assert Ledger.told == [ended]
    all_ears = load(a=Ledger(), b=holder(handle_event=lambda delivery: None))
    assert all_ears.wants("account.created")
    with pytest.raises(SetupError, match="names events at nav_items"):
        load(a=SimpleNamespace(nav_items=hookimpl(events=(CallEnded,))(lambda actor: [])))


async def test_a_hook_nobody_implements_costs_next_to_nothing() -> None:
    plugins = load()
    assert not plugins.has("prepare_prompt")
    assert await plugins.chain("prepare_prompt", PROMPT) is PROMPT
    assert await plugins.gather("nav_items", actor=ACTOR) == []
    started = time.process_time()
    for _ in range(10_000):
        await plugins.chain("prepare_prompt", PROMPT)
    assert time.process_time() - started < 1


async def test_rank_channels_is_given_its_use() -> None:
    candidates = tuple(Candidate(Channel(name, "p"), "small", MODEL) for name in "ab")
    use = ModelUse(ACCOUNT, "small", "web", "chat", "c1")
    plugins = load(a=holder(rank_channels=lambda candidates, use: candidates[::-1] if use.kind == "chat" else None))
    ranked = await plugins.chain("rank_channels", candidates, use=use)
    assert [one.channel.name for one in ranked] == ["b", "a"]


# --- misbehaving ----------------------------------------------------------------------------------------------------


async def test_a_failure_harms_its_own_request_only() -> None:
    def fails(context: SlotContext) -> str:
        raise ZeroDivisionError

    plugins = load(a=holder(render_slot=fails), b=holder(render_slot=lambda context: "fine"))
    assert await plugins.gather("render_slot", context=SLOT) == ["fine"]


async def test_a_failing_chain_fails_the_request_by_name() -> None:
    def fails(prompt: Prompt) -> Prompt:
        raise ZeroDivisionError

    with pytest.raises(PluginFault, match="The plugin a failed"):
        await load(a=holder(prepare_prompt=fails)).chain("prepare_prompt", PROMPT)


async def test_a_guard_that_fails_means_no_also_when_its_plugin_is_set_aside() -> None:
    def fails(actor: Actor, permission: str) -> bool:
        raise ZeroDivisionError

    plugins = load(a=holder(permission_allowed=fails, nav_items=lambda actor: [NavItem("a", "/")]))
    for _ in range(7):
        with pytest.raises(PluginFault):
            await plugins.gather("permission_allowed", actor=ACTOR, permission="chat.use")
    assert states(plugins) == {"a": "set aside"}
    assert await plugins.gather("nav_items", actor=ACTOR) == []


async def test_an_upstream_failure_is_raised_as_it_is_and_is_no_fault() -> None:
    def fails(prompt: Prompt) -> Prompt:
        raise UpstreamError("down", kind="connect", retryable=True)

    plugins = load(a=holder(prepare_prompt=fails))
    for _ in range(10):
        with pytest.raises(UpstreamError):
            await plugins.chain("prepare_prompt", PROMPT)
    assert states(plugins) == {"a": "on"}


@pytest.mark.parametrize("kind", [StorageFull, Unavailable])
async def test_a_full_disk_and_a_database_that_is_away_set_no_plugin_aside(kind: type[ChatserverError]) -> None:
    def fails(**_: Any) -> Any:
        raise kind("Not now.")

    plugins = load(
        a=holder(
            prepare_prompt=lambda prompt: fails(),
            nav_items=lambda actor: fails(),
            handle_event=lambda delivery: fails(),
        )
    )
    for _ in range(10):
        with pytest.raises(kind):
            await plugins.chain("prepare_prompt", PROMPT)
        assert await plugins.gather("nav_items", actor=ACTOR) == []
        assert await plugins.deliver(DELIVERY) == {"a": False}
        plugins.report_fault("a", "/x/a/things", kind("Not now."))
    assert states(plugins) == {"a": "on"}


def quick(timeout_s: float = 0.05) -> type:
    class QuickSpecs:
        @hookspec("chain", timeout_s=timeout_s)
        def hurry(self, text: str) -> str | None:
            """Answer at once."""

    return QuickSpecs


async def test_a_coroutine_that_hangs_is_cancelled_after_its_time() -> None:
    cancelled = asyncio.Event()

    async def hangs(text: str) -> str:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return text

    specs = quick()
    plugins = load(a=holder(hurry=hangs), w=holder(register_hookspecs=lambda: [specs]))
    with pytest.raises(PluginFault):
        await plugins.chain("hurry", "x")
    await asyncio.wait_for(cancelled.wait(), 5)


async def test_a_coroutine_that_refuses_to_be_cancelled_does_not_hold_the_request() -> None:
    release = asyncio.Event()

    async def stubborn(text: str) -> str:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        return text

    specs = quick()
    plugins = load(a=holder(hurry=stubborn), w=holder(register_hookspecs=lambda: [specs]))
    try:
        with pytest.raises(PluginFault):
            await asyncio.wait_for(plugins.chain("hurry", "x"), 5)
    finally:
        release.set()


async def test_a_plain_function_that_hangs_is_left_behind_and_others_go_on() -> None:
    release = threading.Event()
    specs = quick()
    plugins = load(
        a=holder(hurry=lambda text: release.wait(30) and None),
        b=holder(nav_items=lambda actor: [NavItem("b", "/")]),
        w=holder(register_hookspecs=lambda: [specs]),
    )
    try:
        with pytest.raises(PluginFault):
            await plugins.chain("hurry", "x")
        assert len(await plugins.gather("nav_items", actor=ACTOR)) == 1
    finally:
        release.set()


async def test_leaving_the_program_is_one_more_fault() -> None:
    async def leave(actor: Actor) -> list[NavItem]:
        sys.exit(3)

    plugins = load(a=holder(nav_items=leave), b=holder(nav_items=lambda actor: sys.exit(3)))
    for _ in range(5):
        assert await plugins.gather("nav_items", actor=ACTOR) == []
    assert states(plugins) == {"a": "set aside", "b": "set aside"}


async def test_plain_functions_run_beside_the_loop() -> None:
    threads = []
    plugins = load(a=holder(nav_items=lambda actor: threads.append(threading.current_thread()) or []))
    await plugins.gather("nav_items", actor=ACTOR)
    assert threads[0] is not threading.current_thread()
    assert threads[0].daemon


@pytest.mark.parametrize(
    "rubbish", [42, "words", [NavItem("a", "/"), None], [NavItem(1, "/")], NavItem("a", "/"), {"label": "a"}]
)
async def test_rubbish_is_a_fault_of_who_answered_it(rubbish: Any) -> None:
    plugins = load(a=holder(nav_items=lambda actor: rubbish))
    for _ in range(5):
        assert await plugins.gather("nav_items", actor=ACTOR) == []
    assert states(plugins) == {"a": "set aside"}


@pytest.mark.parametrize(
    "rubbish",
    [
        "hello",
        msgspec.structs.replace(PROMPT, messages=[PromptMessage("user", ())]),
        msgspec.structs.replace(PROMPT, messages=(*PROMPT.messages, PromptMessage("robot", ()))),
        msgspec.structs.replace(PROMPT, messages=(*PROMPT.messages, PromptMessage("user", ("text",)))),
        msgspec.structs.replace(PROMPT, model="small"),
        msgspec.structs.replace(PROMPT, labels={"a": 1}),
    ],
)
async def test_a_prompt_with_rubbish_inside_is_a_fault(rubbish: Any) -> None:
    with pytest.raises(PluginFault):
        await load(a=holder(prepare_prompt=lambda prompt: rubbish)).chain("prepare_prompt", PROMPT)


async def test_a_prompt_that_was_added_to_is_taken() -> None:
    added = msgspec.structs.replace(
        PROMPT, messages=(PromptMessage("system", (TextPart("Be brief."),)), *PROMPT.messages)
    )
    assert await load(a=holder(prepare_prompt=lambda prompt: added)).chain("prepare_prompt", PROMPT) == added


async def test_five_faults_within_a_minute_set_a_plugin_aside_with_a_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(clock, "monotonic_s", lambda: now[0])
    plugins = load(a=holder(nav_items=lambda actor: 1 / 0, render_slot=lambda context: "a"))

    async def fail(times: int) -> None:
        for _ in range(times):
            await plugins.gather("nav_items", actor=ACTOR)
            now[0] += 1

    await fail(4)
    now[0] += 60
    await fail(4)
    assert states(plugins) == {"a": "on"}
    await fail(1)
    assert states(plugins) == {"a": "set aside"}
    assert not plugins.has("render_slot")
    (notice,) = plugins.notices
    assert "The plugin a was set aside after five failures within a minute, last in nav_items" in notice.sentence
    plugins.switch("a", True)
    assert await plugins.gather("render_slot", context=SLOT) == ["a"]


async def test_sign_in_and_providers_are_reported_and_never_set_aside() -> None:
    plugins = load(a=holder(register_auth_backends=lambda: [], nav_items=lambda actor: 1 / 0))
    for _ in range(5):
        await plugins.gather("nav_items", actor=ACTOR)
    assert states(plugins) == {"a": "on"}
    assert "failed five times" in plugins.notices[0].sentence


async def test_events_of_a_plugin_set_aside_wait_for_it() -> None:
    plugins = load(a=holder(handle_event=lambda delivery: 1 / 0), b=holder(handle_event=lambda delivery: None))
    for _ in range(6):
        assert await plugins.deliver(DELIVERY) == {"a": False, "b": True}
    assert states(plugins) == {"a": "set aside", "b": "on"}


async def test_switching_off_silences_at_once_and_on_speaks_again() -> None:
    plugins = load(a=holder(nav_items=lambda actor: [NavItem("a", "/")], register_routes=lambda: []))
    plugins.switch("a", False)
    assert not plugins.is_on("a")
    assert not plugins.has("nav_items")
    plugins.switch("a", True)
    assert len(await plugins.gather("nav_items", actor=ACTOR)) == 1
    with pytest.raises(NotFound):
        plugins.switch("nobody", False)


async def test_a_listener_that_goes_away_takes_its_question_along() -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def waits(prompt: Prompt) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    task = asyncio.ensure_future(load(a=holder(prepare_prompt=waits)).chain("prepare_prompt", PROMPT))
    await begun.wait()
    task.cancel()
    await asyncio.wait_for(cancelled.wait(), 5)
    with pytest.raises(asyncio.CancelledError):
        await task


# --- life -----------------------------------------------------------------------------------------------------------


async def test_startup_hands_each_plugin_its_own_context() -> None:
    contexts: dict[str, Any] = {}
    settings = [
        Setting("city", "Where", default="Rome"),
        Setting("key", "Key", "secret"),
        Setting("days", "n", "number"),
    ]
    plugins = Plugins.load(
        found=(),
        extra=[
            ("weather", holder(startup=lambda ctx: contexts.update(weather=ctx), register_settings=lambda: settings)),
            ("other", holder(startup=lambda ctx: contexts.update(other=ctx))),
        ],
        settings_values={"weather": {"key": "s3cret", "days": "3"}},
    )
    await plugins.start()
    weather = contexts["weather"]
    assert weather.settings == {"city": "Rome", "days": 3}
    assert weather.secret("key") == "s3cret"
    assert "s3cret" not in repr(weather) + str(weather.settings)
    with pytest.raises(SetupError, match="does not declare"):
        contexts["other"].secret("key")
    assert isinstance(weather, chatserver.Context)
    await plugins.stop()


@pytest.mark.parametrize(("kind", "text"), [("number", "three"), ("boolean", "maybe"), ("colour", "red")])
def test_a_setting_that_does_not_fit_names_itself(kind: str, text: str) -> None:
    with pytest.raises(SetupError, match="weather"):
        Plugins.load(
            found=(),
            extra=[("weather", holder(register_settings=lambda: [Setting("x", "", kind)]))],
            settings_values={"weather": {"x": text}},
        )


async def test_a_startup_that_fails_stops_the_start_by_name() -> None:
    plugins = load(weather=holder(startup=lambda ctx: 1 / 0))
    with pytest.raises(SetupError, match="The plugin weather could not start: ZeroDivisionError"):
        await plugins.start()
    await plugins.stop()


async def test_shutdown_is_told_in_reverse_and_failures_are_survived() -> None:
    told: list[str] = []

    def end(name: str) -> Callable[[], None]:
        return lambda: told.append(name)

    plugins = load(a=holder(shutdown=end("a")), b=holder(shutdown=lambda: 1 / 0), c=holder(shutdown=end("c")))
    await plugins.start()
    await plugins.stop()
    assert told == ["c", "a"]


# --- the watchdog ---------------------------------------------------------------------------------------------------


async def test_the_watchdog_names_who_blocks_the_loop() -> None:
    reports: list[tuple[float, str, str]] = []
    seen = threading.Event()

    def on_block(seconds: float, plugin: str, place: str) -> None:
        reports.append((seconds, plugin, place))
        seen.set()

    watchdog = Watchdog(on_block, lambda: {__name__: "sleeper"}, blocked_after_s=0.1)
    watchdog.start()
    await asyncio.get_running_loop().run_in_executor(None, lambda: None)
    block_until(seen)
    watchdog.stop()
    (report,) = reports
    assert report[0] >= 0.1
    assert report[1] == "sleeper"
    assert "in block_until" in report[2]


def block_until(seen: threading.Event) -> None:
    assert seen.wait(10)


async def test_a_plugin_that_blocks_is_counted_as_at_fault() -> None:
    plugins = load(a=holder(nav_items=lambda actor: []))
    await plugins.start()
    for _ in range(5):
        await asyncio.get_running_loop().run_in_executor(None, plugins.report_block, 1.5, "a", "here")
    await asyncio.get_running_loop().run_in_executor(None, lambda: None)
    assert states(plugins) == {"a": "set aside"}
    await plugins.stop()


def test_a_block_of_nobody_names_the_place() -> None:
    assert blame(sys._getframe(), {})[0] == ""
    assert "test_a_block_of_nobody" in blame(sys._getframe(), {})[1]
