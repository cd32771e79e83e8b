"""One open case: its log, its BPMN runs and its customer, and what each operator action does to them.

Actions have consequences whether they are right or not; `desk.truth` says which they are. Everything that
happens is a function of the case's draw and of the actions done, so the same actions replay to the same log.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Literal

from selective_autonomy.desk.bpmn import Flows, Run, Shown
from selective_autonomy.desk.cases import draw_case
from selective_autonomy.desk.customers import Customer
from selective_autonomy.desk.process import DESK_VERSION
from selective_autonomy.desk.wording import Meaning, Wording
from selective_autonomy.errors import DeskError
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
)
from selective_autonomy.process.legality import check_action
from selective_autonomy.process.schema import ProcessSchema
from selective_autonomy.traces.schema import (
    CustomerMessage,
    Event,
    OperatorAction,
    Outcome,
    ScreenUpdate,
    Session,
    SystemNote,
)
from selective_autonomy.traces.screen import derive_screen

MOST_ACTIONS = 60  # then the customer has left; a usual case takes about 11
INBOX = "inbox"


class Case:
    """A case being worked. Read its fields freely; only `apply` changes it.

    Args:
        schema, wording, flows: the desk's shared data.
        seed: the desk's seed.
        case_id: `case-<number>` or `new-<number>`.
    """

    def __init__(self, schema: ProcessSchema, wording: Wording, flows: Flows, seed: int, case_id: str) -> None:
        self.schema, self.wording = schema, wording
        self._flows = flows
        self._rng = random.Random(f"desk {DESK_VERSION}|{seed}|{case_id}|clock")
        self.facts = draw_case(seed, case_id, wording)
        self.customer = Customer(self.facts, wording, seed)
        self.run: Run | None = None
        self._runs: dict[str, Run] = {}
        self._submitted: dict[str, dict[str, Scalar]] = {}
        self.context: dict[str, Scalar] = {}
        self.mistyped: set[str] = set()
        self.messages_sent = 0
        self.actions_done = 0
        self.wrong_done = 0
        self.held = self.switch_acknowledged = self.transfer_told = self.goodbye_said = False
        self.closed: Literal["", "closed", "transferred", "left"] = ""
        self._closed_rightly = False
        self.events: list[Event] = [
            ScreenUpdate(at=self.facts.started_at, screen=INBOX, forms=(), controls=()),
            CustomerMessage(at=self.facts.started_at, text=self.customer.open()),
        ]

    @property
    def case_id(self) -> str:
        return self.facts.case_id

    @property
    def session(self) -> Session:
        """The open log as a session whose id is the case id: what `state_digest` is taken of."""
        return Session(
            session_id=self.case_id,
            process_id=self.schema.id,
            process_version=self.schema.version,
            procedures=tuple(p.id for p in self.schema.procedures),
            operator_id="open",
            source="desk",
            events=tuple(self.events),
        )

    @property
    def outcome(self) -> Outcome:
        """How the case ended. `solved`: the wish was settled rightly; `satisfied`: and not too much went wrong."""
        if not self.closed:
            return Outcome()
        both = self.facts.second == "after" and self.customer.switched
        wanted = self.facts.wishes if both else (self.customer.wish,)
        solved = self._closed_rightly and all(self._settled(wish) for wish in wanted)
        satisfied = solved and self.wrong_done <= self.facts.patience
        status: Literal["complete", "abandoned"] = "abandoned" if self.closed == "left" else "complete"
        return Outcome(status=status, answers={"solved": solved, "satisfied": satisfied})

    @property
    def identified(self) -> bool:
        return any(run.identified for run in self._runs.values())

    def apply(
        self, action: UIAction, seconds: float, by: Literal["operator", "autonomy"], *, right: bool
    ) -> list[Event]:
        """Do a legal action `seconds` after the last event and let the world react.

        Args:
            right: the truth about the action (`desk.truth.judge`), decided before it is done.

        Returns:
            The events it caused, the action itself first.

        Raises:
            IllegalAction: the screen does not allow it; nothing was done.
            DeskError: the case is closed.
        """
        if self.closed:
            raise DeskError(f"case {self.case_id!r} is {self.closed}; open another one")
        check_action(self.schema, derive_screen(self.session), action)
        start = len(self.events)
        self.events.append(OperatorAction(at=self.now + timedelta(seconds=seconds), action=action, by=by))
        self.actions_done += 1
        self.wrong_done += not right
        match action:
            case SearchProcedure(query=query):
                self._search(query)
            case SubmitForm(form=form, values=values):
                self._submit(form, values)
            case ClickControl(control=control):
                if self.run is not None:
                    self._show(self.run.click(control))
            case SendReply(template=template):
                self._say(self.wording.by_template[template], right, more=self._offers_more(template))
            case SendTextToChat(text=text):
                self._say(self.wording.read(text), right, more=False)
            case TransferChat():
                self._closed_rightly = right
                if right and self.run is not None:
                    self.run.transferred()
                self.closed = "transferred"
            case CloseChat():
                self._closed_rightly = right
                self.closed = "closed"
            case _:
                self._hear(self.customer.waited_for())
        if not self.closed and self.actions_done >= MOST_ACTIONS:
            self.events.append(SystemNote(at=self.now, text="The customer has left the chat."))
            self.closed = "left"
        return self.events[start:]

    @property
    def now(self) -> datetime:
        return self.events[-1].at

    def _search(self, query: str) -> None:
        name = self.wording.find_procedure(query)
        at = self.now + timedelta(seconds=1)
        if name is None:
            self.events.append(
                ScreenUpdate(at=at, values={"search": "nothing found"}, screen=INBOX, forms=(), controls=())
            )
            self.run = None
            return
        if name not in self._runs:
            services = self.facts.records.services()
            self._runs[name] = Run(self._flows, name, services, identified=self.identified)
        self.run = self._runs[name]
        title = self.schema.procedures_by_id[name].title
        self.events.append(
            ScreenUpdate(at=at, values={"search": title}, screen=name, forms=self.run.forms, controls=self.run.controls)
        )

    def _submit(self, form: str, values: dict[str, Scalar]) -> None:
        if self.run is None:
            raise DeskError(f"form {form!r} was submitted with no procedure open")
        shown = self.run.submit(form, values)
        self.held = False
        self._submitted[form] = dict(values)
        customer = self.customer
        for fact, value in values.items():
            if value != customer.told.get(fact):
                self.mistyped.add(fact)
            else:
                self.mistyped.discard(fact)
        if form in self.run.forms:  # it has to be filled in again
            for fact in values:
                if customer.told.get(fact) not in (None, customer.truths[fact]):
                    customer.doubt(fact)
        for change in shown:
            if "free_days" in change.values:
                day = next(f for f in values if f.endswith("_date"))
                customer.chooses_day(day, str(change.values["free_days"]))
        self._show(shown)

    def _show(self, shown: list[Shown]) -> None:
        if self.run is None:
            return
        for change in shown:
            self.context |= change.values
            self.events.append(
                ScreenUpdate(
                    at=self.now + timedelta(seconds=1),
                    form=change.form,
                    values=change.values,
                    screen=self.run.procedure,
                    forms=self.run.forms,
                    controls=self.run.controls,
                )
            )

    def _say(self, meaning: Meaning | None, right: bool, *, more: bool) -> None:
        """The operator wrote something: the customer reacts to what it means, or is confused by what does not fit."""
        self.messages_sent += 1
        customer = self.customer
        if meaning is None or not right:
            known = meaning is not None and bool(meaning.asks) and all(f in customer.told for f in meaning.asks)
            self._hear(customer.asked(meaning.asks) if meaning and known else customer.confused())
        elif meaning.asks:
            self._hear(customer.asked(meaning.asks))
        elif meaning.tells:
            self._inform(meaning, more)
        elif meaning.answers:
            self._hear(customer.answered())
        else:
            self._hear(self._chat(meaning.id))

    def _chat(self, meaning: str) -> str:
        customer = self.customer
        match meaning:
            case "greet":
                return customer.greeted()
            case "ask_wish":
                return customer.asked_wish()
            case "hold":
                self.held = True
                return customer.held()
            case "take_your_time":
                return customer.waited_for()
            case "steer_back":
                return customer.steered()
            case "acknowledge_switch":
                self.switch_acknowledged = True
                return customer.acknowledged()
            case "tell_transfer":
                self.transfer_told = True
                return customer.acknowledged()
            case "anything_else":
                return customer.asked_more()
            case "goodbye":
                self.goodbye_said = True
                return customer.said_goodbye()
        raise DeskError(f"no reaction to the meaning {meaning!r}; add it to Case._chat")

    def _inform(self, meaning: Meaning, more: bool) -> None:
        run = self.run
        duty = next((d for d in run.duties if d.tell == meaning.tells), None) if run is not None else None
        if run is None or duty is None:
            self._hear(self.customer.confused())
            return
        truths = self.customer.truths
        wrong = [f for f in self._read_out(meaning) if f in truths and self.context.get(f) != truths[f]]
        if more:
            answer, text = self.customer.told_and_asked_more(wrong=wrong)
        else:
            last = meaning.tells not in ("move_summary", "quote")
            answer, text = self.customer.told_duty(meaning.tells, answer=duty.answer, wrong=wrong, last=last)
        before = (run.forms, run.controls)
        run.told(duty, answer)
        self._hear(text, update=(run.forms, run.controls) != before)

    def _hear(self, text: str, *, update: bool = False) -> None:
        """The customer answers after a while; a changed screen is noted just before."""
        at = self.now + timedelta(seconds=round(min(self._rng.lognormvariate(2.5, 0.7), 240.0), 1))
        if update and self.run is not None:
            self.events.append(ScreenUpdate(at=at, forms=self.run.forms, controls=self.run.controls))
        self.events.append(CustomerMessage(at=at, text=text))

    def _offers_more(self, template: str) -> bool:
        return self.wording.by_template[template].replies[template] == "more"

    def _read_out(self, meaning: Meaning) -> tuple[str, ...]:
        """The slots that a message reads out to the customer."""
        return tuple(slot.id for reply in meaning.replies for slot in self.schema.replies_by_id[reply].slots)

    def _settled(self, wish: str) -> bool:
        """The wish's procedure came to its end and no wrong value stayed in its forms."""
        run = self._runs.get(wish)
        if run is None or not run.ended:
            return False
        forms = self.schema.procedures_by_id[wish].forms
        left = ((f, v) for form in forms for f, v in self._submitted.get(form, {}).items())
        return all(value == self.customer.truths[fact] for fact, value in left)


def needs(schema: ProcessSchema, form: str) -> tuple[str, ...]:
    """The facts a form needs before it can be submitted: its required fields."""
    return tuple(field.id for field in schema.forms_by_id[form].fields if field.required)
