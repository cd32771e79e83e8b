"""Validation of copilot feedback before a critic is fitted to it."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from quality_checks.expectations import FEEDBACK_ROWS, FEEDBACK_TABLE
from quality_checks.results import ExpectationOutcome, outcome
from quality_checks.suite_run import run_suite
from selective_autonomy.params import ValidationParams


@dataclass(frozen=True)
class FeedbackValidation:
    """`good` and `bad` hold all rows between them, with their original index; `bad` has a column `reasons`
    (tuple of expectation names)."""

    good: pd.DataFrame
    bad: pd.DataFrame
    outcomes: list[ExpectationOutcome]

    @property
    def blocks(self) -> bool:
        """Whether no critic may be fitted to this."""
        return any(o.blocking and not o.success for o in self.outcomes)


def validate_feedback(feedback: pd.DataFrame, params: ValidationParams) -> FeedbackValidation:
    """Check judgements, one row each, with the columns FEEDBACK_COLUMNS (`expectations.py`).

    `accepted` and `p_head` must be given; `reason`, `seconds`, `truly_wrong` may be null. A missing column fails
    every expectation that needs it, for every row. An empty table blocks.
    """
    given = params.model_dump()
    rows = feedback.reset_index(drop=True)
    if {"accepted", "reason"} <= set(rows.columns):
        rows = rows.assign(correction_has_a_reason=rows["reason"].notna() | (rows["accepted"] != False))  # noqa: E712
    on_rows = run_suite(FEEDBACK_ROWS, rows, given)

    reasons: list[list[str]] = [[] for _ in range(len(rows))]
    is_bad = [False] * len(rows)
    for result in on_rows:
        for row in result.failing_rows:
            reasons[row].append(result.spec.name)
            is_bad[row] |= result.spec.effect != "report"
    bad = pd.Series(is_bad, index=feedback.index, dtype="bool")
    kept = feedback[~bad]
    left = pd.DataFrame(
        {
            "accepted_number": kept["accepted"].astype("float64") if "accepted" in kept else [],
            "bad_share": float(bad.mean()) if len(bad) else 1.0,
        }
    )
    ids = rows["session_id"].astype("str").tolist() if "session_id" in rows else [""] * len(rows)
    return FeedbackValidation(
        good=kept,
        bad=feedback[bad].assign(reasons=[tuple(r) for r, wrong in zip(reasons, is_bad, strict=True) if wrong]),
        outcomes=[outcome(result, ids) for result in on_rows]
        + [outcome(result, []) for result in run_suite(FEEDBACK_TABLE, left, given)],
    )
