"""Simulated operators: each with reliability, speed and taste; they act on cases and review proposals.

They know the truth up to their reliability. An operator's choice depends on (seed, operator, case, events so
far) alone, so asking twice, or asking another operator in between, changes nothing.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from selective_autonomy.desk.case import Case
from selective_autonomy.desk.cases import slip
from selective_autonomy.desk.process import DESK_VERSION
from selective_autonomy.desk.truth import Move, judge, moves
from selective_autonomy.errors import DeskError, IllegalAction
from selective_autonomy.evaluation.replay import Judgement
from selective_autonomy.process.actions import (
    CloseChat,
    Scalar,
    SendReply,
    SendTextToChat,
    SubmitForm,
    TransferChat,
    UIAction,
    Wait,
    head,
)
from selective_autonomy.process.legality import check_action, legal_heads
from selective_autonomy.traces.screen import derive_screen

CREW = 24
# Seconds a step, (mean, median), after STAR's operators (docs/desk.md); clicks, searches and closings, which
# STAR does not have, are taken as quick as a short form.
SECONDS = {"reply": (19.0, 13.0), "form": (17.6, 11.0), "text": (38.0, 32.0), "click": (9.0, 6.0)}
SPEED_SPREAD = 0.25  # sigma of an operator's log speed factor; part of the spreads above
# Taste: the pull of each style on the log scale, for everybody and (spread) between operators. Set so that two
# operators in the same state choose the same head in 60-70 % of states.
PULL = {
    **{"plain": 0.0, "warm": -3.1, "more": -2.7, "single": -3.2, "greeting": -1.0, "text": -2.6},
    **{"greet": -2.8, "hold": -5.0, "search": 1.5, "submit": 0.75, "click": 0.75, "transfer": 0.4, "wait": 1.1},
    **{"close_now": 2.1, "close_timer": -0.9, "close_early": -2.6, "goodbye": -1.5},
}
TASTE_SPREAD = 1.1
# An operator strongly prefers another action when the proposed head is this much less likely than the favourite.
STRONG_PREFERENCE = 0.2
ENVIRONMENT_SHARE, OTHER_SHARE = 0.010, 0.020  # corrections for reasons outside the proposal
REVIEW_SECONDS = (6.5, 5.0)  # mean and median of reading a proposal


@dataclass(frozen=True)
class Operator:
    """One operator. `error_rate`: share of own steps that are wrong; `speed`: factor on seconds; `taste`: by style."""

    id: str
    error_rate: float
    speed: float
    taste: dict[str, float]


def draw_crew(seed: int, size: int = CREW) -> dict[str, Operator]:
    """The desk's operators `op-00`, `op-01`, ... by id."""
    rng = random.Random(f"desk {DESK_VERSION}|{seed}|crew")
    paces = _around_zero(rng, SPEED_SPREAD, size)
    tastes = {style: _around_zero(rng, TASTE_SPREAD, size) for style in PULL}
    return {
        f"op-{number:02d}": Operator(
            id=f"op-{number:02d}",
            error_rate=min(0.12, max(0.02, rng.lognormvariate(math.log(0.05), 0.5))),
            speed=math.exp(paces[number]),
            taste={style: drawn[number] for style, drawn in tastes.items()},
        )
        for number in range(size)
    }


class SimulatedOperator:
    """An operator at work."""

    def __init__(self, operator: Operator, seed: int) -> None:
        self.operator, self._seed = operator, seed

    def choose(self, case: Case) -> tuple[UIAction, float]:
        """The next action on an open case, and the seconds it takes. The case is not changed.

        Raises:
            DeskError: the case is closed.
        """
        rng = self._rng(case, "act")
        known = moves(case)
        if not known:
            raise DeskError(f"case {case.case_id!r} is {case.closed}; there is nothing to do")
        wrong = self._mistake(case, known, rng) if rng.random() < self.operator.error_rate else None
        action = wrong or rng.choices(known, self._weights(known))[0].action
        return action, self._seconds(action, rng)

    def review(self, case: Case, action: UIAction) -> Judgement:
        """Accept or correct a proposed action, with reason and seconds; `truly_wrong` is the desk's truth."""
        rng = self._rng(case, "review")
        truly_wrong = judge(case, action).standing == "wrong"
        seconds = round(_lognormal(rng, *REVIEW_SECONDS) * self.operator.speed, 1)
        chance = rng.random()
        if chance < ENVIRONMENT_SHARE:
            return Judgement(verdict="correct", reason="environment", seconds=seconds, truly_wrong=truly_wrong)
        if chance < ENVIRONMENT_SHARE + OTHER_SHARE:
            return Judgement(verdict="correct", reason="other", seconds=seconds, truly_wrong=truly_wrong)
        # Overlooking a wrong proposal is likelier than inventing a fault in a right one.
        misjudges = rng.random() < self.operator.error_rate * (1.5 if truly_wrong else 0.5)
        if truly_wrong != misjudges:
            return Judgement(verdict="correct", reason="wrong", seconds=seconds, truly_wrong=truly_wrong)
        if not truly_wrong and self._prefers_another(case, action):
            return Judgement(verdict="correct", reason="acceptable", seconds=seconds, truly_wrong=False)
        return Judgement(verdict="accept", seconds=seconds, truly_wrong=truly_wrong)

    def _prefers_another(self, case: Case, action: UIAction) -> bool:
        known = moves(case)
        by_head: dict[str, float] = {}
        for move, weight in zip(known, self._weights(known), strict=True):
            by_head[head(move.action)] = by_head.get(head(move.action), 0.0) + weight
        return by_head.get(head(action), 0.0) < STRONG_PREFERENCE * max(by_head.values())

    def _weights(self, known: Sequence[Move]) -> list[float]:
        """Unnormalised odds of each move; ways that differ in wording only share the odds of their style."""
        styles = [(head(move.action), move.style) for move in known]
        pull = {style: sum(PULL[w] + self.operator.taste[w] for w in style.split()) for _, style in styles}
        return [math.exp(pull[style]) / styles.count((name, style)) for name, style in styles]

    def _seconds(self, action: UIAction, rng: random.Random) -> float:
        match action:
            case SendReply() | CloseChat() | TransferChat():
                kind = "reply"
            case SubmitForm():
                kind = "form"
            case SendTextToChat():
                kind = "text"
            case _:
                kind = "click"
        return max(0.5, round(_lognormal(rng, *SECONDS[kind], less=SPEED_SPREAD) * self.operator.speed, 1))

    def _mistake(self, case: Case, known: Sequence[Move], rng: random.Random) -> UIAction | None:
        """A wrong but legal action of the kind people do: a mistyped form, a reply too early, a wrong queue.

        None when eight tries bring none: the operator then does well after all.
        """
        screen = derive_screen(case.session)
        heads = legal_heads(case.schema, screen)
        for _ in range(8):
            action = self._stumble(case, known, heads, rng)
            try:
                if action is not None:
                    check_action(case.schema, screen, action)
                    if judge(case, action).standing == "wrong":
                        return action
            except IllegalAction:
                continue
        return None

    def _stumble(self, case: Case, known: Sequence[Move], heads: Sequence[str], rng: random.Random) -> UIAction | None:
        form = next((move.action for move in known if isinstance(move.action, SubmitForm)), None)
        if form is not None and form.values and rng.random() < 0.6:
            fact = rng.choice(sorted(form.values))
            return SubmitForm(form=form.form, values={**form.values, fact: slip(rng, fact, str(form.values[fact]))})
        if any(isinstance(move.action, TransferChat) for move in known) and rng.random() < 0.6:
            return TransferChat(queue=rng.choice(case.schema.queues))
        if rng.random() < 0.06:
            return CloseChat(timer=rng.random() < 0.5)
        if rng.random() < 0.1:
            return Wait()
        open_here = case.schema.procedures_by_id[case.run.procedure].replies if case.run is not None else ()
        templates = [t for t in (*open_here, *case.schema.common_replies) if f"send_reply:{t}" in heads]
        template = rng.choice(templates)
        slots: dict[str, Scalar] = {}
        for slot in case.schema.replies_by_id[template].slots:
            if slot.id not in case.context:
                return None
            slots[slot.id] = case.context[slot.id]
        return SendReply(template=template, slots=slots)

    def _rng(self, case: Case, purpose: str) -> random.Random:
        key = f"desk {DESK_VERSION}|{self._seed}|{self.operator.id}|{case.case_id}|{len(case.events)}|{purpose}"
        return random.Random(key)


def _around_zero(rng: random.Random, spread: float, size: int) -> list[float]:
    """Normal draws moved to mean 0: the crew as a whole is the same for every seed."""
    drawn = [rng.gauss(0.0, spread) for _ in range(size)]
    middle = sum(drawn) / size
    return [value - middle for value in drawn]


def _lognormal(rng: random.Random, mean: float, median: float, *, less: float = 0.0) -> float:
    """A draw with the given mean and median; `less`: sigma that another factor already brings."""
    variance = 2 * math.log(mean / median)
    return rng.lognormvariate(math.log(median), math.sqrt(max(variance - less**2, 0.0)))
