"""Two rankings into one: how much of a question's words a passage has, and how near it is in meaning."""

from __future__ import annotations

from collections.abc import Sequence

from chatserver_knowledge.index import Found, Ranking

WORDS_WEIGH = 0.5
"""The rest is the meaning's."""


def fuse(rankings: Sequence[Ranking]) -> list[tuple[Found, float]]:
    """Best first, with a score from 0 to 1, over all collections alike.

    A sum of shares, not of ranks: a question in other words than the passage's has hardly any of its words anywhere,
    and then words hardly count (Bruch, Gai, Ingber: An Analysis of Fusion Functions for Hybrid Retrieval, 2023). The
    cosines of a model lie close together, so their share is counted from what a passage at random has.
    """
    rows = sum(one.rows for one in rankings)
    if not rows:
        return []
    floor = sum(one.mean * one.rows for one in rankings) / rows
    top = max((one.meaning for ranking in rankings for one in ranking.found), default=0.0)
    has_meaning = top > floor
    weight = WORDS_WEIGH if has_meaning else 1.0

    def score(one: Found) -> float:
        near = max(0.0, (one.meaning - floor) / (top - floor)) if has_meaning else 0.0
        return weight * one.words + (1 - weight) * near

    found = [(one, score(one)) for ranking in rankings for one in ranking.found]
    return sorted(found, key=lambda one: (-one[1], -one[0].meaning, one[0].file, one[0].place))
