"""The gate: the only place where a threshold is compared. Small, pure, total; loads no torch.

Execute needs positive proof of everything; any doubt is a Defer with its reason. Nothing here raises.
"""

from __future__ import annotations

import math
from typing import Literal

from selective_autonomy.frozen import Frozen
from selective_autonomy.process.schema import Tier

Stage = Literal["logging", "copilot", "calibration", "selective"]
DeferReason = Literal[
    "stage_not_selective",
    "stopped",
    "no_threshold",
    "below_threshold",
    "invalid_score",
    "illegal_action",
    "no_legal_action",
    "contract_mismatch",
    "not_approved",
    "session_too_long",
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
    stage: Stage,
    stopped: bool = False,
) -> Decision:
    """Execute or Defer one proposed step.

    Args:
        p_accept: the critic's score; None, NaN or outside [0, 1] defers a critical step.
        threshold: the certified threshold of the step's slice; None: nothing is certified.
        tier: routine steps are ungated (reversible by the process schema's word), critical ones need the score.
        legal: the action was checked against the screen it will be done on.
        stage: only `selective` lets critical steps run; routine ones run from `copilot` on.
        stopped: the kill switch.
    """
    if stopped:
        return Defer(reason="stopped")
    if legal is not True:
        return Defer(reason="illegal_action")
    if tier == "routine" and stage in ("copilot", "calibration", "selective"):
        return Execute()
    if stage != "selective":
        return Defer(reason="stage_not_selective")
    if threshold is None or not math.isfinite(threshold):
        return Defer(reason="no_threshold")
    if p_accept is None or not math.isfinite(p_accept) or not 0.0 <= p_accept <= 1.0:
        return Defer(reason="invalid_score")
    return Execute() if p_accept >= threshold else Defer(reason="below_threshold")
