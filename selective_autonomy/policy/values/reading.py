"""What a log offers for filling a form: what customers said, word by word, and what was filled in and shown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from selective_autonomy.policy.values.shapes import trimmed
from selective_autonomy.process.actions import Scalar, SendReply, SubmitForm, head
from selective_autonomy.traces.schema import CustomerMessage, OperatorAction, ScreenUpdate, Session

MESSAGES = 12  # newest messages that are read; what is older was filled in somewhere, or is of no use any more
_LONGEST_SPAN = 4  # words: names, dates, short addresses
_SHORT_MESSAGE = 12  # words; in a longer one only spans of names, numbers and known values are offered
_LONGEST_ADDRESS = 10
_SEPARATOR = re.compile(r"[:=#|]+(?=\w)(?!\d\d\b)")  # `id:123` is two words, `7:30` is one
_TOKEN = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?|\d+(?:\.\d+)?")
_ORDINAL = re.compile(r"(?<=\d)(?:st|nd|rd|th)\b")
_NUMBER_WORDS = {
    word: str(number)
    for number, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
    )
}


@lru_cache(maxsize=100_000)
def tokens_of(text: str) -> tuple[str, ...]:
    """The words of a text as they are compared: lower case, `4pm` as `4 pm`, `15th` as `15`, `two` as `2`; no signs."""
    found = _TOKEN.findall(_ORDINAL.sub("", text.lower()))
    return tuple(_NUMBER_WORDS.get(token, token) for token in found)


@dataclass(frozen=True, slots=True)
class Message:
    """A customer message; `after`: the operator's head before it ("" where there is none).

    `forms_before`: how many forms were sent before it.
    """

    text: str
    tokens: tuple[str, ...]
    after: str
    forms_before: int


@dataclass(frozen=True, slots=True)
class Mention:
    """Where a value was last said: `tokens[start:end]` of message `age` (0: the newest). `score` 1: word for word.

    Below 1: the share of the value's telling words that stand there.
    """

    age: int
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class Reading:
    """One open log, read once for all fields of a form. Newest first in every list.

    `filled`, `shown`: (form, field -> value). `trigger`: the kind of the last event.
    """

    messages: tuple[Message, ...]
    filled: tuple[tuple[str, Mapping[str, Scalar]], ...]
    shown: tuple[tuple[str, Mapping[str, Scalar]], ...]
    last_head: str
    trigger: str

    @cached_property
    def places(self) -> dict[str, list[tuple[int, int]]]:
        """Token -> its places (age, position), newest message first."""
        places: dict[str, list[tuple[int, int]]] = {}
        for age, message in enumerate(self.messages):
            for at, token in enumerate(message.tokens):
                places.setdefault(token, []).append((age, at))
        return places

    def mention(self, value: str, weights: Mapping[str, float]) -> Mention | None:
        """The value's latest mention: word for word, else of at least half of its telling words in one message.

        Args:
            weights: token -> how much it tells this value from others; tokens that are not there weigh 1.
        """
        wanted = tokens_of(value)
        if not wanted:
            return None
        for age, at in self.places.get(wanted[0], ()):
            if self.messages[age].tokens[at : at + len(wanted)] == wanted:
                return Mention(age, at, at + len(wanted), 1.0)
        if len(wanted) < 2:
            return None
        different = dict.fromkeys(wanted)  # ordered: of equal tokens the first one counts, and sums come out the same
        total = sum(weights.get(token, 1.0) for token in different)
        heard: dict[int, dict[str, int]] = {}
        for token in different:
            for age, at in self.places.get(token, ()):
                heard.setdefault(age, {}).setdefault(token, at)
        best: Mention | None = None
        for age in sorted(heard):
            score = sum(weights.get(token, 1.0) for token in heard[age]) / total if total > 0 else 0.0
            if score >= 0.5 and (best is None or score > best.score):
                at = heard[age][max(heard[age], key=lambda token: weights.get(token, 1.0))]
                best = Mention(age, at, at + 1, 0.99 * score)
        return best

    def spans(self, known: frozenset[str], common: frozenset[str] = frozenset()) -> Iterator[str]:
        """Stretches of words that may be a value, as they were written, newest message first; may repeat.

        Args:
            known: values in lower case that are offered from long messages, too.
            common: words that many sessions hold; stretches of other ones are offered from long messages, too.
        """
        for message in self.messages:
            yield from _spans(message.text, known, common)


def read_log(session: Session) -> Reading:
    """Read a session as it stands."""
    messages: list[Message] = []
    filled: list[tuple[str, Mapping[str, Scalar]]] = []
    shown: list[tuple[str, Mapping[str, Scalar]]] = []
    last_head, trigger = "", "start"
    for event in session.events:
        match event:
            case CustomerMessage(text=text):
                messages.append(Message(text, tokens_of(text), last_head, len(filled)))
                trigger = "customer"
            case ScreenUpdate(form=form, values=values):
                shown.append((form or "", values))
                trigger = "screen"
            case OperatorAction(action=action):
                last_head, trigger = head(action), "operator"
                match action:
                    case SubmitForm(form=name, values=values):
                        filled.append((name, values))
                    case SendReply(template=name, slots=values) if values:
                        filled.append((name, values))
    return Reading(tuple(messages[: -MESSAGES - 1 : -1]), tuple(filled[::-1]), tuple(shown[::-1]), last_head, trigger)


def telling_weights(values: Iterable[str]) -> dict[str, float]:
    """How much a token tells one of several values from the others: 1 over the number of values that hold it."""
    counts: dict[str, int] = {}
    for value in values:
        for token in dict.fromkeys(tokens_of(value)):
            counts[token] = counts.get(token, 0) + 1
    return {token: 1 / count for token, count in counts.items()}


@lru_cache(maxsize=100_000)
def words_of(text: str) -> tuple[str, ...]:
    """The words of a text in lower case, without the marks around them."""
    return tuple(word for word in map(trimmed, text.lower().split()) if word)


@lru_cache(maxsize=20_000)  # a message is read again at every step that follows it
def _spans(text: str, known: frozenset[str], common: frozenset[str]) -> tuple[str, ...]:
    words = _SEPARATOR.sub(" ", text).split()
    plain = [trimmed(word) for word in words]
    short = len(words) <= _SHORT_MESSAGE
    rare = [bool(word) and bool(common) and word.lower() not in common for word in plain]
    digits = [any(c.isdigit() for c in word) for word in plain]
    spans: list[str] = []
    for start in range(len(words)):
        for end in range(start + 1, min(start + _LONGEST_SPAN, len(words)) + 1):
            span = trimmed(" ".join(words[start:end]))
            if not span:
                continue
            if (
                short
                or all(word[:1].isupper() for word in plain[start:end])
                or any(digits[start:end])
                or all(rare[start:end])
                or span.lower() in known
            ):
                spans.append(span)
        if digits[start]:
            spans += _address(words, digits, start)
            if "$" in plain[start]:
                spans.append(trimmed(plain[start].replace("$", "")))
        number = _NUMBER_WORDS.get(plain[start].lower())
        if number is not None:
            spans.append(number)
    return tuple(spans)


def _address(words: Sequence[str], digits: Sequence[bool], start: int) -> list[str]:
    """From a number over words to the next number, as an address goes from its house to its code."""
    following = next((i for i in range(start + 1, min(start + _LONGEST_ADDRESS, len(words))) if digits[i]), None)
    if following is None or following - start < _LONGEST_SPAN:
        return []
    return [trimmed(" ".join(words[start : following + 1]))]
