"""Simulated customers: they say what they want in their own words, forget, mistype, stray and change their mind.

A customer's answer depends on what the operator's message meant, never on its exact words.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal

from selective_autonomy.desk.cases import ACCOUNT, CHOICES, CaseFacts
from selective_autonomy.desk.process import DESK_VERSION
from selective_autonomy.desk.wording import Wording

Pending = Literal["", "looking", "off_topic", "question"]
QUESTIONS = {  # the one thing customers of a procedure like to ask
    "line_fault": "visit_cost",
    "refund": "refund_rules",
    "fraud_report": "fraud_liability",
    "move_home": "move_gap",
    "tariff_change": "tariff_fee",
    "number_port": "port_gap",
}
REFUSED = ("refund_refused", "not_available", "tariff_refused", "port_refused")
FORGETS_ONE = 0.25  # asked for two things, answers one
SPARES_WORDS = 0.25  # says that all is done without being asked


class Customer:
    """One customer during one case.

    `told` holds what the customer has said and that can be used, by fact (it may be wrong); `doubted` the
    facts that were said and did not work. `pending` is what the customer waits for: time to look something
    up, a way back from small talk, or an answer to the question `topic`. `truths` moves when minds change.
    """

    def __init__(self, facts: CaseFacts, wording: Wording, seed: int) -> None:
        self.facts, self._phrases = facts, wording.customers
        self._rng = random.Random(f"desk {DESK_VERSION}|{seed}|{facts.case_id}|customer")
        self.truths = dict(facts.truths)
        self.told: dict[str, str] = {}
        self.doubted: set[str] = set()
        self.pending: Pending = ""
        self.topic = ""
        self.wish = facts.wishes[0]
        self.wish_is_clear = not facts.vague
        self.switched = False
        self.has_no_more = False
        self._firsts = dict(facts.firsts)
        self._outstanding: tuple[str, ...] = ()
        self._asked = 0
        self._may_look, self._may_stray, self._may_ask = bool(facts.looks_for), True, facts.asks_question
        self._second = facts.second

    def open(self) -> str:
        """The first message."""
        return self._say([self._wish() if self.wish_is_clear else self._pick("vague")], opener=True, closer=True)

    def greeted(self) -> str:
        """Answer to a hello that asks for nothing."""
        return self._say([self._pick("greeting_back")])

    def asked_wish(self) -> str:
        """Answer to: what is it about?"""
        if self.wish_is_clear:
            return self._say([self._pick("repeat"), self._pick("wishes", self.wish)], join=" ")
        self.wish_is_clear = True
        return self._say([self._wish()], closer=True)

    def asked(self, facts: Sequence[str]) -> str:
        """Answer to a question for facts: they are given, or something gets in the way."""
        if all(fact in self.told for fact in facts) and not self.pending:
            return self._say([self._pick("repeat"), self._state(facts)], join=" ")
        self._asked += 1
        self.pending, self._outstanding = "", tuple(facts)
        if self._second == "instead" and self._asked >= self.facts.switch_at:
            self._second, self.switched = "", True
            self.wish = self.facts.wishes[1]
            return self._say([self._pick("switch"), self._wish()], join=" ")
        if self._may_stray and self._asked == self.facts.off_topic_at:
            self._may_stray, self.pending = False, "off_topic"
            return self._say([self._pick("off_topic")])
        if self._may_look and self.facts.looks_for in facts:
            self._may_look, self.pending = False, "looking"
            return self._say([self._pick("looking")])
        missing = [fact for fact in facts if fact not in self.told]
        if len(missing) > 1 and self._rng.random() < FORGETS_ONE:
            missing = [self._rng.choice(missing)]
        return self._say([self._give(missing or list(facts))])

    def waited_for(self) -> str:
        """What comes when the operator waits."""
        if self.pending == "looking":
            self.pending = ""
            return self._say([self._give([f for f in self._outstanding if f not in self.told])])
        return self._say([self._pick("waiting")])

    def steered(self) -> str:
        """Answer to: back to your request, please."""
        self.pending = ""
        missing = [f for f in self._outstanding if f not in self.told]
        return self._say([self._give(missing)]) if missing else self._say([self._pick("patience")])

    def held(self) -> str:
        """Answer to: one moment please."""
        return self._say([self._pick("patience")])

    def told_duty(self, tell: str, *, answer: str | None, wrong: Sequence[str], last: bool) -> tuple[bool | None, str]:
        """Answer to being informed, and the yes or no that the procedure waits for (None: nothing to decide).

        `wrong`: facts that the screen holds otherwise than the customer wants. `last`: nothing is left to do.
        """
        if answer == "works":
            works = self.facts.restart_works
            return works, self._say([self._pick("works" if works else "works_not")])
        if wrong:
            return False, self._say([self._pick("disagree"), self._state(wrong)], join=" ")
        if tell == "quote" and self.facts.other_tariff and self.truths["tariff"] == self.facts.truths["tariff"]:
            self.truths["tariff"] = self.facts.other_tariff
            return False, self._say(["hm, too much" if self._rng.random() < 0.5 else "no", self._state(["tariff"])])
        if answer == "agreed" and not last:
            return True, self._say([self._pick("agree")])
        accepted = True if answer else None
        topic = QUESTIONS[self.wish]
        if self._may_ask and (topic == "refund_rules") == (tell == "refund_refused"):
            self._may_ask, self.pending, self.topic = False, "question", topic
            return accepted, self._say([self._pick("questions", topic)])
        return accepted, self._thanks("accept_refusal" if tell in REFUSED else "thanks")

    def told_and_asked_more(self, *, wrong: Sequence[str]) -> tuple[bool | None, str]:
        """Answer to being informed and offered more help in one message."""
        if wrong:
            return False, self._say([self._pick("disagree"), self._state(wrong)], join=" ")
        return True, self.asked_more()

    def answered(self) -> str:
        """Reaction to the answer to a question."""
        self.pending, self.topic = "", ""
        return self._thanks("thanks")

    def asked_more(self) -> str:
        """Answer to: anything else?"""
        if self._second == "after":
            self._second, self.switched = "", True
            self.wish = self.facts.wishes[1]
            return self._say([self._pick("second_wish"), self._wish()], join=" ")
        self.has_no_more = True
        return self._say([self._pick("no_more")])

    def said_goodbye(self) -> str:
        self.has_no_more = True
        return self._say([self._pick("bye")])

    def acknowledged(self) -> str:
        return self._say([self._pick("patience")])

    def confused(self) -> str:
        """Reaction to a message that does not fit."""
        if self.pending == "question":
            return self._say([self._pick("questions", self.topic)])
        return self._say([self._pick("confused")])

    def chooses_day(self, fact: str, free_days: str) -> None:
        """The wanted day is booked out: another of the free ones is wanted now."""
        self.truths[fact] = self._rng.choice(free_days.split(" or "))
        self.told.pop(fact, None)
        self.doubted.add(fact)

    def doubt(self, fact: str) -> None:
        """What was said did not work and must be asked again."""
        self.told.pop(fact, None)
        self.doubted.add(fact)

    def _thanks(self, kind: str) -> str:
        if self._second != "after" and self._rng.random() < SPARES_WORDS:
            self.has_no_more = True
            return self._say([self._pick(kind), self._pick("and_no_more")])
        return self._say([self._pick(kind)])

    def _wish(self) -> str:
        """The wish in words, with what is volunteered; a fact can stand for the wish itself."""
        wish = self._pick("wishes", self.wish)
        if self.switched:
            return wish
        given = sorted(f for f in self.facts.early if f not in ACCOUNT) + [f for f in ACCOUNT if f in self.facts.early]
        if not given:
            return wish
        speaks_for_itself = given[0] in ("fault_kind", "suspicion") and self._rng.random() < 0.4
        said = self._give(given)
        return said if speaks_for_itself else f"{wish}. {said}"

    def _give(self, facts: Sequence[str]) -> str:
        """Say facts, first wrong or cut off where the case has it so."""
        said = []
        for fact in facts:
            value = self.truths[fact]
            again = fact in self.doubted
            if fact in self._firsts and not again:
                value = self._firsts.pop(fact)
                if fact in self.facts.cut:
                    self.doubted.add(fact)
                    said.append(self._pick("incomplete", value=value))
                    continue
            self.told[fact] = value
            said.append((self._pick("correct_fact") if again else "") + self._phrase(fact, value))
        return self._pick("joins").join(said)

    def _state(self, facts: Sequence[str]) -> str:
        """Say facts as they truly are."""
        self.told |= {fact: self.truths[fact] for fact in facts}
        return self._pick("joins").join(self._phrase(f, self.truths[f]) for f in facts)

    def _phrase(self, fact: str, value: str) -> str:
        if fact in CHOICES:
            return self._pick("facts", fact, value)
        return self._pick("facts", fact, value=self._written(fact, value))

    def _written(self, fact: str, value: str) -> str:
        """The value as a person might write it."""
        odd = self._rng.random()
        if fact.endswith("postcode") and odd < 0.15:
            return value.lower()
        if fact.endswith("_date") and odd < 0.25:
            day, _, month = value.partition(" ")
            return f"{month} {day}" if odd < 0.12 else f"the {_ordinal(int(day))} of {month}"
        if fact == "account_number" and odd < 0.1:
            return f"{value[:4]} {value[4:]}"
        if fact == "phone_number" and odd < 0.15:
            return f"{value[:5]} {value[5:]}"
        return value

    def _pick(self, *path: str, value: str = "") -> str:
        found = self._phrases
        for key in path:
            found = found[key]
        if isinstance(found, dict):
            raise TypeError(f"wording {path} is a mapping, expected a list of phrases")
        phrase = str(self._rng.choice(found))
        return phrase.replace("{value}", value)

    def _say(self, parts: Sequence[str], *, join: str = ", ", opener: bool = False, closer: bool = False) -> str:
        words = join.join(part for part in parts if part)
        lead = self._pick("openers", self.facts.tone) if opener else ""
        tail = self._pick("closers", self.facts.tone) if closer else ""
        stop = "." if tail and words[-1] not in ".?!" else ""
        return self._roughen(" ".join(part for part in (lead, words + stop, tail) if part))

    def _roughen(self, text: str) -> str:
        """Typing as it happens: mostly lower case, dropped full stops, a slip in a long word. Values stay as said."""
        rng = self._rng
        if rng.random() < 0.5:
            text = text[:1].upper() + text[1:]
        if rng.random() < 0.5:
            text = text.rstrip(".")
        if rng.random() < 0.12:
            words = text.split(" ")
            long = [i for i, w in enumerate(words) if len(w) > 5 and w.isalpha() and w.islower()]
            if long:
                i = rng.choice(long)
                at = rng.randrange(1, len(words[i]) - 2)
                w = words[i]
                words[i] = w[:at] + w[at + 1] + w[at] + w[at + 2 :]
            text = " ".join(words)
        return text


def _ordinal(day: int) -> str:
    ending = "th" if day in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return f"{day}{ending}"
