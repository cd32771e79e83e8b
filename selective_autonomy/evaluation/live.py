"""Gated cases beside cases that people worked alone, assigned by lot: effects with intervals, by operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from selective_autonomy.errors import SplitError
from selective_autonomy.evaluation.gated_run import ArmCase
from selective_autonomy.evaluation.intervals import binomial_interval

_DRAWS = 2000


@dataclass(frozen=True)
class Worked:
    """A worked case and the operator who was on duty for it."""

    case: ArmCase
    operator: str


def compare_arms(
    gated: Sequence[Sequence[Worked]],
    human: Sequence[Sequence[Worked]],
    *,
    alpha_session: float,
    margin: float,
    seed: int,
) -> dict[str, Any]:
    """Shares of the gated arm, and its difference from the human one, stratified by operator.

    Args:
        gated, human: one sequence a certificate (a seed); which case is in which arm was drawn by lot.
        margin: a loss of this share of solved cases would matter; `outcome_not_worse` is the one-sided test at 5 %
            that it is smaller, `outcome_equivalent` the two one-sided tests that the difference is within it.

    Returns:
        Figures {"value", "low", "high", "n"} (95 %; bootstrap over cases within operator and arm, exact for shares of
        cases), and `session_risk_by_seed`. `seeds_over_alpha_significantly` counts the seeds whose lost cases refute
        the promise (exact test at 5 %): a seed of a hundred cases may lie above alpha by chance.

    Raises:
        SplitError: an arm is empty, or no operator was on duty in both.
    """
    all_gated, all_human = [one for run in gated for one in run], [one for run in human for one in run]
    if not all_gated or not all_human:
        raise SplitError(f"the arms hold {len(all_gated)} and {len(all_human)} cases; expected some in both")
    cases = [one.case for one in all_gated]
    lost = [_lost(case) for case in cases]
    by_seed = [[_lost(one.case) for one in run] for run in gated]
    refuted = [binomial_interval(sum(run), len(run)).low > alpha_session for run in by_seed]
    seconds = _difference(all_gated, all_human, lambda case: case.active_seconds, seed, relative=True)
    solved = _difference(all_gated, all_human, lambda case: float(case.solved), seed, relative=False)
    executed, wrong = sum(case.executed_steps for case in cases), sum(case.wrong_executed for case in cases)
    return {
        "session_coverage": binomial_interval(sum(not case.touched for case in cases), len(cases)).model_dump(),
        "session_coverage_by_seed": [float(np.mean([not one.case.touched for one in run])) for run in gated],
        "session_risk": binomial_interval(sum(lost), len(cases)).model_dump(),
        "session_risk_by_seed": [float(np.mean(run)) for run in by_seed],
        "seeds_over_alpha_significantly": sum(refuted),
        "true_risk": wrong / executed if executed else 0.0,
        "step_coverage": executed / max(sum(case.critical_steps for case in cases), 1),
        "active_seconds_gated": float(np.mean([case.active_seconds for case in cases])),
        "active_seconds_human": float(np.mean([one.case.active_seconds for one in all_human])),
        "active_seconds_change": seconds,
        "solved_gated": float(np.mean([case.solved for case in cases])),
        "solved_human": float(np.mean([one.case.solved for one in all_human])),
        "outcome_quality_difference": solved,
        "outcome_margin": margin,
        "outcome_not_worse": solved["low_90"] > -margin,
        "outcome_equivalent": solved["low_90"] > -margin and solved["high_90"] < margin,
        "cases": {"gated": len(all_gated), "human": len(all_human)},
    }


def _lost(case: ArmCase) -> bool:
    """A truly wrong critical step was executed: what the certificate promises about."""
    return case.wrong_executed > 0


def _difference(
    gated: Sequence[Worked],
    human: Sequence[Worked],
    figure: Callable[[ArmCase], float],
    seed: int,
    *,
    relative: bool,
) -> dict[str, float]:
    """Difference of means between the arms within operators who worked in both, weighted by their cases."""
    strata = sorted({one.operator for one in gated} & {one.operator for one in human})
    pairs = [
        tuple(np.array([figure(one.case) for one in arm if one.operator == name]) for arm in (gated, human))
        for name in strata
    ]
    if not strata:
        raise SplitError("no operator was on duty in both arms, so nothing can be compared; work more cases")
    weight_O = np.array([len(g) + len(h) for g, h in pairs], dtype=np.float64)
    weight_O /= weight_O.sum()

    def effect(means: Sequence[tuple[float, float]]) -> float:
        ours, theirs = (float((weight_O * np.array(side)).sum()) for side in zip(*means, strict=True))
        return ours / theirs - 1 if relative else ours - theirs

    rng = np.random.default_rng(seed)
    drawn = [
        effect([(rng.choice(g, g.size).mean(), rng.choice(h, h.size).mean()) for g, h in pairs]) for _ in range(_DRAWS)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    low_90, high_90 = np.quantile(drawn, [0.05, 0.95])
    return {
        "value": effect([(float(g.mean()), float(h.mean())) for g, h in pairs]),
        "low": float(low),
        "high": float(high),
        "low_90": float(low_90),
        "high_90": float(high_90),
        "n": len(gated) + len(human),
    }
