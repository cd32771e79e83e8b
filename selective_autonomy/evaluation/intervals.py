"""95 % intervals: exact for independent units, bootstrap over whole sessions for anything else."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta

from selective_autonomy.errors import SplitError
from selective_autonomy.frozen import Frozen

_LEVEL = 0.95
_DRAWS = 1000  # the ends of the interval then move by about 0.1 standard errors between seeds


class Figure(Frozen):
    """A measured number with its 95 % interval and the number of units behind it."""

    value: float
    low: float
    high: float
    n: int


def binomial_interval(k: int, n: int) -> Figure:
    """Clopper–Pearson interval of k in n independent units. n = 0: value nan, interval [0, 1].

    Raises:
        SplitError: k is outside [0, n].
    """
    if not 0 <= k <= n:
        raise SplitError(f"got {k} of {n} units; expected 0 <= k <= n")
    tail = (1 - _LEVEL) / 2
    low = float(beta.ppf(tail, k, n - k + 1)) if k > 0 else 0.0
    high = float(beta.ppf(1 - tail, k + 1, n - k)) if k < n else 1.0
    return Figure(value=k / n if n else float("nan"), low=low, high=high, n=n)


def share_interval(
    part_N: ArrayLike, session_of_N: Sequence[str], *, of_N: ArrayLike | None = None, seed: int, draws: int = _DRAWS
) -> Figure:
    """sum(part) / sum(of), with an interval by drawing whole sessions with replacement.

    Guarantee: asymptotic, in the number of sessions. Assumption: sessions are independent. Sees: test.
    Where every session agrees (a share of 0 or 1), a bootstrap interval has no width: the exact interval over
    sessions stands in.

    Args:
        part_N: what is counted, 0 / 1 a step. of_N: out of what, 0 / 1 a step; None: all steps.

    Returns:
        `n` is sum(of). With sum(of) = 0 the value is nan and the interval [0, 1].
    """
    part, of = np.asarray(part_N, dtype=np.float64), None if of_N is None else np.asarray(of_N, dtype=np.float64)
    of = np.ones_like(part) if of is None else of
    session_N = session_codes(session_of_N)
    part_S, of_S = (np.bincount(session_N, weights=column).astype(np.float64) for column in (part, of))
    return ratio_interval(part_S, of_S, seed=seed, draws=draws)


def ratio_interval(part_S: NDArray[np.float64], of_S: NDArray[np.float64], *, seed: int, draws: int = _DRAWS) -> Figure:
    """sum(part) / sum(of) over sessions, by drawing sessions with replacement; see `share_interval`.

    Args:
        part_S, of_S: one amount a session; any sign and unit. Sessions with nothing in `of_S` do not take part.
    """
    counted = of_S > 0
    part_S, of_S = part_S[counted], of_S[counted]
    n = int(of_S.sum())
    if n == 0:
        return binomial_interval(0, 0)
    value = float(part_S.sum() / of_S.sum())
    if bool(np.all(part_S == 0)) or bool(np.all(part_S == of_S)):
        exact = binomial_interval(of_S.size if value else 0, of_S.size)
        return exact.model_copy(update={"n": n})
    weights_DS = _draws(of_S.size, seed, draws)
    low, high = _ends((weights_DS @ part_S) / (weights_DS @ of_S))
    return Figure(value=value, low=low, high=high, n=n)


def statistic_interval(
    statistic: Callable[[NDArray[np.float64]], float], session_of_N: Sequence[str], *, seed: int, draws: int = 200
) -> Figure:
    """Any weighted statistic of steps, with an interval by drawing whole sessions with replacement.

    A statistic that is biased upwards in resamples (ECE counts their noise as miscalibration) would get an interval
    beside its own value; the resamples are therefore shifted so that their mean is the value.

    Args:
        statistic: from `weight_N` (how often each step was drawn) to a number; all ones gives the value.
    """
    session_N = session_codes(session_of_N)
    if session_N.size == 0:
        raise SplitError("no steps to measure; expected a non-empty split")
    weights_DS = _draws(int(session_N.max()) + 1, seed, draws)
    values_D = np.array([statistic(weights_S[session_N]) for weights_S in weights_DS])
    values_D, value = values_D[np.isfinite(values_D)], statistic(np.ones(session_N.size))
    low, high = _ends(values_D - values_D.mean() + value if values_D.size else values_D)
    return Figure(value=value, low=low, high=high, n=session_N.size)


def session_codes(session_of_N: Sequence[str]) -> NDArray[np.int64]:
    """`session_N`: 0..S-1 in order of the session ids."""
    return np.unique(np.asarray(session_of_N, dtype=object), return_inverse=True)[1].astype(np.int64)


def _draws(sessions: int, seed: int, draws: int) -> NDArray[np.float64]:
    """`weights_DS`: how often each session is in each resample."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(sessions, np.full(sessions, 1 / sessions), size=draws).astype(np.float64)


def _ends(values_D: NDArray[np.float64]) -> tuple[float, float]:
    if values_D.size == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(values_D, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)
