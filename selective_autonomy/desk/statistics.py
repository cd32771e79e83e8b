"""How hard the desk is, in numbers comparable with STAR's: steps, seconds, agreement, and a cheap policy's accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median
from typing import Literal

from pydantic import Field

from selective_autonomy.desk.embedded import EmbeddedDesk
from selective_autonomy.desk.operators import SimulatedOperator, draw_crew
from selective_autonomy.desk.simulate import on_duty
from selective_autonomy.desk.truth import judge, moves
from selective_autonomy.errors import TraceError
from selective_autonomy.frozen import Frozen
from selective_autonomy.policy.baselines.regression import RegressionHeads
from selective_autonomy.process.actions import SendReply, SendTextToChat, SubmitForm, UIAction, head
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.screen import steps

Kind = Literal["reply", "form", "text", "other"]


class Seconds(Frozen):
    """Seconds of operator time a step."""

    n: int
    mean: float
    median: float


class DeskStatistics(Frozen):
    """Shares are in [0, 1]. `seconds`: by kind of step. `session_seconds`: operator time a session."""

    sessions: int
    steps_mean: float
    steps_8_to_15: float
    seconds: dict[Kind, Seconds]
    session_seconds: Seconds
    solved: float
    operators: int
    procedures: dict[str, float]


class Agreement(Frozen):
    """Two operators in the same state: how often the same head, and how often an operator's action is wrong."""

    states: int
    same_head: float = Field(ge=0, le=1)
    same_operator_again: float = Field(ge=0, le=1)
    wrong: float = Field(ge=0, le=1)


class RegressionScore(Frozen):
    """The baseline on other cases: `tool` = the logged head, `true` = a head that is right or equivalent."""

    train_sessions: int
    steps: int
    tool: float = Field(ge=0, le=1)
    top3: float = Field(ge=0, le=1)
    true: float = Field(ge=0, le=1)


def desk_statistics(sessions: Sequence[Session]) -> DeskStatistics:
    """Count what the logs hold.

    Raises:
        TraceError: no sessions.
    """
    if not sessions:
        raise TraceError("no sessions to describe; expected at least one")
    seconds: dict[Kind, list[float]] = {}
    lengths, totals = [], []
    for session in sessions:
        own = [(step.action, step.seconds or 0.0) for step in steps(session)]
        lengths.append(len(own))
        totals.append(sum(s for _, s in own))
        for action, took in own:
            seconds.setdefault(_kind(action), []).append(took)
    strata = [session.labels.get("stratum", "all") for session in sessions]
    return DeskStatistics(
        sessions=len(sessions),
        steps_mean=fmean(lengths),
        steps_8_to_15=fmean(8 <= n <= 15 for n in lengths),
        seconds={kind: _seconds(values) for kind, values in sorted(seconds.items())},
        session_seconds=_seconds(totals),
        solved=fmean(session.outcome.answers.get("solved", False) for session in sessions),
        operators=len({session.operator_id for session in sessions}),
        procedures={name: strata.count(name) / len(strata) for name in sorted(set(strata))},
    )


def operator_agreement(seed: int, cases: int) -> Agreement:
    """Ask in every state of `cases` cases: the operator on duty, another one, and the first on a second thought.

    The state then moves on by the action of the one on duty.
    """
    desk = EmbeddedDesk(seed)
    crew = draw_crew(seed)
    names = sorted(crew)
    same, again, wrong = [], [], []
    for number in range(cases):
        case = desk.new_case(f"case-{number:06d}")
        first = on_duty(seed, case.case_id, names)
        other = names[(names.index(first) + 1 + number % (len(names) - 1)) % len(names)]
        duty, peer, second_thought = (
            SimulatedOperator(crew[first], seed),
            SimulatedOperator(crew[other], seed),
            SimulatedOperator(crew[first], seed + 1),
        )
        while not case.closed:
            action, seconds = duty.choose(case)
            same.append(head(action) == head(peer.choose(case)[0]))
            again.append(head(action) == head(second_thought.choose(case)[0]))
            right = judge(case, action).standing != "wrong"
            wrong.append(not right)
            case.apply(action, seconds, "operator", right=right)
    return Agreement(states=len(same), same_head=fmean(same), same_operator_again=fmean(again), wrong=fmean(wrong))


def regression_score(seed: int, train: Sequence[Session], test: Sequence[Session]) -> RegressionScore:
    """Fit the TF-IDF regression on `train` and score it on `test`; the truth is known by re-doing the test cases.

    Raises:
        TraceError: there are no steps to score, or a session does not replay on the desk of this seed.
    """
    desk = EmbeddedDesk(seed)
    regression = RegressionHeads.fit(train, desk.schema)
    tool, top3, true = [], [], []
    for session in test:
        logged = list(steps(session))
        ranked = iter(regression.rank_steps(session))
        case = desk.new_case(session.labels["case"])
        for step in logged:
            heads = next(ranked).names[:3]
            tool.append(heads[0] == head(step.action))
            top3.append(head(step.action) in heads)
            true.append(heads[0] in {head(move.action) for move in moves(case)})
            right = judge(case, step.action).standing != "wrong"
            case.apply(step.action, step.seconds or 0.0, "operator", right=right)
        if tuple(case.events) != session.events:
            raise TraceError(f"session {session.session_id!r} does not replay on the desk of seed {seed}")
    if not tool:
        raise TraceError("the test sessions hold no steps; nothing to score")
    return RegressionScore(
        train_sessions=len(train), steps=len(tool), tool=fmean(tool), top3=fmean(top3), true=fmean(true)
    )


def _kind(action: UIAction) -> Kind:
    match action:
        case SendReply():
            return "reply"
        case SubmitForm():
            return "form"
        case SendTextToChat():
            return "text"
        case _:
            return "other"


def _seconds(values: Sequence[float]) -> Seconds:
    return Seconds(n=len(values), mean=fmean(values), median=median(values))
