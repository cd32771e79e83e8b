"""The labels of a process measured: first verdicts, second reviews and probes, from the copilot stage on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from dagster_project.judged_steps import JudgedStep, read_judged
from dagster_project.process_data import sessions_of
from dagster_project.resources.workspace import ProcessPaths
from selective_autonomy.evaluation.replay import Judgement
from selective_autonomy.keyed_draw import drawn
from selective_autonomy.labels.probes import perturbed, planted
from selective_autonomy.labels.report import CREW, Answer, LabelQuality, label_quality
from selective_autonomy.labels.reviews import Review
from selective_autonomy.labels.second_reviews import chosen, second_reviews
from selective_autonomy.params import LabelParams, ProcessParams
from selective_autonomy.process.actions import UIAction
from selective_autonomy.process.schema import ProcessSchema, load_process

if TYPE_CHECKING:
    from selective_autonomy.desk.feedback import DeskFeedback

REVIEW_COLUMNS = (
    "session_id", "index", "split", "item", "kind", "operator_id", "says_wrong", "reason", "seconds", "truly_wrong",
    "probability", "action",
)  # fmt: skip


@dataclass(frozen=True)
class MeasuredLabels:
    """`reviews`: a row (`REVIEW_COLUMNS`) each verdict on what several judged or whose truth is known."""

    quality: LabelQuality
    answers: list[Answer]
    reviews: pd.DataFrame


def measure_labels(paths: ProcessPaths, process: ProcessParams, params: LabelParams) -> MeasuredLabels:
    """Measure the labels of fit and calibrate; test keeps its own for the figures reported of it.

    Only the embedded desk can be asked again. A log's seconds are those of the step and not of reading a proposal, so
    they say nothing about rubber stamps or haste.
    """
    schema = load_process(paths.schema)
    judged = read_judged(paths.feedback, sessions_of(paths, "fit", "calibrate"))
    asked = process.feedback == "desk"
    reviews = desk_reviews(judged, schema, process.seed, params) if asked else pd.DataFrame(columns=REVIEW_COLUMNS)
    answers = [_answer(one, timed=asked) for one in judged]
    given = [Review(*row) for row in zip(reviews["item"], reviews["operator_id"], reviews["says_wrong"], strict=True)]
    probes = reviews[reviews["kind"] == "probe"]
    known = {item: bool(truth) for item, truth in zip(probes["item"], probes["truly_wrong"], strict=True)}
    return MeasuredLabels(label_quality(answers, given, known, seed=process.seed), answers, reviews)


def desk_reviews(judged: Sequence[JudgedStep], schema: ProcessSchema, seed: int, params: LabelParams) -> pd.DataFrame:
    """Second reviews and probes of critical steps by the desk's own crew, and the first verdicts beside them.

    A probe is the logged action, or that action made wrong, one as often as the other; the desk adjudicates both.
    """
    from selective_autonomy.desk.feedback import DeskFeedback

    feedback, key = DeskFeedback(seed), f"labels of desk {seed}".encode()
    of = {
        (one.replayed.session_id, one.replayed.step.index): one
        for one in judged
        if schema.tier(one.proposal.action.type).tier == "critical"
    }
    steps = [(*at, one.replayed.step.session.operator_id) for at, one in of.items()]
    again = second_reviews(steps, feedback.crew, key=key, rate=params.second_review_rate)
    rows = [
        _Question(one, "first", one.replayed.step.session.operator_id, one.proposal.action, sample.probability).row(
            one.judgement
        )
        for sample in again
        for one in [of[sample.session_id, sample.index]]
    ]
    questions = [
        _Question(one, "second", who, one.proposal.action, sample.probability)
        for sample in again
        for one in [of[sample.session_id, sample.index]]
        for who in sample.operators
    ]
    for probe in planted(of, key=key, rate=params.probe_rate):
        at = (probe.session_id, probe.index)
        action, (who,) = of[at].replayed.step.action, chosen(feedback.crew, *at, key=key, count=1)
        if drawn(key, "made wrong", at[0], str(at[1]), rate=0.5):
            action = perturbed(action, schema, key=key, parts=(at[0], str(at[1]))) or action
        questions.append(_Question(of[at], "probe", who, action, probe.probability))
    by_session: dict[str, list[_Question]] = {}
    for question in questions:
        by_session.setdefault(question.one.replayed.session_id, []).append(question)
    for asked in by_session.values():
        rows += _asked(feedback, asked)
    return pd.DataFrame(rows, columns=REVIEW_COLUMNS)


@dataclass(frozen=True)
class _Question:
    """An action put to one operator at a judged step."""

    one: JudgedStep
    kind: Literal["first", "second", "probe"]
    who: str
    action: UIAction
    probability: float

    def row(self, said: Judgement) -> dict[str, object]:
        session_id, index = self.one.replayed.session_id, self.one.replayed.step.index
        return {
            "session_id": session_id,
            "index": index,
            "split": self.one.split,
            "item": f"probe:{session_id}:{index}" if self.kind == "probe" else f"{session_id}:{index}",
            "kind": self.kind,
            "operator_id": self.who,
            "says_wrong": JudgedStep(self.one.replayed, said, self.one.split).wrong,
            "reason": said.reason,
            "seconds": said.seconds,
            "truly_wrong": said.truly_wrong,
            "probability": self.probability,
            "action": self.action.model_dump_json(),
        }


def _asked(feedback: DeskFeedback, questions: Sequence[_Question]) -> list[dict[str, object]]:
    """The answers to the questions of one session, which is worked again once."""
    by_index: dict[int, list[_Question]] = {}
    for question in questions:
        by_index.setdefault(question.one.replayed.step.index, []).append(question)
    said = feedback.judge_again(
        questions[0].one.replayed.step.session,
        {index: [(question.who, question.action) for question in here] for index, here in by_index.items()},
    )
    return [
        question.row(judgement)
        for index, here in by_index.items()
        for question, judgement in zip(here, said[index], strict=True)
    ]


def facts_of(quality: LabelQuality) -> dict[str, Any]:
    """The report as flat numbers and texts, for Dagster. What cannot be told is left out."""
    told = [one for one in quality.reliability if one.sensitivity.n and one.false_alarm.n]
    numbers = {
        "answers": quality.answers,
        "reviewed_by_several": quality.agreement.items,
        "pairs_agree": quality.agreement.pairs_agree.value,
        "alpha": quality.agreement.alpha,
        "probes_wrong": quality.probes[CREW].wrong,
        "probes_caught": quality.probes[CREW].sensitivity.value,
        "probes_right": quality.probes[CREW].right,
        "probes_alarmed": quality.probes[CREW].false_alarm.value,
        "operators_told": len(told),
        "late_in_shift_log_seconds": quality.pressure[CREW].log_seconds.value,
        "late_in_shift_accepted": quality.pressure[CREW].accepted.value,
    }
    too_few = [f"{pace.operator_id} ({pace.note})" for pace in quality.paces if pace.verdict == "not_enough_data"]
    return {
        **{name: value for name, value in numbers.items() if value == value},  # nan: not told
        "flagged_operators": ", ".join(quality.flagged) or "none",
        "flagged_verdicts": len(quality.flagged_items),
        "pace_not_told": ", ".join(too_few) or "none",
    }


def _answer(one: JudgedStep, *, timed: bool) -> Answer:
    step = one.replayed.step
    return Answer(
        item=f"{one.replayed.session_id}:{step.index}",
        session_id=one.replayed.session_id,
        operator_id=step.session.operator_id,
        accepted=one.judgement.verdict == "accept",
        reason=one.judgement.reason,
        at=step.session.events[step.position].at.timestamp(),
        seconds=one.judgement.seconds if timed else None,
        length=len(one.proposal.action.model_dump_json()),
    )
