"""The forecast of time-to-autonomy, and the walk that checks it against what then happens."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from selective_autonomy.certify.certify import certify
from selective_autonomy.certify.forecast import LabelStream, back_test, forecast
from selective_autonomy.certify.slices import one_slice
from selective_autonomy.errors import CertificateError
from selective_autonomy.params import CertificateParams

START = datetime(2026, 1, 1, tzinfo=UTC)
PARAMS = CertificateParams(alpha=0.1, alpha_session=None, delta=0.05, cuts=10)


def stream(
    seed: int, *, days: int = 40, a_day: float = 4.0, ease: float = 1.4, error: float | None = None
) -> LabelStream:
    """Sessions that come at random times; a calibrated critic, or a constant error at any score."""
    rng = np.random.default_rng(seed)
    sessions = rng.poisson(days * a_day)
    at = np.sort(rng.uniform(0, days, sessions))
    session_N = np.repeat(np.arange(sessions), rng.integers(2, 8, sessions))
    p_N = 1 / (1 + np.exp(-(ease + 1.5 * rng.normal(size=session_N.size))))
    wrong_N = rng.random(p_N.size) > (p_N if error is None else 1 - error)
    return LabelStream(
        p_N,
        wrong_N,
        [f"s{s}" for s in session_N],
        {f"s{s}": START + timedelta(days=float(t)) for s, t in enumerate(at)},
        one_slice(PARAMS.alpha),
        PARAMS,
    )


def after(days: float) -> datetime:
    return START + timedelta(days=days)


def test_a_forecast_names_a_day_with_an_interval_from_the_past_alone() -> None:
    one = stream(2)
    made = forecast(one, after(4), seed=0)
    assert made.days is not None
    assert made.earliest is not None
    assert 0 < made.earliest <= made.days
    assert made.latest is None or made.days <= made.latest
    assert made.sessions_a_day == pytest.approx(4, abs=2.5)
    assert made.day() == after(4) + timedelta(days=made.days)
    past = [s for s in one.session_of_N if one.at_of[s] <= after(4)]
    keep_N = np.isin(one.session_of_N, past)
    only_past = replace(one, scores_N=one.scores_N[keep_N], wrong_N=one.wrong_N[keep_N], session_of_N=past)
    assert forecast(only_past, after(4), seed=0) == made
    assert forecast(one, after(4), seed=0) == made


def test_what_can_be_certified_now_is_forecast_for_now() -> None:
    made = forecast(stream(2), after(40), seed=0)
    assert (made.days, made.earliest, made.latest, made.labels) == (0, 0, 0, 0)


def test_the_day_is_the_one_on_which_certify_itself_says_yes() -> None:
    one = stream(3)
    tested = back_test(one, seed=0, every_days=5, futures=10)
    assert tested.certified_after is not None
    left = [tested.certified_after - 2 - 5 * i for i in range(len(tested.forecasts))]
    assert tested.days_ahead == pytest.approx(left)
    first, last = min(one.at_of.values()) + timedelta(2), min(one.at_of.values()) + timedelta(tested.certified_after)
    assert tested.labels_ahead[0] == sum(first < one.at_of[s] <= last for s in one.session_of_N)
    for days, certified in ((tested.certified_after, True), (tested.certified_after - 1, False)):
        known = [i for i, s in enumerate(one.session_of_N) if one.at_of[s] <= min(one.at_of.values()) + timedelta(days)]
        issued = certify(
            one.scores_N[known],
            one.wrong_N[known],
            [one.session_of_N[i] for i in known],
            PARAMS,
            process_id="",
            loss="",
            splits={},
            policy_digest="",
            critic_digest="",
        )
        assert (issued.threshold is not None) is certified


def test_no_number_of_labels_is_no_day() -> None:
    made = forecast(stream(4, days=15, error=0.4), after(15), seed=0, futures=10)
    assert (made.days, made.latest, made.labels) == (None, None, None)


def test_twice_the_rate_halves_the_days() -> None:
    """The same labels in the same order, in half the time."""
    slow = stream(2)
    quick = replace(slow, at_of={s: START + (at - START) / 2 for s, at in slow.at_of.items()})
    at_slow, at_quick = forecast(slow, after(4), seed=0), forecast(quick, after(2), seed=0)
    assert at_slow.days
    assert at_quick.days == pytest.approx(at_slow.days / 2, rel=0.25)  # the days tried are 15 % apart


def test_forecasts_are_borne_out_within_their_intervals_more_often_than_not() -> None:
    covered, error, actual = [], [], []
    for seed in range(6):
        tested = back_test(stream(20 + seed), seed=seed, every_days=3, futures=12)
        if tested.covered is not None and tested.mean_error_days is not None and tested.certified_after is not None:
            covered.append(tested.covered)
            error.append(tested.mean_error_days)
            actual.append(tested.certified_after)
    assert len(covered) >= 4
    assert np.mean(covered) >= 0.5
    assert np.mean(error) <= np.mean(actual)


def test_a_back_test_of_what_is_never_certified_says_so() -> None:
    tested = back_test(stream(6, days=6, error=0.4), seed=0, every_days=3, futures=6)
    assert (tested.certified_after, tested.mean_error_days, tested.covered) == (None, None, None)
    assert tested.forecasts
    assert all(one.days is None for one in tested.forecasts)


def test_a_back_test_begins_once_there_are_two_sessions() -> None:
    one = stream(6, days=2, error=0.4)
    first = min(one.at_of, key=lambda s: one.at_of[s])
    later = replace(one, at_of={s: at if s == first else at + timedelta(days=5) for s, at in one.at_of.items()})
    made = back_test(later, seed=0, futures=2).forecasts
    assert made
    assert made[0].now >= one.at_of[first] + timedelta(days=5)


def test_without_sessions_or_their_times_there_is_no_rate_and_no_forecast() -> None:
    one = stream(7)
    with pytest.raises(CertificateError, match="give no rate"):
        forecast(one, START - timedelta(days=1), seed=0)
    with pytest.raises(CertificateError, match="have no time"):
        replace(one, at_of={})
    at_once = replace(one, at_of=dict.fromkeys(one.at_of, START))
    with pytest.raises(CertificateError, match="give no rate"):
        forecast(at_once, START, seed=0)
