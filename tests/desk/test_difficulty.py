"""The yardstick stands where it was set: within the ranges taken from STAR's operators."""

from __future__ import annotations

import hashlib

import pytest

from selective_autonomy.desk.embedded import EmbeddedDesk
from selective_autonomy.desk.statistics import desk_statistics, operator_agreement, regression_score
from selective_autonomy.errors import ModelError, TraceError
from selective_autonomy.policy.baselines.regression import RegressionHeads
from selective_autonomy.process.legality import legal_heads
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.screen import derive_screen, steps

SEED = 20


def test_sessions_are_as_long_and_steps_as_slow_as_real_ones(sessions: list[Session]) -> None:
    measured = desk_statistics(sessions)
    assert 8 <= measured.steps_mean <= 15
    assert measured.steps_8_to_15 > 0.7
    for kind, mean, median in (("reply", 19.0, 13.0), ("form", 17.6, 11.0), ("text", 38.0, 32.0)):
        assert measured.seconds[kind].mean == pytest.approx(mean, rel=0.08)
        assert measured.seconds[kind].median == pytest.approx(median, rel=0.08)
    assert 0.9 < measured.solved < 1
    assert measured.operators == 24


def test_two_operators_agree_in_60_to_70_percent_of_states() -> None:
    measured = operator_agreement(SEED, 150)
    assert 0.60 <= measured.same_head <= 0.70
    assert measured.same_head < measured.same_operator_again
    assert 0.02 < measured.wrong < 0.12


def test_a_regression_on_600_cases_finds_62_to_72_percent_of_the_tools_and_is_more_often_right(
    sessions: list[Session],
) -> None:
    score = regression_score(SEED, sessions[:600], sessions[600:])
    assert 0.62 <= score.tool <= 0.72
    assert 0.82 <= score.true <= 0.95
    assert score.tool < score.top3


def test_the_regression_names_only_legal_heads_and_its_probabilities_sum_to_one(
    desk: EmbeddedDesk, sessions: list[Session]
) -> None:
    schema = desk.schema
    regression = RegressionHeads.fit(sessions[:20], schema)
    befores = [step.before for step in steps(sessions[30])]
    for before, ranked in zip(befores, regression.rank_next(befores), strict=True):
        assert set(ranked.names) == set(legal_heads(schema, derive_screen(before)))
        assert ranked.p_A.sum() == pytest.approx(1.0)
    assert regression.rank_next([]) == []


def test_nothing_to_measure_or_to_learn_from_is_an_error(desk: EmbeddedDesk) -> None:
    with pytest.raises(TraceError, match="no sessions"):
        desk_statistics([])
    with pytest.raises(ModelError, match="at least two"):
        RegressionHeads.fit([], desk.schema)


def test_the_frozen_desk_writes_the_logs_it_always_wrote(sessions: list[Session]) -> None:
    """Version 1 is a yardstick. If this fails by intent, raise DESK_VERSION, measure again, keep the old results."""
    text = "\n".join(session.model_dump_json() for session in sessions[:60])
    assert (
        hashlib.sha256(text.encode()).hexdigest() == "2cbdde473adb98b0b4e500b57f82b25fe79f8ccc4b1f3ac3b4c2ca33e611de30"
    )
