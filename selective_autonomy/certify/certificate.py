"""The certificate: what was promised, on which evidence, and how to check it again."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Literal

from pydantic import Field, model_validator

from selective_autonomy.certify.label_noise import Sensitivity
from selective_autonomy.frozen import Frozen
from selective_autonomy.process.actions import ActionType
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


class Slice(Frozen):
    """The step promise of some action types.

    Args:
        alone: of the slice by itself, at the lowest cut that passed; or why there is none.
        step: the promise it runs under, at its threshold in force: its own, raised above the session promise's
            threshold; with `fallback` the pool's, whose counts are those of all slices together. Or the refusal.
        fallback: "pooled" if the slice could not be certified alone and runs under the pool.
    """

    name: str
    action_types: tuple[ActionType, ...] = Field(min_length=1)
    alone: Bound
    step: Bound
    fallback: Literal["pooled"] | None = None

    @property
    def threshold(self) -> float | None:
        return self.step.threshold


class Certificate(Frozen):
    """What the gate may rely on: a threshold a slice, none anywhere if the session promise was refused.

    `loss` names what counted as wrong. `session`: the promise about whole sessions under the thresholds in force;
    None: not asked for. `splits` maps each split to the sha256 of its sorted session ids; `policy_digest` and
    `critic_digest` bind the certificate to the models whose scores it was made from.
    `procedures`: those that its labelled sessions had open, sorted; of sessions with any other open it says nothing.
    None: nobody said which there were, and it is taken to be about all.
    `sensitivity`: given where the promise is about truly wrong steps: its bounds are then on confirmed errors, at an
    alpha that is lowered by what operators overlook (`label_noise`), and `promised` is what holds in truth; for steps
    that of the loosest slice, each slice's own stands in its name.
    """

    process_id: str
    loss: str
    slices: tuple[Slice, ...] = Field(min_length=1)
    session: Bound | None = None
    procedures: tuple[str, ...] | None = None
    splits: dict[str, str]
    policy_digest: str
    critic_digest: str
    scores_digest: str
    assumptions: tuple[str, ...] = ()
    sensitivity: Sensitivity | None = None
    promised: dict[Literal["step", "session"], float] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_slice_an_action_type(self) -> Certificate:
        types = [action_type for one in self.slices for action_type in one.action_types]
        if len(set(types)) < len(types):
            raise ValueError(f"an action type is in two slices: {types}; expected each once")
        floor = None if self.session is None else self.session.threshold
        low = [o.name for o in self.slices if floor is not None and o.threshold is not None and o.threshold < floor]
        if low:
            raise ValueError(f"slices {low} would run below the session threshold {floor}; expected at or above it")
        return self

    def covers(self, procedures: Collection[str]) -> bool:
        """Whether it was made on sessions with each of these procedures open, so that its promise is about them."""
        return self.procedures is None or set(procedures) <= set(self.procedures)

    def threshold_of(self, action_type: ActionType) -> float | None:
        """The score from which on a step of this type may run; None: nothing is certified for it."""
        if self.session is not None and self.session.threshold is None:
            return None
        return next((one.threshold for one in self.slices if action_type in one.action_types), None)

    @property
    def threshold(self) -> float | None:
        """The strictest threshold in force; None where nothing may run."""
        in_force = [self.threshold_of(one.action_types[0]) for one in self.slices]
        return max((t for t in in_force if t is not None), default=None)

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """Every statement in force or refused: of the slices in order, then of sessions."""
        return (*(one.step for one in self.slices), *([] if self.session is None else [self.session]))

    @property
    def id(self) -> str:
        """First 16 hex digits of the sha256 of the content: the same facts, the same id."""
        return hashlib.sha256(canonical_json(self.model_dump(mode="json")).encode()).hexdigest()[:16]
