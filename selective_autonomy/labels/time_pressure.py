"""Do verdicts get quicker and more lenient towards the end of a shift?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student

from selective_autonomy.errors import CertificateError
from selective_autonomy.evaluation.intervals import Figure
from selective_autonomy.frozen import Frozen

_BREAK_SECONDS = 4 * 3600  # a longer pause between two verdicts ends a shift
_LATE = 0.75  # the last quarter of a shift, in time
_FEWEST_SHIFTS = 10
_FEWEST_SESSIONS = 4  # in a shift: within a single session the last steps are of another kind than the first
_FEWEST_VERDICTS = 3  # in either part of a shift, so that neither is a single accident


class TimePressure(Frozen):
    """The sessions begun in the last quarter of shifts against those before, the mean over `shifts`.

    `log_seconds`: change of the mean natural log of seconds (-0.1: about 10 % quicker). `accepted`: change of the
    accept share. 95 % intervals over shifts; nan in (-inf, inf) with fewer than 10 shifts, and `note` says so.
    """

    shifts: int
    log_seconds: Figure
    accepted: Figure
    note: str = ""


def time_pressure(
    operator_N: Sequence[str], session_N: Sequence[str], at_N: ArrayLike, accepted_N: ArrayLike, seconds_N: ArrayLike
) -> tuple[TimePressure, dict[str, TimePressure]]:
    """The crew's, and each operator's.

    Guarantee: Student's t over shifts, asymptotic. Assumption: shifts are independent. Many intervals are looked at:
    one operator's that just leaves out 0 is no finding. A shift of fewer than four sessions is left out: the end of one
    session differs from its beginning in the work and not in the hour.

    Args:
        at_N: seconds on any clock, the moment of each verdict. seconds_N: what it took, > 0; nan where not known.

    Raises:
        CertificateError: arrays of different length, or a moment that is not finite.
    """
    operator, at = np.asarray(operator_N, dtype=object), np.asarray(at_N, dtype=np.float64)
    accepted, seconds = np.asarray(accepted_N, dtype=np.float64), np.asarray(seconds_N, dtype=np.float64)
    session = np.asarray(session_N, dtype=object)
    if len({operator.size, session.size, at.size, accepted.size, seconds.size}) != 1 or not np.isfinite(at).all():
        raise CertificateError(
            f"got {operator.size} operators, {session.size} sessions, {at.size} moments, "
            f"{accepted.size} verdicts and {seconds.size} times; expected as many of each, and finite moments"
        )
    log_seconds = np.log(np.where(seconds > 0, seconds, np.nan))
    of: dict[str, list[tuple[float, float]]] = {}
    for who in sorted(set(operator_N)):
        mine = np.flatnonzero(operator == who)
        mine = mine[np.argsort(at[mine], kind="stable")]
        cuts = np.flatnonzero(np.diff(at[mine]) > _BREAK_SECONDS) + 1
        shifts = (_change(session[one], at[one], log_seconds[one], accepted[one]) for one in np.split(mine, cuts))
        of[who] = [change for change in shifts if change is not None]
    return _summary([change for changes in of.values() for change in changes]), {
        who: _summary(changes) for who, changes in of.items()
    }


def _change(
    session_N: NDArray[np.object_],
    at_N: NDArray[np.float64],
    log_seconds_N: NDArray[np.float64],
    accepted_N: NDArray[np.float64],
) -> tuple[float, float] | None:
    begun_S, of_N = np.unique(session_N, return_index=True, return_inverse=True)[1:]  # in order of time within a shift
    if begun_S.size < _FEWEST_SESSIONS:
        return None
    late = (at_N[begun_S] > at_N[0] + _LATE * (at_N[-1] - at_N[0]))[of_N]
    timed = np.isfinite(log_seconds_N)
    if min((late & timed).sum(), (~late & timed).sum()) < _FEWEST_VERDICTS:
        return None
    quicker = float(log_seconds_N[late & timed].mean() - log_seconds_N[~late & timed].mean())
    return quicker, float(accepted_N[late].mean() - accepted_N[~late].mean())


def _summary(changes: Sequence[tuple[float, float]]) -> TimePressure:
    n = len(changes)
    if n < _FEWEST_SHIFTS:
        nothing = Figure(value=float("nan"), low=-np.inf, high=np.inf, n=n)
        note = f"not enough data: {n} of {_FEWEST_SHIFTS} shifts"
        return TimePressure(shifts=n, log_seconds=nothing, accepted=nothing, note=note)
    values = np.array(changes)
    mean, half = values.mean(axis=0), student.ppf(0.975, n - 1) * values.std(axis=0, ddof=1) / np.sqrt(n)
    log_seconds, accepted = (
        Figure(value=float(m), low=float(m - h), high=float(m + h), n=n) for m, h in zip(mean, half, strict=True)
    )
    return TimePressure(shifts=n, log_seconds=log_seconds, accepted=accepted)
