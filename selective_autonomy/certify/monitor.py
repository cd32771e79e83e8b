"""Watches a promise while it is relied on: raises an alarm once executed steps go wrong more often than was promised.

Bettors (`certify.betting`) put stakes on every audited step; their mean capital grows only if the risk is above alpha,
and that it ever exceeds 1 / delta has probability at most delta while the promise holds.
"""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from selective_autonomy.certify.betting import BETTORS, Bettors, halving_stakes
from selective_autonomy.certify.binomial import check_share
from selective_autonomy.errors import CertificateError
from selective_autonomy.frozen import Frozen

Level = Literal["kept", "warning", "alarm"]
_BOLDEST = 0.9  # of the stake that a single right step would take all of


class MonitorState(Frozen):
    """All that the monitor knows; survives a restart as JSON.

    `log_capitals`: nats, one a bettor. `highest`: nats, the largest mean capital so far. `executed`, `audited`,
    `wrong`: counts.
    """

    alpha: float = Field(gt=0, lt=1)
    delta: float = Field(gt=0, lt=1)
    warning_delta: float = Field(gt=0, lt=1)
    least_propensity: float = Field(gt=0, le=1)
    log_capitals: tuple[float, ...] = (0.0,) * BETTORS
    highest: float = 0.0
    executed: int = Field(default=0, ge=0)
    audited: int = Field(default=0, ge=0)
    wrong: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _is_whole(self) -> MonitorState:
        if len(self.log_capitals) != BETTORS or not all(map(math.isfinite, self.log_capitals)):
            raise ValueError(f"got capitals {self.log_capitals}, expected {BETTORS} finite numbers")
        if not self.delta <= self.warning_delta:
            raise ValueError(f"a warning comes before the alarm: got delta {self.delta} > {self.warning_delta}")
        return self


class RiskMonitor:
    """Sees executed steps one by one, in constant time and memory. Not safe to share between threads.

    Guarantee: while the risk of each executed step, given all before it, is at most alpha, the probability that there
    is ever an alarm is at most delta, and ever a warning at most warning_delta (Ville's inequality): at every moment,
    so it may be looked at after each step.
    Assumptions: whether a step is audited is drawn with the propensity given, by nothing that knows its outcome; the
    audit's word is right. A case whose errors come together is a run of risky steps to it: it may raise the alarm
    although the promise holds on average.

    Args:
        alpha: the promised risk. delta, warning_delta: chance of a false alarm, of a false warning; the latter larger.
        least_propensity: the smallest chance of an audit that will occur. The smaller, the slower an alarm.

    Raises:
        CertificateError: a share is outside its range.
    """

    def __init__(
        self, alpha: float, *, delta: float = 0.01, warning_delta: float = 0.1, least_propensity: float = 1.0
    ) -> None:
        for name, value in (("alpha", alpha), ("delta", delta), ("warning_delta", warning_delta)):
            check_share(name, value)
        if not 0 < least_propensity <= 1 or delta > warning_delta:
            raise CertificateError(
                "least_propensity must lie in (0, 1] and delta must not exceed warning_delta; got "
                f"{least_propensity!r}, {delta!r}, {warning_delta!r}"
            )
        self._restore(
            MonitorState(alpha=alpha, delta=delta, warning_delta=warning_delta, least_propensity=least_propensity)
        )

    @classmethod
    def of(cls, state: MonitorState) -> RiskMonitor:
        """The monitor that `state` was taken from."""
        monitor = cls.__new__(cls)
        monitor._restore(state)
        return monitor

    @property
    def state(self) -> MonitorState:
        return self._settings.model_copy(
            update={
                "log_capitals": self._bettors.log_capitals,
                "highest": self._bettors.highest,
                "executed": self._executed,
                "audited": self._audited,
                "wrong": self._wrong,
            }
        )

    @property
    def level(self) -> Level:
        """`alarm` stays: the promise was broken, and a new one is needed."""
        highest = self._bettors.highest
        if highest >= self._alarm_at:
            return "alarm"
        return "warning" if highest >= self._warning_at else "kept"

    def unaudited(self) -> Level:
        """An executed step that was not drawn for an audit: it says nothing, and counts."""
        self._executed += 1
        return self.level

    def audited(self, wrong: bool, *, propensity: float = 1.0) -> Level:
        """An executed step whose outcome is known because it was drawn for an audit with this probability.

        Raises:
            CertificateError: the propensity is smaller than the least one, or larger than 1.
        """
        if not self._least <= propensity <= 1:
            raise CertificateError(
                f"an audit of propensity {propensity!r} came to a monitor made for [{self._least}, 1]; make it anew "
                "with the smallest propensity that occurs"
            )
        self._executed += 1
        self._audited += 1
        self._wrong += wrong
        self._bettors.bet(((1.0 if wrong else 0.0) - self._alpha) / propensity)
        return self.level

    def _restore(self, state: MonitorState) -> None:
        self._settings = state
        self._alpha: float = state.alpha
        self._least: float = state.least_propensity
        self._executed: int = state.executed
        self._audited: int = state.audited
        self._wrong: int = state.wrong
        self._alarm_at: float = -math.log(state.delta)
        self._warning_at: float = -math.log(state.warning_delta)
        # A right step costs stake * alpha / propensity of the capital, at most _BOLDEST of it.
        stakes = halving_stakes(_BOLDEST * state.least_propensity / state.alpha)
        self._bettors = Bettors(stakes, log_capitals=state.log_capitals, highest=state.highest)
