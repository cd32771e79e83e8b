"""What the desk knows: which actions are right in a state, which are as good, which are wrong and what they cost.

A pure function of the case's state: the ready BPMN tasks, what the customer has said, and what the chat
is waiting for. Nothing here looks at a policy, an operator or a random number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from selective_autonomy.desk.case import Case, needs
from selective_autonomy.desk.cases import ACCOUNT
from selective_autonomy.desk.wording import Meaning, fill, normalise
from selective_autonomy.frozen import Frozen
from selective_autonomy.process.actions import (
    ClickControl,
    CloseChat,
    Scalar,
    SearchProcedure,
    SendReply,
    SendTextToChat,
    SubmitForm,
    TransferChat,
    UIAction,
    Wait,
)

Standing = Literal["right", "equivalent", "wrong"]


@dataclass(frozen=True)
class Move:
    """An action that is right or equivalent now; `style` is what an operator has a taste for."""

    action: UIAction
    style: str
    standing: Literal["right", "equivalent"]


class Verdict(Frozen):
    """The truth about one action. `cost_seconds`: operator seconds to repair it, 0 unless wrong."""

    standing: Standing
    cost_seconds: float
    style: str = ""


def judge(case: Case, action: UIAction) -> Verdict:
    """The truth about an action on a case as it stands now. Legal or not: an illegal action is wrong."""
    for move in moves(case):
        if _same(case, move.action, action):
            return Verdict(standing=move.standing, cost_seconds=0.0, style=move.style)
    return Verdict(standing="wrong", cost_seconds=case.schema.tier(action.type).cost)


def moves(case: Case) -> tuple[Move, ...]:
    """Every action that is right or equivalent now, right ones first. Empty once the case is closed."""
    if case.closed:
        return ()
    return tuple(sorted(_moves(case), key=lambda move: move.standing != "right"))


def _moves(case: Case) -> Iterator[Move]:
    customer, run = case.customer, case.run
    say = case.wording.meanings
    if customer.pending == "looking":
        yield Move(Wait(), "wait", "right")
        yield from _saying(case, say["take_your_time"])
        return
    if customer.pending == "question":
        for meaning in say.values():
            if meaning.answers == customer.topic:
                yield from _saying(case, meaning, right=True)
        return
    if not customer.wish_is_clear:
        yield from _saying(case, say["ask_wish"], right=True)
        return
    if customer.pending == "off_topic":
        yield from _saying(case, say["steer_back"], right=True)
    if run is None or run.procedure != customer.wish:
        yield from _opening(case)
        return
    if run.ended:
        yield from _closing(case)
        return
    yield from _working(case)


def _opening(case: Case) -> Iterator[Move]:
    """The procedure has to be found; before that one may say hello or ask who it is."""
    say = case.wording.meanings
    for word in case.wording.searches[case.customer.wish]:
        yield Move(SearchProcedure(query=word), "search", "right")
    if case.customer.switched and not case.switch_acknowledged:
        yield from _saying(case, say["acknowledge_switch"])
    if not case.messages_sent:
        yield from _saying(case, say["greet"], style="greet")
    if not case.identified and case.messages_sent < 2:
        missing = tuple(f for f in ACCOUNT if f not in case.customer.told)
        yield from _asking(case, missing, right=False)


def _working(case: Case) -> Iterator[Move]:
    """What the BPMN run has ready: forms to fill or to ask for, controls, duties in the chat."""
    run, customer = case.run, case.customer
    if run is None:
        return
    ready = False
    for form in run.forms:
        missing = tuple(f for f in needs(case.schema, form) if f not in customer.told)
        if missing:
            yield from _asking(case, missing, right=True)
        else:
            ready = True
            values: dict[str, Scalar] = {f: customer.told[f] for f in needs(case.schema, form)}
            yield Move(SubmitForm(form=form, values=values), "submit", "right")
            mistyped = [f for f in values if f in case.mistyped]
            for meaning in case.wording.meanings.values():
                if mistyped and meaning.recheck and set(meaning.asks) <= set(mistyped):
                    yield from _saying(case, meaning)
    for control in run.controls:
        ready = True
        yield Move(ClickControl(control=control), "click", "right")
    for duty in run.duties:
        for meaning in case.wording.meanings.values():
            if meaning.tells == duty.tell:
                yield from _saying(case, meaning, right=True)
    if run.queue is not None:
        yield Move(TransferChat(queue=run.queue), "transfer", "right")
        if not case.transfer_told:
            yield from _saying(case, case.wording.meanings["tell_transfer"])
    if ready and not case.held:
        yield from _saying(case, case.wording.meanings["hold"], style="hold")


def _closing(case: Case) -> Iterator[Move]:
    """All is done: offer more help, say goodbye, close."""
    say = case.wording.meanings
    if case.customer.has_no_more:
        yield Move(CloseChat(timer=False), "close_now", "right")
        yield Move(CloseChat(timer=True), "close_timer", "equivalent")
        if not case.goodbye_said:
            yield from _saying(case, say["goodbye"], style="goodbye")
        return
    yield from _saying(case, say["anything_else"], right=True)
    yield Move(CloseChat(timer=True), "close_early", "equivalent")


def _asking(case: Case, missing: tuple[str, ...], *, right: bool) -> Iterator[Move]:
    """Ask for all that is missing at once, or for one of it."""
    doubted = case.customer.doubted
    for meaning in case.wording.meanings.values():
        asks = set(meaning.asks)
        if not asks or not asks <= set(missing):
            continue
        if meaning.recheck and not asks <= doubted:
            continue
        whole = asks == set(missing)
        rechecks = len(missing) == 1 and missing[0] in doubted and not _has_no_recheck(case, missing[0])
        yield from _saying(case, meaning, right=right and whole and (meaning.recheck or not rechecks))


def _has_no_recheck(case: Case, fact: str) -> bool:
    return not any(m.recheck and m.asks == (fact,) for m in case.wording.meanings.values())


def _saying(case: Case, meaning: Meaning, *, right: bool = False, style: str = "") -> Iterator[Move]:
    """Every way to say it: each template with its slots, each free text. The plain template is the right one."""
    values = case.context
    for template, tone in meaning.replies.items():
        if tone == "greeting" and case.messages_sent:
            continue
        slots = {slot.id: values.get(slot.id) for slot in case.schema.replies_by_id[template].slots}
        filled = {name: value for name, value in slots.items() if value is not None}
        if len(filled) == len(slots):
            standing: Literal["right", "equivalent"] = "right" if right and tone == "plain" else "equivalent"
            yield Move(SendReply(template=template, slots=filled), f"{style} {tone}".strip(), standing)
    for text in meaning.texts:
        words = fill(text, values)
        if words is not None:
            yield Move(SendTextToChat(text=words), f"{style} text".strip(), "equivalent")


def _same(case: Case, known: UIAction, got: UIAction) -> bool:
    """Whether two actions do the same: values compared as text without case, free text by its words."""
    if isinstance(known, SearchProcedure) and isinstance(got, SearchProcedure):
        return case.wording.find_procedure(got.query) == case.customer.wish
    if isinstance(known, SendTextToChat) and isinstance(got, SendTextToChat):
        return normalise(known.text) == normalise(got.text)
    if isinstance(known, SubmitForm) and isinstance(got, SubmitForm):
        return known.form == got.form and _plain(known.values) == _plain(got.values)
    if isinstance(known, SendReply) and isinstance(got, SendReply):
        return known.template == got.template and _plain(known.slots) == _plain(got.slots)
    return known == got


def _plain(values: Mapping[str, Scalar]) -> dict[str, str]:
    return {name: " ".join(str(value).lower().split()) for name, value in values.items()}
