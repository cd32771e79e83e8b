"""What is known of each candidate of a field, as numbers: where it comes from, where the case stands, how it looks.

Part of the training rows hide which form, field and replies they are about, so that a process that was never seen is
filled by what all forms have in common.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from selective_autonomy.policy.values.candidates import Candidate
from selective_autonomy.policy.values.facts import FieldFacts, last_sent, result_texts, words_since_sent
from selective_autonomy.policy.values.reading import Mention, Reading, tokens_of, words_of
from selective_autonomy.policy.values.shapes import shape
from selective_autonomy.process.comparison import comparable
from selective_autonomy.process.schema import FieldSpec

CATEGORIES = (
    "form",
    "field",
    "last_head",
    "trigger",
    "first_word",
    "result",
    "after",
    "left",
    "right",
    "value",
    "kind",
    "before_left",
    "shape",
)
NAMES = (
    *CATEGORIES,
    *(
        "required",
        "submitted",
        "had_field",
        "candidates",
        "mentioned",
        "mentioned_now",
        "mentioned_since",
        "last_words",
        "asked",
    ),
    *("absent", "listed", "usual", "usual_share", "filled", "filled_here", "shown", "next_number"),
    *(
        "score",
        "age",
        "since",
        "asked_before",
        "message_words",
        "whole",
        "place",
        "from_end",
        "others_before",
        "others_after",
    ),
    *("capital", "words", "digits", "all_digits", "length", "expression", "used_elsewhere", "words_now", "words_since"),
    *("words_now_ahead", "words_since_ahead", "rare", "chosen", "chosen_before", "heard", "heard_ahead", "heard_age"),
)
_CHOSEN, _CHOSEN_BEFORE = NAMES.index("chosen"), NAMES.index("chosen_before")
_TOKEN = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W\d_A-Za-z]+|\d+")


class CandidateColumns:
    """The columns `NAMES` of a field's candidates. Deterministic.

    Args:
        codes: a number for each form, field, head, word, result and value, see `category_codes`.
        weights: "head field" -> how much each word tells its values apart.
    """

    def __init__(
        self,
        facts: FieldFacts,
        codes: Mapping[str, Mapping[str, int]],
        weights: Callable[[str], Mapping[str, float]],
    ) -> None:
        self._facts, self._codes, self._weights = facts, codes, weights

    def rows(
        self,
        head: str,
        spec: FieldSpec,
        candidates: Sequence[Candidate],
        log: Reading,
        *,
        hidden: bool = False,
    ) -> list[list[float]]:
        """One row a candidate, columns as `NAMES`. `hidden`: forms, fields, replies and values are not named."""
        form = head.partition(":")[2]
        key = f"{head} {spec.id}"
        here = [values for name, values in log.filled if name == form]
        # Forms sent up to this form's last submission: what customers said later may have changed its values.
        sent = last_sent(log, form)
        newest = log.messages[0].tokens if log.messages else ()
        field_words = _words(f"{spec.id} {spec.title}")
        code = self._code if not hidden else (lambda kind, name: -1)
        total = self._facts.times.get(key, 0)
        now, since = words_since_sent(log, sent)
        known = not spec.pii
        elsewhere = {comparable(v) for _, values in log.filled for k, v in values.items() if k != spec.id}
        mentions = [c.mention for c in candidates if c.mention is not None and c.mention.score > 0.9]
        ends_at, starts_at = _edges(mentions)
        shared = [
            code("form", form),
            code("field", spec.id),
            code("head", log.last_head),
            ("start", "customer", "screen", "operator").index(log.trigger),
            self._code("word", newest[0]) if newest else -1,
            self._result(log) if not hidden else -1,
        ]
        state = [
            spec.required,
            len(here),
            -1 if not here else spec.id in here[0],
            len(candidates),
            len(mentions),
            sum(m.age == 0 for m in mentions),
            sum(log.messages[m.age].forms_before > sent for m in mentions),
            len(newest),
            _overlap(field_words, log.last_head),
        ]
        kind = _kind(spec)
        keys = [c.key for c in candidates]
        association = self._facts.association
        words_now = association.scores(spec.id, keys, now) if known else [0.0] * len(keys)
        words_since = association.scores(f"{spec.id} since", keys, since) if known else [0.0] * len(keys)
        heard, heard_age = _heard(log, candidates, self._weights(key))
        weighed = zip(
            words_now, words_since, _ahead(words_now), _ahead(words_since), heard, _ahead(heard), heard_age, strict=True
        )
        rows = []
        for c, (by_now, by_since, now_ahead, since_ahead, said, said_ahead, age) in zip(
            candidates, weighed, strict=True
        ):
            usual = c.usual
            m = c.mention
            message = log.messages[m.age] if m else None
            rows.append(
                [
                    *shared,
                    code("head", message.after) if message else -1,
                    self._code("word", message.tokens[m.start - 1]) if m and message and m.start else -1,
                    self._code("word", message.tokens[m.end]) if m and message and m.end < len(message.tokens) else -1,
                    code("value", c.key) if c.value is not None else -1,
                    kind,
                    self._code("word", message.tokens[m.start - 2]) if m and message and m.start > 1 else -1,
                    shape(c.key),
                    *state,
                    c.value is None,
                    c.listed,
                    math.log1p(usual),
                    usual / total if total else 0.0,
                    c.filled,
                    c.filled_here,
                    c.shown,
                    c.next_number,
                    *(
                        (
                            m.score,
                            m.age,
                            message.forms_before > sent,
                            _overlap(field_words, message.after),
                            len(message.tokens),
                            m.end - m.start == len(message.tokens),
                            m.start,
                            len(message.tokens) - m.end,
                            bisect_right(ends_at[m.age], m.start),
                            len(starts_at[m.age]) - bisect_left(starts_at[m.age], m.end),
                        )
                        if m and message
                        else (0, *[-1] * 9)
                    ),
                    isinstance(c.value, str) and c.value[:1].isupper(),
                    c.key.count(" ") + 1,
                    any(ch.isdigit() for ch in c.key),
                    c.key.isdigit(),
                    len(c.key),
                    "(" in c.key,
                    c.key in elsewhere,
                    by_now,
                    by_since,
                    now_ahead,
                    since_ahead,
                    self._rarity(c.key),
                    0,
                    False,
                    said,
                    said_ahead,
                    age,
                ]
            )
        return rows

    def _rarity(self, key: str) -> float:
        """The share of its words that few sessions of train hold; 0 for none."""
        words = words_of(key)
        return sum(word not in self._facts.common for word in words) / len(words) if words else 0.0

    def _result(self, log: Reading) -> int:
        """The code of what the latest result says, -1 where it says nothing usual."""
        texts = result_texts(log.shown[0][1]) if log.shown else []
        return next((self._codes["result"][text] for text in texts if text in self._codes["result"]), -1)

    def _code(self, kind: str, name: str) -> int:
        return self._codes[kind].get(name, -1)


def with_chosen(x_CF: NDArray[Any], candidates: Sequence[Candidate], chosen: Sequence[str]) -> NDArray[Any]:
    """The rows, changed in place: how many of the form's fields before were filled, and whether with this value."""
    x_CF[:, _CHOSEN] = len(chosen)
    x_CF[:, _CHOSEN_BEFORE] = [c.key in chosen for c in candidates]
    return x_CF


def _edges(mentions: Sequence[Mention]) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    """Age of a message -> where mentions in it end, and where they start, both rising."""
    ends: dict[int, list[int]] = defaultdict(list)
    starts: dict[int, list[int]] = defaultdict(list)
    for mention in mentions:
        ends[mention.age].append(mention.end)
        starts[mention.age].append(mention.start)
    for edges in (*ends.values(), *starts.values()):
        edges.sort()
    return ends, starts


def _ahead(scores: Sequence[float]) -> list[float]:
    """By how much each is ahead of the best other one; below 0: behind."""
    best, second = (*sorted(scores, reverse=True), 0.0)[:2]
    return [score - (second if score == best else best) for score in scores]


def _heard(
    log: Reading, candidates: Sequence[Candidate], weights: Mapping[str, float]
) -> tuple[list[float], list[float]]:
    """The share of each candidate's telling words that was said anywhere, and how many messages ago on average."""
    shares, ages = [], []
    for c in candidates:
        tokens = dict.fromkeys(tokens_of(c.key))
        total = sum(weights.get(token, 1.0) for token in tokens)
        said = sorted(token for token in tokens if token in log.places)
        shares.append(sum(weights.get(token, 1.0) for token in said) / total if total and c.listed else 0.0)
        ages.append(sum(log.places[token][0][0] for token in said) / len(said) if said else -1.0)
    return shares, ages


def _kind(spec: FieldSpec) -> int:
    schema = spec.schema_
    kinds = {schema.get("type"), *(branch.get("type") for branch in schema.get("anyOf", ()))}
    if "boolean" in kinds:
        return 0
    if {"integer", "number"} & kinds:
        return 1
    return 2 if "enum" in schema or any("enum" in branch for branch in schema.get("anyOf", ())) else 3


def _words(text: str) -> frozenset[str]:
    return frozenset(word.lower() for word in _TOKEN.findall(text))


def _overlap(field_words: frozenset[str], head: str) -> float:
    """Share of the field's words that stand in the id of a head: `ask_name` asks for `CustomerName`."""
    return len(field_words & _words(head.replace("_", " "))) / len(field_words) if field_words else 0.0
