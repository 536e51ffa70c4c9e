"""What is counted, from a question at the door to the rows in the database, on both engines."""

from __future__ import annotations

from chatserver_gateway import Gateway
from chatserver_gateway.figures import BINS, BOUNDS_MS, Cell, Figures, LastError, bin_of, percentile_ms
from chatserver_gateway.shelf import DAY_US

from chatserver import AttemptEnd, AttemptStart, Usage, clock
from chatserver.testing.server import Site
from chatserver.testing.upstream import FakeUpstream, Rule

from .conftest import MODEL, ask, open_chat


def attempt(call: str, channel: str, outcome: str, number: int = 1, **fields: object) -> AttemptEnd:
    given: dict[str, object] = {"kind": "chat", "first_token_at": None, "ended_at": 90_000_000, **fields}
    return AttemptEnd(
        call_id=call,
        account_id="ann",
        origin="web",
        model="m",
        channel=channel,
        upstream_model="m",
        number=number,
        started_at=89_000_000,
        outcome=outcome,
        retryable=outcome != "done",
        **given,  # type: ignore[arg-type]
    )


def start_of(end: AttemptEnd) -> AttemptStart:
    return AttemptStart(**{name: getattr(end, name) for name in AttemptStart.__struct_fields__})


def test_percentiles_come_out_of_bins() -> None:
    times = [0] * BINS
    assert percentile_ms(times, 0.5) is None
    times[bin_of(90)] = 100
    assert percentile_ms(times, 0.5) == 50
    times[bin_of(BOUNDS_MS[-1] + 1)] = 100
    assert percentile_ms(times, 0.95) == BOUNDS_MS[-1]
    assert sum(times) == 200


def test_a_call_that_found_another_channel_is_no_failure_of_the_model() -> None:
    figures = Figures()
    failed, done = attempt("c1", "a", "server"), attempt("c1", "b", "done", 2, first_token_at=89_400_000)
    figures.ended(failed)
    figures.started(start_of(done))
    figures.ended(done)
    cells, errors = figures.take(10**12)
    assert cells[60_000_000, "m", ""].failed == 0
    assert cells[60_000_000, "m", "a"].failed == 1
    assert (cells[60_000_000, "m", "b"].fallbacks, sum(cells[60_000_000, "m", "b"].times)) == (1, 1)
    assert [error.channel for error in errors] == ["a"]


def test_a_call_that_nobody_answered_is_one() -> None:
    figures = Figures()
    figures.ended(attempt("c1", "a", "server"))
    assert (60_000_000, "m", "") not in figures.take(90_000_000)[0], "it may still be tried again"
    cells, _ = figures.take(10**12)
    assert (cells[60_000_000, "m", ""].asked, cells[60_000_000, "m", ""].failed) == (1, 1)


def test_who_asked_wrong_or_left_is_not_counted() -> None:
    figures = Figures()
    for outcome in ("bad_request", "content", "too_long", "cancelled"):
        figures.ended(attempt("c1", "a", outcome))
    assert figures.take(10**12) == ({}, [])


def test_what_could_not_be_written_is_kept() -> None:
    figures = Figures()
    figures.ended(attempt("c1", "a", "done", usage=Usage(output=1), kind="probe"))
    figures.give_back(*figures.take(0))
    figures.ended(attempt("c2", "a", "done"))
    cell = figures.take(0)[0][60_000_000, "m", "a"]
    assert (cell.asked, cell.probes, cell.tokens) == (2, 1, 1)


async def test_questions_are_shared_counted_and_never_fail(
    site: Site, gateway: Gateway, fake_upstream: FakeUpstream
) -> None:
    ann = await site.sign_up("ann@example.org")
    chat = await open_chat(ann)
    fake_upstream.rules = [Rule("sk-one", "*", "err500"), Rule("sk-two", "*", "err401")]
    assert [await ask(ann, chat) for _ in range(4)] == ["done"] * 4
    await gateway.listening.flush()
    await site.house.notices.of_plugin("gateway").settle()
    pairs = await gateway.shelf.pairs(clock.now_us() - DAY_US)
    assert pairs["fake", MODEL].asked == 4 + pairs["fake", MODEL].failed
    assert pairs["one", MODEL].failed == pairs["one", MODEL].asked > 0
    assert pairs["two", MODEL].failed == pairs["two", MODEL].asked == 1, "a refused key is not asked again"
    (whole,) = (await gateway.shelf.models("d", 0))[MODEL].values()
    assert (whole.asked, whole.failed, sum(whole.times)) == (4, 0, 4)
    assert (await gateway.shelf.errors())["one", MODEL].outcome == "server"
    assert await gateway.shelf.down_minutes(0) == []
    boss = await site.sign_up("boss@example.org", role="admin")
    assert boss.actor is not None
    assert [notice.key for notice in await site.house.notices.unread(boss.actor)] == ["key two"]
    assert (await gateway.shelf.uses(0))[0].wanted_at > 0


async def test_figures_add_up_and_old_ones_go(site: Site, gateway: Gateway) -> None:
    shelf, now = gateway.shelf, clock.now_us()
    minute, old = now - now % 60_000_000, now - 500 * DAY_US
    down, ok = Cell(asked=2, failed=2), Cell(asked=3, tokens=7)
    for _ in range(2):
        await shelf.add({(minute, "m", ""): down, (minute, "m", "a"): ok, (old, "m", ""): down}, [])
    assert [one.at for one in await shelf.down_minutes(now - DAY_US)] == [minute]
    assert (await shelf.pairs(now - DAY_US))["a", "m"].asked == 6
    assert await shelf.heartbeat_tokens(now - now % DAY_US) == 14
    await shelf.add({}, [LastError("m", "a", old, "server", "x")])
    await shelf.prune({})
    assert all(min(times) > old for times in (await shelf.models("d", 0)).values())
    assert await shelf.errors() == {}
