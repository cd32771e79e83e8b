"""A critic whose every property is known: what a threshold rule promises can be checked against the truth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import norm


@dataclass(frozen=True)
class SimulatedCritic:
    """Scores of right and of wrong proposals are two normal distributions of equal spread, `auroc` apart.

    `p_accept` is the true probability of being right given the score, so the critic is perfectly calibrated. Steps are
    independent, except in `draw_sessions`.

    Args:
        auroc: in (0.5, 1). base_error: share of wrong proposals, in (0, 1).
    """

    auroc: float = 0.862
    base_error: float = 0.115

    def draw(self, n: int, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """`p_accept_N` and `wrong_N` of n steps."""
        wrong_N = rng.random(n) < self.base_error
        return self._scores(wrong_N, rng), wrong_N

    def draw_sessions(
        self, sessions: int, rng: np.random.Generator, *, correlation: float = 0.3, most_steps: int = 9
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64]]:
        """`p_accept_N`, `wrong_N` and session codes of sessions of 1 to `most_steps` steps, all lengths alike.

        Whether a step is wrong hangs on its session: `correlation`, in [0, 1], is that of the normal numbers behind it,
        1 makes sessions wrong or right from end to end. Of a single step all is as in `draw`, so that `coverage` and
        `risk` hold.
        """
        session_N = np.repeat(np.arange(sessions), rng.integers(1, most_steps + 1, sessions))
        shared_N = rng.normal(size=sessions)[session_N]
        hidden_N = math.sqrt(correlation) * shared_N + math.sqrt(1 - correlation) * rng.normal(size=session_N.size)
        wrong_N = hidden_N < norm.ppf(self.base_error)
        return self._scores(wrong_N, rng), wrong_N, session_N

    def coverage(self, threshold: float) -> float:
        """The share of steps at or above it."""
        right, wrong = self._above(self._raw(threshold))
        return right + wrong

    def risk(self, threshold: float) -> float:
        """The share of wrong ones among them."""
        right, wrong = self._above(self._raw(threshold))
        return wrong / (right + wrong) if right + wrong else 0.0

    def oracle(self, alpha: float) -> float:
        """The most coverage at a true risk of at most alpha: what a rule that knows the truth would execute."""
        if self.base_error <= alpha:
            return 1.0

        def excess(raw: float) -> float:
            right, wrong = self._above(raw)
            return wrong - alpha * (right + wrong)

        # Beyond 8 standard deviations no float tells the tail from none.
        return sum(self._above(float(brentq(excess, -8.0, 8.0)))) if excess(8.0) < 0 else 0.0

    def _scores(self, wrong_N: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.float64]:
        raw_N = rng.normal(size=wrong_N.size) + np.where(wrong_N, 0.0, self._distance)
        return np.asarray(1 / (1 + np.exp(-self._log_odds(raw_N))), dtype=np.float64)

    @cached_property
    def _distance(self) -> float:
        return float(norm.ppf(self.auroc) * math.sqrt(2))

    def _log_odds(self, raw_N: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._distance * (raw_N - self._distance / 2) + math.log((1 - self.base_error) / self.base_error)

    def _raw(self, p_accept: float) -> float:
        """The score behind a `p_accept`; infinite at 0 and 1."""
        if not 0 < p_accept < 1:
            return math.copysign(math.inf, p_accept - 0.5)
        odds = math.log(p_accept / (1 - p_accept)) - math.log((1 - self.base_error) / self.base_error)
        return odds / self._distance + self._distance / 2

    def _above(self, raw: float) -> tuple[float, float]:
        """The shares of all steps that are right, and wrong, with a score of at least `raw`."""
        right = (1 - self.base_error) * norm.sf(raw - self._distance)
        return float(right), float(self.base_error * norm.sf(raw))
