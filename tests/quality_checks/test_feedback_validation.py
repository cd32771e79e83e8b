"""Validation of feedback: bad rows are kept apart with reasons, a lopsided table stops the critic."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from quality_checks.expectations import FEEDBACK_EXPECTATIONS
from quality_checks.feedback import FeedbackValidation, validate_feedback
from selective_autonomy.params import ValidationParams


def judgements(n: int = 100) -> pd.DataFrame:
    accepted = np.arange(n) % 4 != 0
    return pd.DataFrame(
        {
            "session_id": [f"s{i // 10}" for i in range(n)],
            "index": np.arange(n) % 10,
            "head": "wait",
            "action_type": "wait",
            "tier": "critical",
            "accepted": accepted,
            "reason": [None if a else "wrong" for a in accepted],
            "seconds": 3.0,
            "truly_wrong": None,
            "p_head": 0.5,
        }
    )


def failed(result: FeedbackValidation) -> set[str]:
    return {o.name for o in result.outcomes if not o.success}


def test_good_feedback_passes_every_expectation(params: ValidationParams) -> None:
    result = validate_feedback(judgements(), params)
    assert failed(result) == set()
    assert [o.name for o in result.outcomes] == [spec.name for spec in FEEDBACK_EXPECTATIONS]
    assert len(result.good) == 100
    assert result.bad.empty
    assert not result.blocks


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("p_head", np.nan, "p_head_is_given"),
        ("p_head", 1.5, "p_head_is_a_probability"),
        ("p_head", np.inf, "p_head_is_a_probability"),
        ("seconds", -1.0, "seconds_are_not_negative"),
        ("reason", "mood", "reason_is_known"),
        ("tier", "important", "tier_is_known"),
        ("tier", None, "tier_is_given"),
        ("index", 1, "each_step_is_judged_once"),
        ("session_id", None, "feedback_names_its_session"),
    ],
)
def test_a_bad_row_is_kept_apart_with_its_reason(
    params: ValidationParams, column: str, value: object, reason: str
) -> None:
    feedback = judgements()
    feedback[column] = (
        feedback[column].astype("object") if isinstance(value, str) or value is None else feedback[column]
    )
    feedback.loc[0, column] = value
    result = validate_feedback(feedback, params)
    assert reason in failed(result)
    assert result.bad.loc[0, "reasons"] == (reason,)
    assert len(result.good) + len(result.bad) == 100
    assert not result.blocks


@pytest.mark.parametrize("value", [None, np.nan, "yes", 2])
def test_a_verdict_that_is_neither_accept_nor_correct_is_bad(params: ValidationParams, value: object) -> None:
    feedback = judgements()
    feedback["accepted"] = feedback["accepted"].astype("object")
    feedback.loc[5, "accepted"] = value
    result = validate_feedback(feedback, params)
    assert result.bad.index.tolist() == [5]


def test_a_correction_without_a_reason_is_reported_and_goes_on(params: ValidationParams) -> None:
    feedback = judgements()
    feedback.loc[[0, 4], "reason"] = None
    result = validate_feedback(feedback, params)
    assert failed(result) == {"correction_has_a_reason"}
    assert next(o for o in result.outcomes if o.name == "correction_has_a_reason").n_failed == 2
    assert len(result.good) == 100


@pytest.mark.parametrize("accepted", [True, False])
def test_one_class_of_feedback_blocks(params: ValidationParams, accepted: bool) -> None:
    result = validate_feedback(judgements().assign(accepted=accepted, reason="wrong"), params)
    assert result.blocks
    assert failed(result) == {"both_verdicts_occur", "accept_share_is_plausible"}


def test_a_lopsided_accept_share_is_reported(params: ValidationParams) -> None:
    feedback = judgements(1000).assign(accepted=True, index=np.arange(1000))
    feedback.loc[:5, ["accepted", "reason"]] = [False, "wrong"]
    result = validate_feedback(feedback, params)
    assert failed(result) == {"accept_share_is_plausible"}
    assert not result.blocks


def test_many_bad_rows_block(params: ValidationParams) -> None:
    feedback = judgements()
    feedback.loc[:5, "p_head"] = np.nan
    result = validate_feedback(feedback, params)
    assert result.blocks
    assert "few_feedback_rows_are_bad" in failed(result)


def test_a_missing_column_fails_every_row_and_blocks(params: ValidationParams) -> None:
    result = validate_feedback(judgements().drop(columns="p_head"), params)
    assert result.blocks
    assert result.good.empty
    by_name = {o.name: o for o in result.outcomes}
    assert not by_name["feedback_has_every_column"].success
    assert by_name["p_head_is_given"].n_failed == 100
    assert "p_head" in str(by_name["p_head_is_given"].error)


def test_no_feedback_blocks(params: ValidationParams) -> None:
    result = validate_feedback(judgements().iloc[:0], params)
    assert result.blocks
    assert "there_is_feedback" in failed(result)


def test_all_of_a_thousand_bad_rows_are_kept(params: ValidationParams) -> None:
    feedback = judgements(2000).assign(index=np.arange(2000))
    feedback.loc[:999, "p_head"] = 2.0
    result = validate_feedback(feedback, params)
    assert result.bad.index.tolist() == list(range(1000))
    outcome = next(o for o in result.outcomes if o.name == "p_head_is_a_probability")
    assert outcome.n_failed == 1000
    assert len(outcome.failing_ids) == 100
