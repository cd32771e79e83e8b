"""Labels that come in day by day, of a critic whose truth is known: what a forecast of time-to-autonomy is tried on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from selective_autonomy.certify.forecast import LabelStream
from selective_autonomy.certify.slices import one_slice
from selective_autonomy.evaluation.simulated_critic import SimulatedCritic
from selective_autonomy.params import CertificateParams

START = datetime(2026, 1, 1, tzinfo=UTC)


def draw_stream(
    critic: SimulatedCritic, params: CertificateParams, *, days: float, sessions_a_day: float, seed: int
) -> LabelStream:
    """Sessions that are done at any time of `days` from START on, all alike (a Poisson process), every step labelled.

    Args:
        params: what is asked for of the one slice. sessions_a_day: on average.
    """
    rng = np.random.default_rng(seed)
    days_S = np.sort(rng.uniform(0, days, rng.poisson(days * sessions_a_day)))
    scores_N, wrong_N, session_N = critic.draw_sessions(days_S.size, rng)
    at_of = {str(s): START + timedelta(days=float(day)) for s, day in enumerate(days_S)}
    return LabelStream(scores_N, wrong_N, [str(s) for s in session_N], at_of, one_slice(params.alpha), params)
