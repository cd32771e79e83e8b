"""What became of every proposal: right at which level, in the first three, merely early, and which fields."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selective_autonomy.errors import SplitError
from selective_autonomy.evaluation.replay import ReplayedStep
from selective_autonomy.policy.baselines.ngram import situation_of
from selective_autonomy.process.actions import SubmitForm, UIAction
from selective_autonomy.process.actions import head as head_of
from selective_autonomy.process.comparison import Level, comparable, same_action
from selective_autonomy.process.schema import ProcessSchema
from selective_autonomy.traces.screen import Step, steps

LEVELS: tuple[Level, ...] = ("tool", "loose", "strict")
SEVERAL = "several"  # the procedure of a step that any of its session's procedures could have asked for
_TOP = 3


@dataclass(frozen=True)
class Outcomes:
    """Equally long columns, one row a replayed step.

    Args:
        right: level -> the proposal is the logged action at that level (`process.comparison`).
        right_or_early: level -> right, or the same, at that level, as the *next* action of the operator.
        top3_N: the logged head is among the three likeliest of the proposal.
        form_N: the logged action is a form and the right form was proposed.
    """

    session_of_N: list[str]
    right: dict[Level, NDArray[np.bool_]]
    right_or_early: dict[Level, NDArray[np.bool_]]
    top3_N: NDArray[np.bool_]
    form_N: NDArray[np.bool_]

    def and_wrong(self, unanswered: Sequence[Step]) -> Outcomes:
        """These outcomes, then steps for which there was no proposal: wrong at every level."""
        wrong_M = np.zeros(len(unanswered), dtype=bool)

        def more(column_N: NDArray[np.bool_]) -> NDArray[np.bool_]:
            return np.concatenate([column_N, wrong_M])

        return Outcomes(
            session_of_N=[*self.session_of_N, *(step.session.session_id for step in unanswered)],
            right={level: more(column) for level, column in self.right.items()},
            right_or_early={level: more(column) for level, column in self.right_or_early.items()},
            top3_N=more(self.top3_N),
            form_N=more(self.form_N),
        )


@dataclass(frozen=True)
class FieldOutcome:
    """One field of a form that was proposed where the operator filled that form: `name` is "form.field"."""

    session_id: str
    name: str
    right: bool


def outcomes_of(replayed: Sequence[ReplayedStep]) -> Outcomes:
    """Judge every replayed step against the log.

    Raises:
        SplitError: there is none.
    """
    if not replayed:
        raise SplitError("no replayed steps to evaluate; expected a non-empty split")
    following = _next_actions(replayed)
    right, early = {}, {}
    for level in LEVELS:
        right[level] = np.array([same_action(r.proposal.action, r.step.action, level) for r in replayed])
        early[level] = right[level] | np.array(
            [
                after is not None and same_action(r.proposal.action, after, level)
                for r, after in zip(replayed, following, strict=True)
            ]
        )
    return Outcomes(
        session_of_N=[r.session_id for r in replayed],
        right=right,
        right_or_early=early,
        top3_N=np.array([head_of(r.step.action) in [a.head for a in r.proposal.alternatives[:_TOP]] for r in replayed]),
        form_N=right["tool"] & np.array([isinstance(r.step.action, SubmitForm) for r in replayed]),
    )


def field_outcomes(replayed: Sequence[ReplayedStep]) -> Iterator[FieldOutcome]:
    """Every field that the operator or the proposal filled, where both filled the same form.

    Right: both filled it, with values that mean the same. One that only one of them filled is wrong.
    """
    for r in replayed:
        match r.step.action, r.proposal.action:
            case SubmitForm(form=form, values=logged), SubmitForm(form=proposed_form, values=proposed) if (
                form == proposed_form
            ):
                for name in sorted(logged.keys() | proposed.keys()):
                    both = name in logged and name in proposed
                    same = both and comparable(logged[name]) == comparable(proposed[name])
                    yield FieldOutcome(r.session_id, f"{form}.{name}", same)


def action_type(replayed: ReplayedStep) -> str:
    """The type of what the operator did."""
    return replayed.step.action.type


def trigger(replayed: ReplayedStep) -> str:
    """What the operator answered to: "customer" (new text), "screen" (a form's result), "operator", or "start"."""
    return situation_of(replayed.step.before).trigger


def operator(replayed: ReplayedStep) -> str:
    return replayed.step.session.operator_id


def procedure_of(replayed: ReplayedStep, schema: ProcessSchema) -> str:
    """The procedure a step was done for: the session's only one, or the only one with the logged form, reply or
    control; "several" where more than one or none of them names it."""
    procedures = replayed.step.session.procedures
    if len(procedures) == 1:
        return procedures[0]
    kind, _, name = head_of(replayed.step.action).partition(":")
    owned = {"submit_form": "forms", "send_reply": "replies", "click_control": "controls"}.get(kind)
    known = [schema.procedures_by_id[p] for p in procedures if p in schema.procedures_by_id]
    owners = [p.id for p in known if owned is not None and name in getattr(p, owned)]
    return owners[0] if len(owners) == 1 else SEVERAL


def _next_actions(replayed: Sequence[ReplayedStep]) -> list[UIAction | None]:
    """For each step the operator's next action in the same session; None after the last one."""
    known: dict[str, list[UIAction]] = {}
    following: list[UIAction | None] = []
    for r in replayed:
        if r.session_id not in known:
            known[r.session_id] = [step.action for step in steps(r.step.session)]
        rest = known[r.session_id][r.step.index + 1 :]
        following.append(rest[0] if rest else None)
    return following
