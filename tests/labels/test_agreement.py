from __future__ import annotations

import math
from itertools import combinations

import pandas as pd
import pytest
from crew import crew
from crowdkit.metrics.data import alpha_krippendorff

from selective_autonomy.labels.agreement import agreement
from selective_autonomy.labels.reviews import Review, by_item


def test_alpha_is_crowd_kits() -> None:
    reviews = crew(1, items=60, operators=6).reviews
    frame = pd.DataFrame([(r.operator_id, r.item, r.says_wrong) for r in reviews], columns=["worker", "task", "label"])
    assert agreement(reviews, seed=0).alpha == pytest.approx(alpha_krippendorff(frame))


def test_the_share_of_pairs_that_agree_is_counted_pair_by_pair() -> None:
    reviews = crew(2, items=80, operators=5).reviews
    pairs = [(who, said[who[0]] == said[who[1]]) for said in by_item(reviews).values() for who in combinations(said, 2)]
    got = agreement(reviews, seed=0)
    assert got.pairs_agree.value == pytest.approx(sum(same for _, same in pairs) / len(pairs))
    mine = [same for who, same in pairs if "op-3" in who]
    assert got.by_operator["op-3"].value == pytest.approx(sum(mine) / len(mine))
    assert got.pairs_agree.low < got.pairs_agree.value < got.pairs_agree.high


def test_an_item_with_one_verdict_takes_no_part() -> None:
    shared = [Review("a", "x", True), Review("a", "y", False), Review("b", "x", True), Review("b", "y", True)]
    got = agreement([*shared, Review("c", "x", False)], seed=0)
    assert got == agreement(shared, seed=0)
    assert got.items == 2


def test_equal_verdicts_agree_wholly_and_leave_alpha_open() -> None:
    got = agreement([Review(item, who, True) for item in "abc" for who in "xy"], seed=0)
    assert got.pairs_agree.value == 1.0
    assert got.pairs_agree.low < 1.0
    assert math.isnan(got.alpha)


def test_nothing_shared_says_nothing() -> None:
    got = agreement([Review("a", "x", True)], seed=0)
    assert got.items == 0
    assert math.isnan(got.pairs_agree.value)
    assert got.by_operator == {}
