"""Promises about what is true, from verdicts that are not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selective_autonomy.certify.certify import certify
from selective_autonomy.certify.label_noise import (
    Sensitivity,
    confirmed_wrong,
    for_truth,
    sensitivity_of,
    truly_wrong_share,
)
from selective_autonomy.errors import CertificateError
from selective_autonomy.params import CertificateParams

PROMISE = CertificateParams(alpha=0.10, alpha_session=0.25, delta=0.10, cuts=20)
NONE = {"process_id": "", "loss": "", "splits": {}, "policy_digest": "", "critic_digest": ""}


@given(planted=st.integers(1, 500), share=st.floats(0, 1))
def test_what_probes_show_is_never_more_than_what_was_caught(planted: int, share: float) -> None:
    probes = Sensitivity(planted=planted, caught=int(share * planted))
    assert 0 <= probes.lower(0.05) <= probes.caught / planted
    assert probes.lower(0.01) <= probes.lower(0.1)


def test_the_lower_limit_of_the_sensitivity_holds_in_all_but_delta_of_draws() -> None:
    rng, above = np.random.default_rng(0), 0
    for caught in rng.binomial(80, 0.8, size=1000):
        above += Sensitivity(planted=80, caught=int(caught)).lower(0.05) > 0.8
    assert above / 1000 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 1000)


def test_the_kind_that_is_overlooked_sets_the_price_and_pays_for_having_been_chosen() -> None:
    caught = [True] * 90 + [False] * 10 + [True] * 40 + [False] * 60
    found = sensitivity_of(["submit_form"] * 100 + ["send_reply"] * 100, caught)
    assert (found.kind, found.planted, found.caught, found.kinds) == ("send_reply", 100, 40, 2)
    assert found.lower(0.02) == Sensitivity(planted=100, caught=40).lower(0.01)


def test_kinds_that_are_caught_alike_are_taken_together_in_all_but_few_draws() -> None:
    rng = np.random.default_rng(1)
    kinds = ["a"] * 150 + ["b"] * 100 + ["c"] * 50
    told = [sensitivity_of(kinds, rng.random(300) < 0.85).kind for _ in range(400)]
    assert sum(kind is not None for kind in told) / 400 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 400)
    assert sensitivity_of([], []) == Sensitivity(planted=0, caught=0)


def test_every_probe_has_a_kind() -> None:
    with pytest.raises(CertificateError, match="1 kinds of 2 probes"):
        sensitivity_of(["a"], [1, 0])


def test_more_cannot_be_caught_than_was_planted() -> None:
    with pytest.raises(ValueError, match="3 caught of 2"):
        Sensitivity(planted=2, caught=3)


@pytest.mark.parametrize("probes", [Sensitivity(planted=0, caught=0), Sensitivity(planted=40, caught=0)])
def test_verdicts_that_catch_nothing_promise_nothing(probes: Sensitivity) -> None:
    with pytest.raises(CertificateError, match="plant more probes"):
        for_truth(PROMISE, probes)


def test_less_is_asked_of_confirmed_errors_than_was_promised_of_true_ones() -> None:
    asked = for_truth(PROMISE, Sensitivity(planted=200, caught=170))
    assert asked.alpha < 0.85 * PROMISE.alpha
    assert asked.alpha_session is not None
    assert asked.alpha_session < 0.85 * 0.25
    assert asked.delta < PROMISE.delta
    assert for_truth(PROMISE.model_copy(update={"alpha_session": None}), Sensitivity(planted=9, caught=9)).alpha < 0.1


def test_a_rejection_counts_only_if_it_is_confirmed() -> None:
    assert confirmed_wrong([1, 1, 0, 0], [1, 0, np.nan, 1]).tolist() == [True, False, False, False]


def test_a_rejection_that_nobody_looked_at_is_an_error() -> None:
    with pytest.raises(CertificateError, match="1 of 2 rejected steps were not adjudicated"):
        confirmed_wrong([1, 1, 0], [1, np.nan, np.nan])
    with pytest.raises(CertificateError, match="equally long"):
        confirmed_wrong([1, 2], [1.0, 1.0])


def test_the_truth_keeps_its_promise_where_raw_verdicts_break_it_or_execute_nothing() -> None:
    """250 sessions of 6 steps a draw, 20 % of verdicts on wrong steps overlooked and 15 % of right ones rejected."""
    rng, draws = np.random.default_rng(1), 60
    broken_step = broken_session = 0
    coverage, coverage_raw, broken_blind = 0.0, 0.0, 0
    for _ in range(draws):
        scores = rng.beta(6, 1.2, size=(250, 6))
        wrong = rng.random((250, 6)) < (1 - scores) * 0.9
        rejected = np.where(wrong, rng.random((250, 6)) < 0.8, rng.random((250, 6)) < 0.15)
        sessions = [str(s) for s in range(250) for _ in range(6)]
        probes = Sensitivity(planted=300, caught=int(rng.binomial(300, 0.8)))
        confirmed = confirmed_wrong(rejected.ravel(), wrong.ravel())
        issued = certify(scores.ravel(), confirmed, sessions, for_truth(PROMISE, probes), **NONE)
        raw = certify(scores.ravel(), rejected.ravel(), sessions, PROMISE, **NONE)
        blind = certify(scores.ravel(), confirmed, sessions, PROMISE, **NONE)  # as if nothing were overlooked
        fresh = rng.beta(6, 1.2, size=(20_000, 6))
        p_wrong = (1 - fresh) * 0.9
        if issued.threshold is not None:
            executed = fresh >= issued.threshold
            coverage += executed.mean() / draws
            broken_step += (p_wrong * executed).sum() / executed.sum() > PROMISE.alpha
            lost = 1 - np.prod(1 - p_wrong * executed, axis=1)
            broken_session += lost.mean() > 0.25
        if raw.threshold is not None:
            coverage_raw += (fresh >= raw.threshold).mean() / draws
        if blind.threshold is not None:
            lost = 1 - np.prod(1 - p_wrong * (fresh >= blind.threshold), axis=1)
            broken_blind += lost.mean() > 0.25
    allowed = draws * PROMISE.delta + 2 * np.sqrt(draws * PROMISE.delta * 0.9)
    assert max(broken_step, broken_session) <= allowed
    assert broken_blind > allowed
    assert coverage > coverage_raw + 0.1


def test_a_few_adjudications_right_what_verdicts_say_on_average() -> None:
    """Verdicts call 25 % wrong where 8 % are; 300 of 4,000 steps are adjudicated."""
    rng, covered, wide_prediction, wide_plain = np.random.default_rng(2), 0, 0.0, 0.0
    for _ in range(300):
        difficulty = np.repeat(rng.beta(1, 10, size=500), 8)
        wrong = rng.random(4000) < difficulty
        rejected = np.where(wrong, rng.random(4000) < 0.85, rng.random(4000) < 0.18)
        propensity = np.full(4000, 0.15)
        drawn = np.where(rng.random(4000) < propensity, wrong.astype(float), np.nan)
        sessions = [str(n // 8) for n in range(4000)]
        found = truly_wrong_share(rejected, drawn, propensity, sessions)
        plain = truly_wrong_share(np.zeros(4000), drawn, propensity, sessions)
        covered += found.low <= 1 / 11 <= found.high
        wide_prediction += found.high - found.low
        wide_plain += plain.high - plain.low
    assert covered / 300 >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / 300)
    assert wide_prediction < 0.95 * wide_plain


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"propensity_N": [0.0, 1.0]}, "propensity"),
        ({"propensity_N": [np.nan, 1.0]}, "propensity"),
        ({"truly_wrong_N": [np.nan, np.nan]}, "adjudicated"),
        ({"session_of_N": ["a", "a"]}, "sessions"),
        ({"rejected_N": [1.0]}, "equally long"),
    ],
)
def test_a_share_of_bad_evidence_is_an_error(change: dict[str, object], says: str) -> None:
    sound = {"rejected_N": [1, 0], "truly_wrong_N": [1, np.nan], "propensity_N": [1, 0.5], "session_of_N": ["a", "b"]}
    with pytest.raises(CertificateError, match=says):
        truly_wrong_share(**(sound | change))
