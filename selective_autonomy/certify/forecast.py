"""The forecast of time-to-autonomy: on which day a process that is refused today can be certified.

A refusal says how many labels are missing at the error seen. This says when they will be there, and how sure that is:
the population is drawn from what is known of it (Bayesian bootstrap over sessions, Rubin 1981), the rate of labelled
sessions from the recent one (Gamma), future sessions from both, and the certificate is tried on the labels at hand and
those to come, day after day, until it is granted. A planning figure, no promise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from selective_autonomy.certify.sessions import certify_sessions
from selective_autonomy.certify.slices import SliceSpec, certify_slices, slice_codes
from selective_autonomy.errors import CertificateError
from selective_autonomy.frozen import Frozen
from selective_autonomy.params import CertificateParams

FUTURES = 30  # the 10 % and 90 % quantiles of so many are good to about 5 points of probability
RECENT_DAYS = 14.0
_LONGEST = 32  # how far it looks ahead: until there are so many times the labels at hand
_STRIDE = 1.15  # the next day that is tried is later by this factor, so a forecast is coarse by up to 15 %
_DAY = timedelta(days=1)


class Forecast(Frozen):
    """Days from now on which a certificate may be expected. 0: now.

    `days` is the median of the futures drawn, `earliest` and `latest` their 10 % and 90 % quantiles. None: later than
    anybody looks ahead, or never, at the error seen. `sessions_a_day`: the recent rate of labelled sessions.
    `labels`: the labels missing, as the median.
    """

    now: datetime
    days: float | None
    earliest: float | None
    latest: float | None
    labels: int | None
    sessions_a_day: float

    def day(self) -> datetime | None:
        """The day itself."""
        return None if self.days is None else self.now + self.days * _DAY


@dataclass(frozen=True)
class LabelStream:
    """Labelled critical steps with the time their session was done. Rows in any order.

    Args:
        at_of: session id -> when its labels were there. Timezone-aware, every session of `session_of_N`.
        slices, cuts_C: as asked for of the certificate. `action_type_N` None: there is one slice.
    """

    scores_N: NDArray[np.float64]
    wrong_N: NDArray[np.bool_]
    session_of_N: Sequence[str]
    at_of: Mapping[str, datetime]
    slices: tuple[SliceSpec, ...]
    params: CertificateParams
    cuts_C: NDArray[np.float64] | None = None
    action_type_N: Sequence[str] | None = None

    def __post_init__(self) -> None:
        unknown = sorted(set(self.session_of_N) - self.at_of.keys())
        if unknown:
            raise CertificateError(f"{len(unknown)} sessions have no time, e.g. {unknown[:3]}; give when each was done")

    def until(self, now: datetime) -> _Labels:
        """What was labelled by then, by session in order of time."""
        ids = sorted({s for s in self.session_of_N if self.at_of[s] <= now}, key=lambda s: (self.at_of[s], s))
        code = {session_id: i for i, session_id in enumerate(ids)}
        session_N = np.array([code.get(s, -1) for s in self.session_of_N], dtype=np.int64)
        order = np.argsort(session_N, kind="stable")[int((session_N < 0).sum()) :]
        slice_N = slice_codes(self.slices, self.action_type_N, len(self.session_of_N))
        starts = np.searchsorted(session_N[order], np.arange(len(ids) + 1))
        rows = [order[a:b] for a, b in pairwise(starts)]
        return _Labels(self, slice_N, rows, [self.at_of[s] for s in ids])


@dataclass(frozen=True)
class _Labels:
    stream: LabelStream
    slice_N: NDArray[np.int64]
    rows_of_S: list[NDArray[np.int64]]
    at_S: list[datetime]

    def is_certified(self, sessions: NDArray[np.int64]) -> bool:
        """Whether some slice may run on the labels of these sessions; one named twice counts as two."""
        if not sessions.size:
            return False
        rows = np.concatenate([self.rows_of_S[s] for s in sessions])
        session_N = np.repeat(np.arange(sessions.size), [self.rows_of_S[s].size for s in sessions])
        stream, asked = self.stream, self.stream.params
        scores_N, wrong_N = stream.scores_N[rows], stream.wrong_N[rows]
        both = asked.alpha_session is not None
        delta, at_least = asked.delta / (2 if both else 1), 0.0
        if asked.alpha_session is not None:
            threshold = certify_sessions(scores_N, wrong_N, session_N, asked.alpha_session, delta).threshold
            if threshold is None:
                return False
            at_least = threshold
        return certify_slices(
            scores_N,
            wrong_N,
            session_N,
            self.slice_N[rows],
            stream.slices,
            delta,
            "deflated",
            cuts=asked.cuts,
            cuts_C=stream.cuts_C,
            both_ways=both,
        ).may_run(at_least)


def forecast(stream: LabelStream, now: datetime, *, seed: int, futures: int = FUTURES) -> Forecast:
    """When the certificate will be granted, from what was labelled by `now`.

    Assumptions: sessions to come are like those seen (and scored by the same critic), and come at the rate of the last
    RECENT_DAYS days. Errors that nobody has seen yet cannot be foreseen: from few sessions the interval is too narrow.
    Back-tested (`make bench-golive`), the interval holds the day in 53 to 66 % of forecasts, not in 80 %.
    Sees: calibrate (or fit, to try it out), never test.

    Raises:
        CertificateError: no session was labelled by `now`, or all in one moment: there is no rate.
    """
    labels = stream.until(now)
    seen = len(labels.at_S)
    since = max(labels.at_S[0], now - RECENT_DAYS * _DAY) if seen else now
    span = (now - since) / _DAY
    if seen < 2 or span <= 0:
        raise CertificateError(f"{seen} labelled sessions by {now} in {span:g} days give no rate; forecast later")
    recent = sum(at >= since for at in labels.at_S)
    here = np.arange(seen)
    if labels.is_certified(here):
        return Forecast(now=now, days=0.0, earliest=0.0, latest=0.0, labels=0, sessions_a_day=recent / span)
    rng = np.random.default_rng(seed)
    days = np.sort([_days_until_certified(labels, recent, span, rng) for _ in range(futures)])
    low, middle, high = (float(days[round(q * (futures - 1))]) for q in (0.1, 0.5, 0.9))
    a_session = sum(rows.size for rows in labels.rows_of_S) / seen
    return Forecast(
        now=now,
        days=_finite(middle),
        earliest=_finite(low),
        latest=_finite(high),
        labels=None if np.isinf(middle) else round(middle * recent / span * a_session),
        sessions_a_day=recent / span,
    )


def _days_until_certified(labels: _Labels, recent: int, span: float, rng: np.random.Generator) -> float:
    """In one future; inf: not in as long as it looks ahead."""
    seen = len(labels.at_S)
    rate = rng.gamma(recent + 0.5) / span
    to_come = rng.choice(seen, size=_LONGEST * seen, p=rng.dirichlet(np.ones(seen)))
    more = max(1, round(rate))
    while more <= to_come.size:
        if labels.is_certified(np.concatenate([np.arange(seen), to_come[:more]])):
            return float(more / rate)
        more = max(more + 1, round(more * _STRIDE), round(more + rate) if more < 4 * rate else 0)
    return float("inf")


def _finite(days: float) -> float | None:
    return None if np.isinf(days) else days


class BackTest(Frozen):
    """Forecasts made along a stream beside what then happened.

    `certified_after`: days from the first session to the day on which the certificate was first granted; None: it never
    was. `forecasts`: those made before. `days_ahead`, `labels_ahead`: what was left then, one a forecast; empty
    without a day. `mean_error_days`: mean absolute error of the medians that named a day; `mean_error_labels` the
    same in labels. `covered`: share of intervals that hold the day (a `latest` of None has no end). All None without a
    day or a forecast. `late`: share of medians later than it was, or None.
    """

    certified_after: float | None
    forecasts: tuple[Forecast, ...]
    days_ahead: tuple[float, ...] = ()
    labels_ahead: tuple[int, ...] = ()
    mean_error_days: float | None = None
    mean_error_labels: float | None = None
    covered: float | None = None
    late: float | None = None


def back_test(stream: LabelStream, *, seed: int, every_days: int = 1, futures: int = FUTURES) -> BackTest:
    """Walk along the stream day by day: forecast from the past alone, and compare with the day it came to pass.

    From the second day on, every `every_days` days, but never from a single session. The calibrate sessions of a day
    count at its end.
    """
    times = sorted(stream.at_of[s] for s in set(stream.session_of_N))
    if not times:
        raise CertificateError("the stream is empty; give labelled sessions")
    ends = [times[0] + d * _DAY for d in range(1, int((times[-1] - times[0]) / _DAY) + 2)]
    granted = next((end for end in ends if _granted(stream, end)), None)
    made = []
    for end in ends[1::every_days]:
        if granted is not None and end >= granted:
            break
        if sum(at <= end for at in times) < 2:
            continue
        made.append(forecast(stream, end, seed=seed, futures=futures))
    certified_after = None if granted is None else (granted - times[0]) / _DAY
    if granted is None or not made:
        return BackTest(certified_after=certified_after, forecasts=tuple(made))
    actual = [(granted - one.now) / _DAY for one in made]
    labels = [_labels_between(stream, one.now, granted) for one in made]
    off = [abs(one.days - days) for one, days in zip(made, actual, strict=True) if one.days is not None]
    off_labels = [abs(one.labels - n) for one, n in zip(made, labels, strict=True) if one.labels is not None]
    within = [
        one.earliest is not None and one.earliest <= days and (one.latest is None or days <= one.latest)
        for one, days in zip(made, actual, strict=True)
    ]
    late = [one.days is None or one.days > days for one, days in zip(made, actual, strict=True)]
    return BackTest(
        certified_after=certified_after,
        forecasts=tuple(made),
        days_ahead=tuple(actual),
        labels_ahead=tuple(labels),
        mean_error_days=float(np.mean(off)) if off else None,
        mean_error_labels=float(np.mean(off_labels)) if off_labels else None,
        covered=float(np.mean(within)),
        late=float(np.mean(late)),
    )


def _granted(stream: LabelStream, now: datetime) -> bool:
    labels = stream.until(now)
    return labels.is_certified(np.arange(len(labels.at_S)))


def _labels_between(stream: LabelStream, start: datetime, stop: datetime) -> int:
    return sum(start < stream.at_of[s] <= stop for s in stream.session_of_N)
