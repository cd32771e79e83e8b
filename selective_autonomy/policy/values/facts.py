"""What train says of fields beyond single steps: usual values, how often each is given, words beside values, codes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from selective_autonomy.contract.actions import argument_fields
from selective_autonomy.policy.values.association import LEFT_OUT, WordAssociation
from selective_autonomy.policy.values.reading import Reading, read_log, tokens_of, words_of
from selective_autonomy.process.actions import Scalar, SendReply, SubmitForm
from selective_autonomy.process.actions import head as head_of
from selective_autonomy.process.comparison import comparable
from selective_autonomy.process.schema import ProcessSchema
from selective_autonomy.traces.schema import CustomerMessage, ScreenUpdate, Session
from selective_autonomy.traces.screen import Choice, steps

_USUAL_KEPT = 200
_CODES_KEPT = 400
_LEAST_RESULTS = 20
_PERSONAL_SHARE = 0.2  # "no" is an answer that was once taken for a name; a name is said to be taken for one
_COMMON = 5  # sessions: fewer may all be of one customer, and a word of fewer tells no values apart
_COUNTED_WORDS = 2000  # beside values, the most frequent


@dataclass(frozen=True)
class FieldFacts:
    """Counts over sessions; none of a personal field.

    `usual`: "head field" -> values given at least twice and how often. `times`: "head field" -> how often the head was
    done. `association`: words beside values. `common`: words that customers of many sessions said.
    """

    usual: Mapping[str, Mapping[Scalar, int]]
    times: Mapping[str, int]
    association: WordAssociation
    common: frozenset[str]


def field_facts(sessions: Iterable[Session], schema: ProcessSchema, choice: Choice | None = None) -> FieldFacts:
    """Count what operators gave in the chosen steps, all by default, and what customers had said."""
    sessions = list(sessions)
    usual, times = _usual(sessions, schema, choice)
    said_in: Counter[str] = Counter()
    tokens_in: Counter[str] = Counter()
    for session in sessions:
        texts = [event.text for event in session.events if isinstance(event, CustomerMessage)]
        # In order of mention: of words that were said equally often the first ones are kept, and a set has no order.
        said_in.update(list(dict.fromkeys(word for text in texts for word in words_of(text))))
        tokens_in.update(list(dict.fromkeys(token for text in texts for token in tokens_of(text))))
    _drop_personal(tokens_in, sessions, schema)
    _drop_personal(said_in, sessions, schema)
    counted = frozenset(word for word, n in tokens_in.most_common(_COUNTED_WORDS) if n >= _COMMON)
    association = WordAssociation.count(_said_beside(sessions, schema, choice), counted)
    return FieldFacts(usual, times, association, frozenset(word for word, n in said_in.items() if n >= _COMMON))


def category_codes(
    train: Iterable[Session], schema: ProcessSchema, choice: Choice | None = None
) -> dict[str, dict[str, int]]:
    """A number for each form, field, head, frequent word, frequent result and usual value of train.

    No word is among the words that customers mostly say as a value of a personal field.
    """
    train = list(train)
    words: Counter[str] = Counter()
    results: Counter[str] = Counter()
    personal = {spec.id for form in schema.forms for spec in form.fields if spec.pii}
    for session in train:
        for event in session.events:
            match event:
                case CustomerMessage(text=text):
                    words.update(tokens_of(text))
                case ScreenUpdate(values=shown):
                    results.update(result_texts({k: v for k, v in shown.items() if k not in personal}))
    _drop_personal(words, train, schema)
    values: Counter[str] = Counter()
    for given in _usual(train, schema, choice)[0].values():
        for value, n in given.items():
            values[comparable(value)] += n
    heads = sorted({head_of(step.action) for session in train for step in steps(session)})
    fields = sorted({spec.id for name in heads if is_known(schema, name) for spec in argument_fields(schema, name)})
    return {
        "form": {name.partition(":")[2]: i for i, name in enumerate(heads)},
        "field": {name: i for i, name in enumerate(fields)},
        "head": {name: i for i, name in enumerate(heads)},
        "word": {word: i for i, (word, _) in enumerate(words.most_common(_CODES_KEPT))},
        "result": {text: i for i, (text, n) in enumerate(results.most_common(_CODES_KEPT)) if n >= _LEAST_RESULTS},
        "value": {value: i for i, (value, _) in enumerate(values.most_common(_CODES_KEPT))},
    }


def given_values(action: object) -> Mapping[str, Scalar] | None:
    match action:
        case SubmitForm(values=values) | SendReply(slots=values):
            return values
    return None


def is_known(schema: ProcessSchema, head: str) -> bool:
    kind, _, name = head.partition(":")
    return name in (schema.forms_by_id if kind == "submit_form" else schema.replies_by_id)


def result_texts(shown: Mapping[str, Scalar]) -> list[str]:
    """What a result says in words: status and message values, not names and numbers of one case."""
    return [f"{name}: {value}" for name, value in shown.items() if isinstance(value, str)]


def words_since_sent(log: Reading, sent: int) -> tuple[frozenset[str], frozenset[str]]:
    """The words of the newest message, and of all that were said since this form was last sent."""
    now = frozenset(log.messages[0].tokens) if log.messages else frozenset()
    return now, frozenset(token for message in log.messages if message.forms_before > sent for token in message.tokens)


def last_sent(log: Reading, form: str) -> int:
    """Forms that had been sent before this form was last sent; -1: it never was."""
    return next((len(log.filled) - i - 1 for i, (name, _) in enumerate(log.filled) if name == form), -1)


def _said_beside(
    train: Iterable[Session], schema: ProcessSchema, choice: Choice | None
) -> Iterator[tuple[str, str, frozenset[str]]]:
    """(field, value, words) of every field that is not personal: of the newest message, of all since the last time."""
    for session in train:
        for step in steps(session, choice):
            name, given = head_of(step.action), given_values(step.action)
            if given is None or not is_known(schema, name):
                continue
            specs = [spec for spec in argument_fields(schema, name) if not spec.pii]
            if not specs:
                continue
            log = read_log(step.before)
            now, since = words_since_sent(log, last_sent(log, name.partition(":")[2]))
            for spec in specs:
                value = comparable(given[spec.id]) if spec.id in given else LEFT_OUT
                yield spec.id, value, now
                yield f"{spec.id} since", value, since


def _drop_personal(words: Counter[str], sessions: Iterable[Session], schema: ProcessSchema) -> None:
    """Take out what is mostly said as a value of a personal field."""
    for word, times in _personal_words(sessions, schema).items():
        if times >= _PERSONAL_SHARE * words[word]:
            del words[word]


def _personal_words(train: Iterable[Session], schema: ProcessSchema) -> Counter[str]:
    """How often each word stood in a value of a personal field."""
    words: Counter[str] = Counter()
    for session in train:
        for step in steps(session):
            name, given = head_of(step.action), given_values(step.action)
            if given is not None and is_known(schema, name):
                for spec in argument_fields(schema, name):
                    if spec.pii and spec.id in given:
                        words.update(tokens_of(comparable(given[spec.id])))
    return words


def _usual(
    sessions: Iterable[Session], schema: ProcessSchema, choice: Choice | None
) -> tuple[dict[str, dict[Scalar, int]], dict[str, int]]:
    seen: dict[str, Counter[tuple[str, Scalar]]] = {}
    times: Counter[str] = Counter()
    for session in sessions:
        for step in steps(session, choice):
            name, given = head_of(step.action), given_values(step.action)
            if given is None or not is_known(schema, name):
                continue
            for spec in argument_fields(schema, name):
                times[f"{name} {spec.id}"] += 1
                if spec.id in given and not spec.pii:
                    value = given[spec.id]
                    # The type's name keeps 1 and True apart, which are one key to a Counter.
                    seen.setdefault(f"{name} {spec.id}", Counter())[type(value).__name__, value] += 1
    usual = {
        key: {value: n for (_, value), n in counter.most_common(_USUAL_KEPT) if n > 1} for key, counter in seen.items()
    }
    return usual, dict(times)
