"""The back office of one case: the records behind the screen, asked by the BPMN script tasks.

A wrong input never raises: it brings the unhelpful answer that a real system would give.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from selective_autonomy.process.actions import Scalar

PRICES = {"Basic 20": "19.00", "Fibre 50": "26.00", "Fibre 150": "32.00", "Fibre 500": "41.00", "Giga 1000": "55.00"}
Screen = dict[str, Scalar]


@dataclass(frozen=True)
class Records:
    """What is true in the systems about one customer; drawn once a case (`desk.cases`).

    `full_days` maps a wanted day that is booked out to the text of the free ones.
    """

    account_number: str
    postcode: str
    name: str
    tariff: str
    in_term_until: str
    outage_until: str
    line: str
    fault_kind: str
    charge: str
    amount: str
    refund_refusal: str
    suspicion: str
    risk: str
    new_postcode: str
    served: bool
    fee: str
    phone_number: str
    number: str
    lock_reason: str
    port_code: str
    valid_until: str
    reference: str
    full_days: dict[str, str] = field(default_factory=dict)

    def services(self) -> dict[str, Callable[..., Screen]]:
        """The functions that BPMN scripts may call, by the names used there."""
        names = (
            "look_up_account",
            "read_outage_map",
            "run_line_test",
            "book_visit",
            "check_charge",
            "pay_refund",
            "check_suspicion",
            "block",
            "check_availability",
            "plan_move",
            "confirm",
            "read_contract",
            "quote_tariff",
            "place_order",
            "check_number",
            "issue_code",
        )
        return {name: getattr(self, name) for name in names}

    def look_up_account(self, account_number: str, postcode: str) -> Screen:
        if account_number != self.account_number:
            return {"account": "no such number"}
        if postcode != self.postcode:
            return {"account": "postcode differs"}
        return {"account": "found", "name": self.name, "current_tariff": self.tariff}

    def read_outage_map(self, postcode: str) -> Screen:
        if self.outage_until and postcode == self.postcode:
            return {"outage": "yes", "restored_by": self.outage_until}
        return {"outage": "none"}

    def run_line_test(self, fault_kind: str) -> Screen:
        return {"line": self.line if fault_kind == self.fault_kind else "symptom not seen"}

    def book_visit(self, visit_date: str, visit_window: str) -> Screen:
        if visit_date in self.full_days:
            return {"visit": "day is full", "free_days": self.full_days[visit_date]}
        return {
            "visit": "booked",
            "visit_date": visit_date,
            "visit_window": visit_window,
            "reference": f"V{self.reference}",
        }

    def check_charge(self, charge: str, amount: str) -> Screen:
        if charge != self.charge or amount != self.amount:
            return {"decision": "no such charge"}
        if self.refund_refusal:
            return {"decision": "refused", "reason": self.refund_refusal}
        return {"decision": "approved", "amount": self.amount}

    def pay_refund(self, refund_to: str) -> Screen:
        days = "3" if refund_to == "account credit" else "5"
        return {"refund": "issued", "amount": self.amount, "refund_to": refund_to, "days": days}

    def check_suspicion(self, suspicion: str) -> Screen:
        if suspicion != self.suspicion:
            return {"risk": "nothing of this kind"}
        return {"risk": "high", "team": "fraud team"} if self.risk == "high" else {"risk": "low"}

    def block(self) -> Screen:
        return {"account": "blocked"}

    def check_availability(self, new_postcode: str) -> Screen:
        if new_postcode != self.new_postcode:
            return {"service": "postcode unknown"}
        return {"service": "available", "fee": self.fee} if self.served else {"service": "not available"}

    def plan_move(self, move_date: str, keep_number: str) -> Screen:
        if move_date in self.full_days:
            return {"move": "day is full", "free_days": self.full_days[move_date]}
        return {"move": "planned", "move_date": move_date, "keep_number": keep_number, "fee": self.fee}

    def confirm(self) -> Screen:
        return {"move": "confirmed", "reference": f"M{self.reference}"}

    def read_contract(self) -> Screen:
        return {"current_tariff": self.tariff, "in_term_until": self.in_term_until or "no term"}

    def quote_tariff(self, tariff: str) -> Screen:
        order = list(PRICES)
        if self.in_term_until and order.index(tariff) < order.index(self.tariff):
            return {"quote": "refused", "reason": f"no downgrade before {self.in_term_until}"}
        return {"quote": "allowed", "tariff": tariff, "price": PRICES[tariff]}

    def place_order(self, tariff_start: str) -> Screen:
        return {"order": "placed", "tariff_start": tariff_start, "reference": f"T{self.reference}"}

    def check_number(self, phone_number: str) -> Screen:
        if phone_number != self.phone_number:
            return {"number": "not on this account"}
        if self.number == "business":
            return {"number": "business", "team": "business desk"}
        if self.number == "locked":
            return {"number": "locked", "reason": self.lock_reason}
        return {"number": "private"}

    def issue_code(self) -> Screen:
        return {"port_code": self.port_code, "valid_until": self.valid_until}
