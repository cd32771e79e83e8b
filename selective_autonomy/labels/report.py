"""Label quality in one report: reasons, pace, shifts, agreement, reliability, probes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from selective_autonomy.frozen import Frozen
from selective_autonomy.labels.agreement import Agreement, agreement
from selective_autonomy.labels.probes import ProbeAnswers, probe_answers
from selective_autonomy.labels.reasons import Reasons, reasons
from selective_autonomy.labels.reliability import OperatorReliability, Reliability
from selective_autonomy.labels.reviews import Review
from selective_autonomy.labels.rubber_stamps import Pace, rubber_stamps
from selective_autonomy.labels.time_pressure import TimePressure, time_pressure


class Answer(Frozen):
    """One answer to a proposal in the copilot stage.

    `item`: the proposal; `session_id`: what it came up in. `at`: seconds on any clock. `seconds`: from shown to
    answered, None where that was not measured. `length`: characters of the proposal.
    """

    item: str
    session_id: str
    operator_id: str
    accepted: bool
    reason: str | None
    at: float
    seconds: float | None
    length: int


class LabelQuality(Frozen):
    """What the labels are worth. Two operators' answers to one proposal, or a known truth, are in `reviews` alone.

    `flagged`: operators who accept unread; `flagged_items`: proposals they accepted, for whoever leaves them out.
    `crew`: under this name the crew's own stands among the operators' of reasons, pressure and probes.
    """

    answers: int
    reasons: dict[str, Reasons]
    paces: tuple[Pace, ...]
    flagged: tuple[str, ...]
    flagged_items: tuple[str, ...]
    pressure: dict[str, TimePressure]
    agreement: Agreement
    reliability: tuple[OperatorReliability, ...]
    probes: dict[str, ProbeAnswers]


CREW = "crew"


def label_quality(
    answers: Sequence[Answer], reviews: Sequence[Review], known: Mapping[str, bool], *, seed: int
) -> LabelQuality:
    """Measure the labels. Sees: fit and calibrate, as what is learnt of operators may enter a certificate.

    Args:
        reviews: every verdict on proposals that several operators judged, and on planted probes.
        known: item -> truly wrong, of probes. seed: of bootstrap intervals.
    """
    operator_N = [one.operator_id for one in answers]
    accepted_N = [one.accepted for one in answers]
    seconds_N = [float("nan") if one.seconds is None else one.seconds for one in answers]
    crew_reasons, of_operator = reasons(operator_N, accepted_N, [one.reason for one in answers])
    session_N = [one.session_id for one in answers]
    at_N = [one.at for one in answers]
    crew_pressure, under_pressure = time_pressure(operator_N, session_N, at_N, accepted_N, seconds_N)
    paces = rubber_stamps(operator_N, accepted_N, seconds_N, [one.length for one in answers])
    flagged = {pace.operator_id for pace in paces if pace.verdict == "flagged"}
    crew_probes, probed = probe_answers(
        (r.operator_id, known[r.item], r.says_wrong) for r in reviews if r.item in known
    )
    return LabelQuality(
        answers=len(answers),
        reasons={CREW: crew_reasons, **of_operator},
        paces=paces,
        flagged=tuple(sorted(flagged)),
        flagged_items=tuple(one.item for one in answers if one.accepted and one.operator_id in flagged),
        pressure={CREW: crew_pressure, **under_pressure},
        agreement=agreement(reviews, seed=seed),
        reliability=Reliability.fit(reviews, known).operators(),
        probes={CREW: crew_probes, **probed},
    )
