"""Which executed steps are reviewed: a draw that nobody can foresee without the key, and anybody can repeat with it.

Once steps run by themselves, only deferred ones are labelled by the way. A random share of the executed ones is
therefore audited, with a probability that is known and logged: `certify.weights` needs just that.
"""

from __future__ import annotations

import hmac

from pydantic import Field, model_validator

from selective_autonomy import keyed_draw
from selective_autonomy.errors import CertificateError
from selective_autonomy.frozen import Frozen
from selective_autonomy.keyed_draw import as_uniform
from selective_autonomy.process.actions import ActionType


class AuditDraw(Frozen):
    """Whether an executed step is audited.

    Args:
        drawn: it is. probability: the chance it had, in (0, 1]; logged whether drawn or not.
        digest: 64 hex digits, the keyed hash of the step; its number in [0, 1) is below `probability` if drawn.
    """

    drawn: bool
    probability: float = Field(gt=0, le=1)
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")

    @model_validator(mode="after")
    def _follows_from_its_digest(self) -> AuditDraw:
        if self.drawn != (as_uniform(self.digest) < self.probability):
            raise ValueError(f"drawn {self.drawn} does not follow from digest and probability {self.probability}")
        return self


class AuditRates(Frozen):
    """How likely an executed step is audited: the more doubtful, or the dearer, the likelier.

    The rate is a function of what is known before the step's outcome, and never below `least`, which a certificate's
    plan states: it can rely on no weight larger than 1 / least.

    Args:
        least: of any step, in (0, 1].
        doubtful: at the threshold; falls in a straight line to `least` at p_accept 1. None: as `least`.
        actions: at least so much for these action types, the ones whose errors cost most.
    """

    least: float = Field(gt=0, le=1)
    doubtful: float | None = Field(default=None, gt=0, le=1)
    actions: dict[ActionType, float] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _least_is_the_least(self) -> AuditRates:
        for rate in (*self.actions.values(), *(() if self.doubtful is None else (self.doubtful,))):
            if not self.least <= rate <= 1:
                raise ValueError(f"got an audit rate {rate}, expected at least {self.least} (the least) and at most 1")
        return self

    def of(self, action: ActionType, p_accept: float, threshold: float) -> float:
        """The rate of a step that executes at this threshold, in [least, 1]; `least` where the score is no number."""
        rate = max(self.least, self.actions.get(action, 0.0))
        if self.doubtful is None or not threshold <= p_accept <= 1:
            return rate
        doubt = (1 - p_accept) / (1 - threshold) if threshold < 1 else 0.0
        return max(rate, self.least + doubt * (self.doubtful - self.least))


def draw_audit(key: bytes, session_id: str, step_id: str, probability: float) -> AuditDraw:
    """Draw whether an executed step is audited. The same key and step give the same draw, whenever they are asked.

    Args:
        step_id: names the step before its outcome is known: `runtime.binding.step_key`.
        probability: in (0, 1].

    Raises:
        CertificateError: the probability is 0, NaN or otherwise outside (0, 1], or the key too short.
    """
    if not 0 < probability <= 1:
        raise CertificateError(
            f"an audit probability must lie in (0, 1]; got {probability!r}: where nothing is ever audited, nothing can "
            "be certified"
        )
    digest = keyed_draw.digest(key, "audit", session_id, step_id)
    return AuditDraw(drawn=as_uniform(digest) < probability, probability=probability, digest=digest)


def is_replayed(draw: AuditDraw, key: bytes, session_id: str, step_id: str) -> bool:
    """Whether the draw is the one that this key makes for the step. CertificateError: the key is too short."""
    return hmac.compare_digest(draw.digest, keyed_draw.digest(key, "audit", session_id, step_id))
