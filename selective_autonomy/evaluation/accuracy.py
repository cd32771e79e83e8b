"""How often a policy does what the operator did: one evaluation, the same for every kind of policy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from selective_autonomy.errors import SplitError
from selective_autonomy.evaluation.intervals import (
    Figure,
    binomial_interval,
    ratio_interval,
    session_codes,
    share_interval,
)
from selective_autonomy.evaluation.outcomes import LEVELS, Outcomes, action_type, field_outcomes, outcomes_of
from selective_autonomy.evaluation.replay import ReplayedStep
from selective_autonomy.frozen import Frozen
from selective_autonomy.process.comparison import Level
from selective_autonomy.traces.screen import Step


class LevelFigures(Frozen):
    """The three levels on a part of the steps; each figure's `n` is the number of steps in it."""

    tool: Figure
    loose: Figure
    strict: Figure


def evaluate_policy(
    replayed: Sequence[ReplayedStep], *, seed: int, unanswered: Sequence[Step] = ()
) -> dict[str, Figure]:
    """Accuracy of proposals against the logged actions. A figure of nothing (no form was right) is left out.

    Of steps: `tool`, `loose`, `strict` (see `process.comparison`); `top3` (the logged head is among the three
    likeliest); `order_tolerant_tool` and `order_tolerant_strict` (a wrong proposal that is the operator's very next
    action counts too: to be read beside the plain figure, never alone); `tool_<action type>`.
    Of forms, where the right form was proposed: `form_exact` (all fields as the operator's); of their fields: `field`.
    Of sessions, teacher-forced: `session_<level>` (every step right), `session_<level>_one_wrong` (at most one wrong).

    Intervals: session bootstrap; exact for whole sessions. `unanswered`: steps for which the policy had no proposal;
    each is wrong at every level.

    Raises:
        SplitError: there are no replayed steps.
    """
    got = outcomes_of(replayed).and_wrong(unanswered)
    of_session = got.session_of_N

    def share(part_N: NDArray[np.bool_], of_N: NDArray[np.bool_] | None = None) -> Figure:
        return share_interval(part_N, of_session, of_N=of_N, seed=seed)

    found: dict[str, Figure] = {}
    found |= {level: share(got.right[level]) for level in LEVELS}
    found["top3"] = share(got.top3_N)
    found |= {f"order_tolerant_{level}": share(got.right_or_early[level]) for level in ("tool", "strict")}
    if got.form_N.any():
        found["form_exact"] = share(got.right["loose"] & got.form_N, got.form_N)
    fields = list(field_outcomes(replayed))
    if fields:
        found["field"] = share_interval([f.right for f in fields], [f.session_id for f in fields], seed=seed)
    types_N = np.array([*(action_type(r) for r in replayed), *(step.action.type for step in unanswered)])
    for kind in sorted(set(types_N.tolist())):
        found[f"tool_{kind}"] = share(got.right["tool"] & (types_N == kind), types_N == kind)
    return found | _sessions(got)


def by_group(
    replayed: Sequence[ReplayedStep], group: Callable[[ReplayedStep], str], *, seed: int
) -> dict[str, LevelFigures]:
    """The three levels of each group of steps, largest group first (then by name)."""
    got, group_N = outcomes_of(replayed), np.array([group(r) for r in replayed])
    names, counts = np.unique(group_N, return_counts=True)
    order = sorted(zip((-counts).tolist(), names.tolist(), strict=True))
    figures = {}
    for _, name in order:
        inside_N = group_N == name
        sessions = [s for s, inside in zip(got.session_of_N, inside_N, strict=True) if inside]
        figures[str(name)] = LevelFigures(
            **{level: share_interval(got.right[level][inside_N], sessions, seed=seed) for level in LEVELS}
        )
    return figures


def by_field(replayed: Sequence[ReplayedStep], *, seed: int) -> dict[str, Figure]:
    """ "form.field" -> share of it filled as the operator did, where the right form was proposed; most often filled
    first. Empty when no form was proposed rightly."""
    right: dict[str, list[bool]] = defaultdict(list)
    sessions: dict[str, list[str]] = defaultdict(list)
    for one in field_outcomes(replayed):
        right[one.name].append(one.right)
        sessions[one.name].append(one.session_id)
    names = sorted(right, key=lambda name: (-len(right[name]), name))
    return {name: share_interval(right[name], sessions[name], seed=seed) for name in names}


def difference(ours: Sequence[ReplayedStep], theirs: Sequence[ReplayedStep], level: Level, *, seed: int) -> Figure:
    """How much more often `ours` is right than `theirs` on the same steps: a share of steps, negative if less often.

    Paired: a resample draws sessions, each with the steps of both. Where no session differs, what is left open lies on
    both sides.

    Raises:
        SplitError: the steps are not the same, or there are none.
    """
    if [(r.session_id, r.step.index) for r in ours] != [(r.session_id, r.step.index) for r in theirs]:
        raise SplitError(
            f"two policies are compared on different steps ({len(ours)} and {len(theirs)}); replay the same sessions"
        )
    right, other = (outcomes_of(replayed) for replayed in (ours, theirs))
    session_N = session_codes(right.session_of_N)
    more_S = np.bincount(session_N, weights=right.right[level].astype(float) - other.right[level]).astype(np.float64)
    found = ratio_interval(more_S, np.bincount(session_N).astype(np.float64), seed=seed)
    return found if more_S.any() else found.model_copy(update={"low": -found.high})


def _sessions(got: Outcomes) -> dict[str, Figure]:
    """Whole sessions: every step right, and at most one wrong."""
    session_N = session_codes(got.session_of_N)
    figures = {}
    for level in LEVELS:
        wrong_S = np.bincount(session_N, weights=~got.right[level])
        figures[f"session_{level}"] = binomial_interval(int((wrong_S == 0).sum()), int(wrong_S.size))
        figures[f"session_{level}_one_wrong"] = binomial_interval(int((wrong_S <= 1).sum()), int(wrong_S.size))
    return figures
