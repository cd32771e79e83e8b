"""The certificate: what was promised, on which evidence, and how to check it again."""

from __future__ import annotations

import hashlib
from typing import Literal

from pydantic import Field, model_validator

from selective_autonomy.certify.label_noise import Sensitivity
from selective_autonomy.frozen import Frozen
from selective_autonomy.process.schema import canonical_json


class Bound(Frozen):
    """One certified statement, or the refusal to make it.

    `threshold` None: nothing could be certified; `refusal` says why and `labels_missing` about how many more
    labelled units of `unit` would be needed at the error seen (None: no number of labels would do).

    Args:
        unit: what was counted: steps, or whole sessions.
        alpha: the promised share of wrong units, in (0, 1).
        delta: the promise may fail in this share of draws of the calibrate split.
        n: labelled units in the calibrate split; n_executed / n_wrong: above the threshold.
        upper: the upper confidence limit of the risk at the threshold, None for a refusal.
        coverage: share of critical steps that would execute at the threshold, 0 for a refusal.
    """

    unit: Literal["step", "session"]
    method: str
    alpha: float = Field(gt=0, lt=1)
    delta: float = Field(gt=0, lt=1)
    threshold: float | None
    n: int = Field(ge=0)
    n_executed: int = Field(ge=0)
    n_wrong: int = Field(ge=0)
    upper: float | None
    coverage: float = Field(ge=0, le=1)
    refusal: Literal["too_few_labels", "error_too_high"] | None = None
    labels_missing: int | None = None

    @model_validator(mode="after")
    def _threshold_is_proven_or_refused(self) -> Bound:
        if self.threshold is None:
            if self.refusal is None:
                raise ValueError("a bound without a threshold must say why it was refused")
        elif self.refusal is not None or self.upper is None or self.n_executed == 0 or not 0 <= self.threshold <= 1:
            raise ValueError(
                f"threshold {self.threshold!r} stands on nothing: expected an upper limit, executed units, no refusal"
            )
        elif self.upper > self.alpha:
            raise ValueError(f"upper limit {self.upper} exceeds alpha {self.alpha}; expected a refusal")
        return self


class Certificate(Frozen):
    """What the gate may rely on. `threshold` is the strictest of the bounds, None if any was refused.

    `loss` names what counted as wrong. `splits` maps each split to the sha256 of its sorted session ids;
    `policy_digest` and `critic_digest` bind the certificate to the models whose scores it was made from.
    `sensitivity`: given where the promise is about truly wrong steps: its bounds are then on confirmed errors, at an
    alpha that is lowered by what operators overlook (`label_noise`), and `promised` is what holds in truth.
    """

    process_id: str
    loss: str
    bounds: tuple[Bound, ...] = Field(min_length=1)
    splits: dict[str, str]
    policy_digest: str
    critic_digest: str
    scores_digest: str
    assumptions: tuple[str, ...] = ()
    sensitivity: Sensitivity | None = None
    promised: dict[Literal["step", "session"], float] = Field(default_factory=dict)

    @property
    def threshold(self) -> float | None:
        thresholds = [bound.threshold for bound in self.bounds]
        if any(t is None for t in thresholds):
            return None
        return max(t for t in thresholds if t is not None)

    @property
    def id(self) -> str:
        """First 16 hex digits of the sha256 of the content: the same facts, the same id."""
        return hashlib.sha256(canonical_json(self.model_dump(mode="json")).encode()).hexdigest()[:16]
