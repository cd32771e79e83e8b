"""What a case is about: customer, records, wishes and quirks, drawn from (desk seed, case id) alone."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from selective_autonomy.desk.process import DESK_VERSION
from selective_autonomy.desk.records import PRICES, Records
from selective_autonomy.desk.wording import Wording
from selective_autonomy.errors import DeskError

EPOCH = datetime(2025, 1, 6, tzinfo=UTC)
DAYS = 60  # logged cases are spread over this many days; new ones follow after it
CASE_ID = re.compile(r"(case|new)-\d{1,9}")

# Shares of cases by procedure: faults lead a provider's desk, fraud is rare.
PROCEDURES = {
    "line_fault": 0.27,
    "refund": 0.19,
    "tariff_change": 0.18,
    "move_home": 0.15,
    "number_port": 0.12,
    "fraud_report": 0.09,
}
TONES = {"terse": 0.2, "plain": 0.35, "polite": 0.18, "annoyed": 0.14, "chatty": 0.13}
FACTS = {  # what each procedure asks of the customer, beyond the account
    "line_fault": ("fault_kind", "visit_date", "visit_window"),
    "refund": ("charge", "amount", "refund_to"),
    "fraud_report": ("suspicion",),
    "move_home": ("new_postcode", "move_date", "keep_number"),
    "tariff_change": ("tariff", "tariff_start"),
    "number_port": ("phone_number",),
}
ACCOUNT = ("account_number", "postcode")
CHOICES: dict[str, tuple[str, ...]] = {
    "fault_kind": ("no connection", "slow", "drops out", "noise on the line"),
    "visit_window": ("morning", "afternoon"),
    "charge": ("late fee", "double payment", "roaming", "equipment", "setup fee"),
    "refund_to": ("bank card", "account credit"),
    "suspicion": ("unknown charges", "sim swap", "phishing message", "changed password"),
    "keep_number": ("yes", "no"),
    "tariff_start": ("today", "next bill"),
}
# How often a customer first gives a wrong value, by fact.
WRONG_FIRST = {
    "account_number": 0.12,
    "postcode": 0.08,
    "amount": 0.08,
    "phone_number": 0.08,
    "new_postcode": 0.06,
    "fault_kind": 0.04,
    "suspicion": 0.04,
    "charge": 0.04,
}
VOLUNTEERED = {  # how often a fact is in the first message already
    "account_number": 0.22,
    "postcode": 0.12,
    "fault_kind": 0.5,
    "charge": 0.45,
    "amount": 0.25,
    "suspicion": 0.5,
    "new_postcode": 0.15,
    "move_date": 0.25,
    "tariff": 0.4,
    "phone_number": 0.2,
}
REFUSALS = ("older than 90 days", "part of the contract", "already refunded", "agreed in the terms")
MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
LOCKS = ("unpaid bill", "contract still runs", "a port is already under way")


@dataclass(frozen=True)
class CaseFacts:
    """Everything about a case that is settled before the first message.

    `truths`: what the customer really wants and has, by fact. `firsts`: wrong or cut-off values said first
    (`cut` says which are cut off). `early`: facts volunteered in the first message. `second`: how a second wish
    comes up: instead of the first at the `switch_at`-th question, or after it. `looks_for`: the fact that
    has to be looked up. `off_topic_at`: at which question the customer chats instead of answering (0: never).
    """

    case_id: str
    started_at: datetime
    tone: str
    wishes: tuple[str, ...]
    second: Literal["", "instead", "after"]
    switch_at: int
    vague: bool
    truths: dict[str, str]
    firsts: dict[str, str]
    cut: frozenset[str]
    early: frozenset[str]
    looks_for: str
    off_topic_at: int
    asks_question: bool
    restart_works: bool
    other_tariff: str
    patience: int
    records: Records


def draw_case(seed: int, case_id: str, wording: Wording) -> CaseFacts:
    """Draw a case. The same seed and id give the same case on every machine.

    Raises:
        DeskError: the id is not `case-<number>` or `new-<number>`.
    """
    if not CASE_ID.fullmatch(case_id):
        raise DeskError(f"no case {case_id!r} on this desk; expected case-<number> or new-<number>")
    rng = random.Random(f"desk {DESK_VERSION}|{seed}|{case_id}|facts")
    started = EPOCH + timedelta(days=rng.randrange(DAYS) + DAYS * case_id.startswith("new"))
    started += timedelta(seconds=rng.randrange(8 * 3600, 20 * 3600))
    wishes = [_pick(rng, PROCEDURES)]
    second: Literal["", "instead", "after"] = rng.choices(("", "instead", "after"), (0.90, 0.06, 0.04))[0]
    if second:
        wishes.append(rng.choice([p for p in PROCEDURES if p != wishes[0]]))
    truths, records = _draw_records(rng, wording, started)
    firsts, cut = _draw_slips(rng, truths)
    volunteered = {fact: share for fact, share in VOLUNTEERED.items() if fact in (*ACCOUNT, *FACTS[wishes[0]])}
    return CaseFacts(
        case_id=case_id,
        started_at=started,
        tone=_pick(rng, TONES),
        wishes=tuple(wishes),
        second=second,
        switch_at=rng.randint(1, 3),
        vague=rng.random() < 0.15,
        truths=truths,
        firsts=firsts,
        cut=cut,
        early=frozenset(f for f, p in volunteered.items() if rng.random() < p),
        looks_for=rng.choices(("", "account_number", "amount", "phone_number"), (0.72, 0.2, 0.04, 0.04))[0],
        off_topic_at=rng.choices((0, 1, 2, 3), (0.72, 0.08, 0.12, 0.08))[0],
        asks_question=rng.random() < 0.3,
        restart_works=rng.random() < 0.55,
        other_tariff=rng.choice([t for t in PRICES if t not in (truths["tariff"], records.tariff)])
        if rng.random() < 0.2
        else "",
        patience=rng.randint(1, 3),
        records=records,
    )


def day_text(day: datetime) -> str:
    """A day as the desk's forms take it, e.g. `14 May`."""
    return f"{day.day} {MONTHS[day.month - 1]}"


def _draw_records(rng: random.Random, wording: Wording, started: datetime) -> tuple[dict[str, str], Records]:
    days = [day_text(started + timedelta(days=rng.randint(2, 20))) for _ in range(2)]
    current, wanted = rng.sample(list(PRICES), 2)
    truths = {fact: rng.choice(options) for fact, options in CHOICES.items()}
    truths |= {
        "account_number": str(rng.randrange(10_000_000, 100_000_000)),
        "postcode": _postcode(rng),
        "new_postcode": _postcode(rng),
        "phone_number": f"07{rng.randrange(10**9):09d}",
        "amount": f"{rng.randint(4, 120)}.{rng.choice(('00', '50', '99', '25', '40', '75'))}",
        "visit_date": days[0],
        "move_date": days[1],
        "tariff": wanted,
    }
    full_days = {
        day: " or ".join(day_text(started + timedelta(days=d)) for d in sorted(rng.sample(range(21, 29), 2)))
        for day in days
        if rng.random() < 0.22
    }
    until = day_text(started + timedelta(days=rng.randint(40, 300)))
    records = Records(
        account_number=truths["account_number"],
        postcode=truths["postcode"],
        name=f"{rng.choice(wording.names['first'])} {rng.choice(wording.names['last'])}",
        tariff=current,
        in_term_until=until if rng.random() < 0.5 else "",
        outage_until=f"{rng.randint(13, 22)}:{rng.choice(('00', '30'))}" if rng.random() < 0.25 else "",
        line=rng.choices(("fault", "ok"), (0.55, 0.45))[0],
        fault_kind=truths["fault_kind"],
        charge=truths["charge"],
        amount=truths["amount"],
        refund_refusal=rng.choice(REFUSALS) if rng.random() < 0.45 else "",
        suspicion=truths["suspicion"],
        risk="high" if rng.random() < (0.25 if truths["suspicion"] == "phishing message" else 0.85) else "low",
        new_postcode=truths["new_postcode"],
        served=rng.random() < 0.78,
        fee=rng.choice(("0.00", "15.00", "25.00", "30.00")),
        phone_number=truths["phone_number"],
        number=rng.choices(("private", "business", "locked"), (0.55, 0.25, 0.2))[0],
        lock_reason=rng.choice(LOCKS),
        port_code=f"PAC{rng.randrange(100_000, 1_000_000)}",
        valid_until=day_text(started + timedelta(days=30)),
        reference=str(rng.randrange(1000, 10_000)),
        full_days=full_days,
    )
    return truths, records


def _draw_slips(rng: random.Random, truths: dict[str, str]) -> tuple[dict[str, str], frozenset[str]]:
    firsts: dict[str, str] = {}
    cut: set[str] = set()
    for fact, share in WRONG_FIRST.items():
        if rng.random() < share:
            firsts[fact] = slip(rng, fact, truths[fact])
    for fact in ("account_number", "phone_number"):
        if fact not in firsts and rng.random() < 0.07:
            firsts[fact] = truths[fact][: rng.randint(4, len(truths[fact]) - 1)]
            cut.add(fact)
    return firsts, frozenset(cut)


def slip(rng: random.Random, fact: str, value: str) -> str:
    """A wrong value of the same form: another choice, or one digit or day off."""
    if fact in CHOICES:
        return rng.choice([v for v in CHOICES[fact] if v != value])
    if fact == "tariff":
        return rng.choice([t for t in PRICES if t != value])
    if fact in ("visit_date", "move_date"):
        day, _, month = value.partition(" ")
        return f"{int(day) + 1 if int(day) < 28 else int(day) - 1} {month}"
    digits = [i for i, c in enumerate(value) if c.isdigit()]
    at = rng.choice(digits[2:] if fact == "phone_number" else digits)  # all numbers start with 07
    return f"{value[:at]}{rng.choice([d for d in '123456789' if d != value[at]])}{value[at + 1 :]}"


def _postcode(rng: random.Random) -> str:
    area = "".join(rng.choices("ABCDEGHKLMNPRSTW", k=rng.choice((1, 2))))
    return f"{area}{rng.randint(1, 29)} {rng.randint(1, 9)}{''.join(rng.choices('ABDEFGHJLNPQRSTUWXYZ', k=2))}"


def _pick(rng: random.Random, shares: dict[str, float]) -> str:
    names: Sequence[str] = tuple(shares)
    return rng.choices(names, tuple(shares.values()))[0]
