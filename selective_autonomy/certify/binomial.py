"""Exact binomial limits: how many wrong ones may be seen before a promise can no longer be made."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv
from scipy.stats import binom

from selective_autonomy.errors import CertificateError

_MOST_LABELS = 10_000_000  # beyond this, "about how many more labels" is no answer anyone can act on


def upper_limit(wrong: ArrayLike, n: ArrayLike, delta: float) -> NDArray[np.float64]:
    """Clopper–Pearson upper confidence limit of a share, elementwise.

    Guarantee: for `wrong` ~ Binomial(n, r), P(upper_limit < r) <= delta, for every n and r.
    Assumption: the n units are independent draws with the same r. Sees: calibrate (or test, to report).

    Args:
        wrong: counts in [0, n]. Effective (deflated) counts may be fractional.
        n: units; 0 gives 1.0, for nothing is known then. wrong == n gives 1.0 as well.
        delta: in (0, 1).

    Raises:
        CertificateError: delta outside (0, 1), or wrong outside [0, n], or NaN.
    """
    check_share("delta", delta)
    k, units = np.broadcast_arrays(np.asarray(wrong, dtype=np.float64), np.asarray(n, dtype=np.float64))
    if not bool(np.all((k >= 0) & (k <= units))):
        raise CertificateError(f"wrong must lie in [0, n]; got wrong {wrong!r} of n {n!r}")
    limit = np.ones(k.shape)
    inside = k < units
    # To the bit what `scipy.stats.beta.ppf` says, without its checks: a forecast asks for thousands of limits.
    limit[inside] = betaincinv(k[inside] + 1, (units - k)[inside], 1 - delta)
    return limit


def most_wrong_allowed(n: int, alpha: float, delta: float) -> int:
    """The largest count of wrong ones among n whose upper limit is at most alpha; -1 when even 0 is too many."""
    check_share("alpha", alpha)
    check_share("delta", delta)
    if n <= 0:
        return -1
    k = int(binom.ppf(delta, n, alpha))  # smallest count whose cdf reaches delta
    return k if binom.cdf(k, n, alpha) <= delta else k - 1


def fewest_labels(rate: float, alpha: float, delta: float) -> int | None:
    """Smallest n that passes at alpha when the share `rate` is wrong; None when no number of labels would do.

    A planning figure, not a guarantee: the error among labels yet to come may differ from `rate`.
    """
    check_share("alpha", alpha)
    check_share("delta", delta)
    if not rate < alpha:
        return None
    n = math.ceil(math.log(delta) / math.log1p(-alpha))  # zero wrong: (1 - alpha)^n <= delta
    if rate <= 0:
        return n
    too_few = n - 1
    while float(upper_limit(rate * n, n, delta)) > alpha:
        too_few, n = n, n * 2
        if n > _MOST_LABELS:
            return None
    while n - too_few > 1:
        middle = (n + too_few) // 2
        if float(upper_limit(rate * middle, middle, delta)) > alpha:
            too_few = middle
        else:
            n = middle
    return n


def check_share(name: str, value: float) -> None:
    """Raise CertificateError unless value lies in (0, 1)."""
    if not 0 < value < 1:
        raise CertificateError(f"{name} must lie in (0, 1); got {value!r}")
