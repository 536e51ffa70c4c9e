"""Search finds one's own words in every script, the newest first, and can be asked anything."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatserver.domain.conversations import Hit
from chatserver.domain.filing import SearchFilter
from chatserver.domain.messages import TextPart, encode_parts
from chatserver.store import passages, search
from chatserver.store.database import Database, Tx
from chatserver.store.words import fold, words_of

Say = Callable[..., Awaitable[None]]
Find = Callable[..., Awaitable[list[Hit]]]


@pytest.mark.parametrize(
    ("text", "needle", "shown"),
    [
        ("…across the river to…", "river", ["river"]),
        ("½ a River, a rivér, a driver", "river", ["River", "rivér"]),
        ("Straße and strasse", "strasse", ["Straße", "strasse"]),
        ("ﬁnd it … and find it", "find", ["ﬁnd", "find"]),
        ("…预设市场", "市场", ["市场"]),
        ("nothing", "river", []),
    ],
)
def test_marks_stand_at_their_words_also_where_folding_changes_the_length(
    text: str, needle: str, shown: list[str]
) -> None:
    assert [text[start:end] for start, end in passages.marks_in(text, [needle])] == shown


def test_a_passage_of_a_table_shows_its_cells_without_the_rule_below_its_head() -> None:
    table = "| River | Length |\n| --- | :---: |\n| Nile | 6,650 km |"
    assert passages.passage(table, ["nile"]) == "| River | Length | Nile | 6,650 km |"
    assert passages.passage("a || b --- c", ["a"]) == "a || b --- c"


def add_conversation(tx: Tx, owner_id: str, title: str = "") -> str:
    conversation_id = f"c-{owner_id}"
    tx.run(
        "INSERT INTO accounts (id, email, name, role, state, groups, settings, created_at)"
        " VALUES (:id, :id, '', 'member', 'active', '[]', '{}', 0) ON CONFLICT (id) DO NOTHING",
        id=owner_id,
    )
    tx.run(
        "INSERT INTO conversations (id, owner_id, title, title_source, model, pinned, archived, branches, created_at,"
        " updated_at) VALUES (:id, :owner_id, :title, 'none', 'm', 0, 0, 0, 0, 7) ON CONFLICT (id) DO NOTHING",
        id=conversation_id,
        owner_id=owner_id,
        title=title,
    )
    return conversation_id


def add_message(tx: Tx, owner_id: str, message_id: str, text: str) -> None:
    conversation_id = add_conversation(tx, owner_id)
    tx.run(
        "INSERT INTO messages (id, conversation_id, role, state, parts, model, continues, created_at)"
        " VALUES (:id, :conversation_id, 'user', 'done', :parts, 'm', 0, 5) ON CONFLICT (id) DO NOTHING",
        id=message_id,
        conversation_id=conversation_id,
        parts=encode_parts((TextPart(text),)).decode(),
    )
    search.index_message(tx, owner_id=owner_id, conversation_id=conversation_id, message_id=message_id, text=text)


@pytest.fixture
def say(db: Database) -> Say:
    async def say(message_id: str, text: str, owner: str = "ada") -> None:
        await db.write(lambda tx: add_message(tx, owner, message_id, text))

    return say


@pytest.fixture
def find(db: Database) -> Find:
    async def find(query: str, owner: str = "ada", limit: int = 50) -> list[str]:
        hits = await db.read(lambda tx: search.find(tx, owner_id=owner, query=query, limit=limit))
        return [hit.message_id for hit in hits]

    return find


async def test_every_word_must_stand_there_and_the_last_may_be_begun_only(say: Say, find: Find) -> None:
    await say("m1", "The quick brown fox")
    await say("m2", "A brownish bear, quick!")
    assert await find("quick") == ["m2", "m1"]
    assert await find("QUICK Brown") == ["m2", "m1"]
    assert await find("brown quick") == ["m1"]
    assert await find("quick fox") == ["m1"]
    assert await find("quick cat") == []
    assert await find("b") == ["m2", "m1"]


async def test_the_newest_come_first_and_no_more_than_asked(say: Say, find: Find) -> None:
    for number in range(12):
        await say(f"m{number:02d}", f"apple number {number}")
    assert await find("apple", limit=3) == ["m11", "m10", "m09"]


async def test_a_word_of_every_message_is_paged_through_and_narrowed(db: Database, say: Say) -> None:
    """Of a frequent word only the newest entries are looked at first; what a filter leaves may stand behind them."""
    for number in range(30):
        await say(f"m{number:02d}", f"apple number {number}")

    def narrow(tx: Tx) -> None:
        for number in range(0, 30, 7):
            tx.run("UPDATE messages SET model = 'other' WHERE id = :id", id=f"m{number:02d}")

    await db.write(narrow)

    def pages(tx: Tx, wanted: SearchFilter) -> list[str]:
        found: list[str] = []
        before = 0
        while hits := search.find(tx, owner_id="ada", query="apple", limit=2, wanted=wanted, before=before):
            found += [hit.message_id for hit in hits]
            before = hits[-1].cursor
        return found

    everything = await db.read(lambda tx: pages(tx, SearchFilter()))
    assert everything == [f"m{number:02d}" for number in reversed(range(30))]
    others = await db.read(lambda tx: pages(tx, SearchFilter(model="other")))
    assert others == ["m28", "m21", "m14", "m07", "m00"]


async def test_nobody_finds_what_is_anothers(db: Database, say: Say, find: Find) -> None:
    await say("m1", "the secret garden", owner="ada")
    await say("m2", "the secret cellar", owner="bob")
    assert await find("secret", owner="ada") == ["m1"]
    assert await find("secret", owner="bob") == ["m2"]
    assert await find("garden", owner="bob") == []
    assert await find(search._owner("ada") + "secret", owner="bob") == []


async def test_two_owners_with_the_same_four_letters_stay_apart(
    say: Say, find: Find, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "_owner", lambda owner_id: "aaaa")
    await say("m1", "the secret garden", owner="ada")
    assert await find("garden", owner="ada") == ["m1"]
    assert await find("garden", owner="bob") == []


@pytest.mark.parametrize(
    ("text", "queries"),
    [
        ("今天天气很好，我们去公园散步吧", ["天气", "公园散步", "好", "吧", "今", "我们去公园", "天气 公园"]),
        ("日本語の文章を検索する", ["日本語", "検索", "検", "る", "文章を検索"]),
        ("ｶﾀｶﾅとＡＢＣ", ["カタカナ", "abc", "ＡＢＣ", "ｶﾀ"]),
        ("안녕하세요 세계", ["안녕", "안녕하세요", "세계", "하세요"]),
        ("iPhone手机很贵", ["iphone", "手机", "iPhone手机", "贵"]),
        ("ภาษาไทยไม่มีช่องว่าง", ["ไทย", "ช่องว่าง"]),
        ("हिन्दी में लिखा", ["हिन्दी", "लिखा", "में"]),
        ("Crème brûlée, ÜBER Straße İstanbul", ["creme", "brulee", "über", "uber", "strasse", "istanbul", "Brûl"]),
        ("Ёлка и Москва", ["елка", "МОСКВА", "моск"]),
        ("שלום עולם", ["שלום", "עול"]),
        ("call snake_case_name(x) at 3.14 in C++", ["snake_case", "case", "name(x)", "3.14", "c++"]),
        ("e\u0301cole", ["école", "ecole"]),
        ("𠮷野家で食べる", ["𠮷野", "𠮷", "野家"]),
    ],
)
async def test_words_of_many_scripts_are_found(say: Say, find: Find, text: str, queries: list[str]) -> None:
    await say("m1", text)
    assert {query: await find(query) for query in queries} == {query: ["m1"] for query in queries}


async def test_pairs_that_do_not_stand_there_are_not_found(say: Say, find: Find) -> None:
    await say("m1", "今天天气很好")
    assert await find("天好") == []
    assert await find("气天") == []


@pytest.mark.parametrize(
    "query",
    ["", " ", "🎉", '"', "'", "AND", "a AND", "NOT x", "NEAR(a b)", "x*", "^x", "words:x", "-x", "{a}", "(", "%",
     "\x00", "\ud800", "a" * 10_000, "字" * 10_000, "a " * 10_000, "!?,.;:", '"' * 10_000, "' OR 1=1 --", "\u0301",
     "\ufe0f"],
)  # fmt: skip
async def test_no_query_is_a_mistake(say: Say, find: Find, query: str) -> None:
    await say("m1", "Some plain words")
    assert await find(query) == []


async def test_words_that_look_like_operators_are_words(say: Say, find: Find) -> None:
    await say("m1", "this AND that OR not near")
    assert await find("AND that") == ["m1"]
    assert await find("NEAR") == ["m1"]
    assert await find('"this" -that (or)*') == ["m1"]


async def test_anything_said_or_asked_raises_nothing(db: Database) -> None:
    anything = st.text(max_size=80) | st.text(alphabet="ab\"'*()^:-{} 天气ｶが\u0301\ud800\x00🎉", max_size=30)

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(text=anything, query=anything)
    def ask(text: str, query: str) -> None:
        text = text.encode("utf-8", "replace").decode()

        def look(tx: Tx) -> None:
            tx.run("DELETE FROM messages WHERE id = 'm1'")
            add_message(tx, "ada", "m1", text)
            for hit in search.find(tx, owner_id="ada", query=query):
                assert len(hit.text) <= passages.MAX_PASSAGE
            for part in (text, text[: len(text) // 2]):
                words = words_of(part)
                if words and part == text and len(words) <= search.MAX_QUERY_WORDS:
                    assert [hit.message_id for hit in search.find(tx, owner_id="ada", query=part)] == ["m1"]

        asyncio.run_coroutine_threadsafe(db.write(look), loop).result(20)

    loop = asyncio.get_running_loop()
    await asyncio.to_thread(ask)


async def test_a_forgotten_message_is_gone_at_once_and_leaves_no_word(db: Database, say: Say, find: Find) -> None:
    await say("m1", "an apple")
    await say("m2", "an apple too")
    await db.write(lambda tx: search.forget_messages(tx, ["m1", "unknown"]))
    assert await find("apple") == ["m2"]
    await db.write(lambda tx: search.forget_conversation(tx, "c-ada"))
    assert await find("apple") == []
    assert await db.read(lambda tx: tx.one(int, "SELECT COUNT(*) FROM search_index")) == 0
    assert await db.read(lambda tx: tx.one(int, "SELECT COUNT(*) FROM search_entries")) == 0
    await say("m1", "an apple")
    assert await find("apple") == ["m1"]


@pytest.mark.parametrize("table", ["messages", "conversations"])
async def test_a_hidden_message_is_not_found_even_when_nobody_forgot_it(
    db: Database, say: Say, find: Find, table: str
) -> None:
    await say("m1", "an apple")
    await db.write(lambda tx: tx.run(f"UPDATE {table} SET deletion_id = 'd1'"))
    assert await find("apple") == []


async def test_indexing_again_replaces(db: Database, say: Say, find: Find) -> None:
    await say("m1", "an apple")
    await say("m1", "a pear")
    assert await find("apple") == []
    assert await find("pear") == ["m1"]
    await say("m1", "!!!")
    assert await find("pear") == []


async def test_titles_are_found_and_follow_a_rename(db: Database) -> None:
    def rename(tx: Tx, title: str) -> None:
        add_conversation(tx, "ada")
        tx.run("UPDATE conversations SET title = :title", title=title)
        search.index_title(tx, owner_id="ada", conversation_id="c-ada", title=title)

    await db.write(lambda tx: rename(tx, "Holiday plans"))
    await db.write(lambda tx: rename(tx, "Garden plans"))

    def look(tx: Tx) -> tuple[list[Hit], list[Hit]]:
        return search.find(tx, owner_id="ada", query="holiday"), search.find(tx, owner_id="ada", query="plans")

    assert await db.read(look) == ([], [Hit("c-ada", "", "Garden plans", "Garden plans", 7, ((7, 12),), 2)])


async def test_passages_show_the_hit(db: Database, say: Say) -> None:
    filler = "lorem ipsum dolor " * 400
    await say("m1", f"{filler}the Nightingale sang\n\n{filler}")
    await say("m2", f"{'说了很多话' * 200}夜莺在唱歌{'又说了很多' * 200}")

    async def passage_for(query: str) -> str:
        hits = await db.read(lambda tx: search.find(tx, owner_id="ada", query=query))
        assert len(hits) == 1
        return hits[0].text

    latin = await passage_for("lorem nighting")
    assert "the Nightingale sang lorem" in latin
    assert latin.startswith("…") and latin.endswith("…") and "\n" not in latin
    assert 150 < len(latin) <= 240
    wide = await passage_for("夜莺在唱")
    assert "夜莺在唱歌" in wide and len(wide) <= 240


def test_a_short_text_is_its_own_passage() -> None:
    assert passages.passage("Hello  there,\nfriend", ["friend"]) == "Hello there, friend"
    assert passages.passage("", ["x"]) == ""
    assert passages.passage("Hello", []) == "Hello"


@given(st.text(max_size=1000), st.text(min_size=1, max_size=5))
def test_a_passage_is_never_too_long(text: str, needle: str) -> None:
    assert len(passages.passage(text, [fold(needle)])) <= passages.MAX_PASSAGE


@pytest.mark.parametrize("engine", ["sqlite"])
async def test_words_in_a_busy_index_stay_quick(db: Database) -> None:
    """A short form of the million: 100 owners with the same words, and FTS5 is asked for one of them."""

    def fill(tx: Tx) -> None:
        for number in range(4_000):
            add_message(tx, f"owner{number % 100}", f"m{number:05d}", f"common words all over {number}")

    await db.write(fill)
    steps = 0

    def count_steps() -> int:
        nonlocal steps
        steps += 1
        return 0

    def look(tx: Tx) -> int:
        tx._connection.set_progress_handler(count_steps, 100)  # type: ignore[attr-defined]
        try:
            return len(search.find(tx, owner_id="owner7", query="common words ov", limit=20))
        finally:
            tx._connection.set_progress_handler(None, 0)  # type: ignore[attr-defined]

    assert await db.read(look) == 20
    assert steps < 100
