"""The gate: the only place where a threshold is compared. Small, pure, total; loads no torch.

Execute needs positive proof of everything; any doubt is a Defer with its reason. Nothing here raises.
"""

from __future__ import annotations

from typing import Literal, TypeGuard

from selective_autonomy.frozen import Frozen
from selective_autonomy.process.schema import Tier

Stage = Literal["logging", "copilot", "calibration", "selective"]
DeferReason = Literal[
    "stage_not_selective",
    "stopped",
    "uncertified_procedure",
    "no_threshold",
    "below_threshold",
    "invalid_score",
    "illegal_action",
    "no_legal_action",
    "repeated_action",
    "contract_mismatch",
    "not_approved",
    "timeout",
    "internal_error",
]


class Execute(Frozen):
    """The step may run by itself."""

    outcome: Literal["execute"] = "execute"


class Defer(Frozen):
    """The step goes to a person, and why."""

    outcome: Literal["defer"] = "defer"
    reason: DeferReason


Decision = Execute | Defer


def decide(
    *,
    p_accept: float | None,
    threshold: float | None,
    tier: Tier,
    legal: bool,
    procedures_certified: bool,
    stage: Stage,
    stopped: bool = False,
) -> Decision:
    """Execute or Defer one proposed step.

    Args:
        p_accept: the critic's score; anything but a number in [0, 1] defers a critical step.
        threshold: the certified threshold; anything but a number in [0, 1]: nothing is certified, all defers.
        tier: routine steps are ungated (reversible by the process schema's word), critical ones need the score. Where
            nothing is certified, routine steps do not run either: they would steer cases nobody vouches for.
        legal: the action was checked against the screen it will be done on.
        procedures_certified: the certificate was made on sessions with each of the open procedures. Where it was not,
            routine steps do not run either.
        stage: only `selective` lets steps run.
        stopped: the kill switch.
    """
    if stopped:
        return Defer(reason="stopped")
    if legal is not True:
        return Defer(reason="illegal_action")
    if stage != "selective":
        return Defer(reason="stage_not_selective")
    if procedures_certified is not True:
        return Defer(reason="uncertified_procedure")
    if not _is_probability(threshold):
        return Defer(reason="no_threshold")
    if tier == "routine":
        return Execute()
    if not _is_probability(p_accept):
        return Defer(reason="invalid_score")
    return Execute() if p_accept >= threshold else Defer(reason="below_threshold")


def _is_probability(value: object) -> TypeGuard[float]:
    """A real number in [0, 1]; None, NaN, text and booleans are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0.0 <= value <= 1.0
