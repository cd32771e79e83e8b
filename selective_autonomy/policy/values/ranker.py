"""Learned values: gradient boosting ranks a field's candidates by where each comes from and where the case stands.

No weights of a language are needed to see that a name is what was said after it was asked for. Each field is chosen by
itself; what the operator filled in before tells of the others. Part of the training rows hide which form, field and
replies they are about, so that a process that was never seen is filled by what all forms have in common.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray

from selective_autonomy.contract.actions import TEXT_HEADS, argument_fields
from selective_autonomy.errors import ModelError
from selective_autonomy.policy.protocol import ArgumentEvidence, Filled
from selective_autonomy.policy.values.association import WordAssociation
from selective_autonomy.policy.values.candidates import Candidate, CandidateSource
from selective_autonomy.policy.values.facts import (
    FieldFacts,
    category_codes,
    field_facts,
    given_values,
    is_known,
    last_sent,
    result_texts,
    words_since_sent,
)
from selective_autonomy.policy.values.reading import Reading, read_log, tokens_of, words_of
from selective_autonomy.policy.values.shapes import shape
from selective_autonomy.process.actions import SearchProcedure, SendTextToChat
from selective_autonomy.process.actions import head as head_of
from selective_autonomy.process.comparison import comparable
from selective_autonomy.process.schema import FieldSpec, ProcessSchema
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.screen import Choice, steps

_HIDDEN_SHARE = 0.15
_FOLDS = 5
_THREADS = 1  # the same trees on every machine
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
_TOKEN = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_CHOSEN, _CHOSEN_BEFORE = NAMES.index("chosen"), NAMES.index("chosen_before")
_KEPT = 4  # ways of filling the form so far: a field's best value may only be best where a later one is left out
_TREES, _FACTS = "values.txt", "values.json"


@dataclass(frozen=True, slots=True)
class _Filling:
    """What the fields so far got, and how likely that is."""

    arguments: tuple[ArgumentEvidence, ...] = ()
    log_prob: float = 0.0

    def then(self, field: str, candidate: Candidate, p: float) -> _Filling:
        log_prob = self.log_prob + math.log(max(p, 1e-12))
        if candidate.value is None:
            return _Filling(self.arguments, log_prob)
        copied = candidate.shown >= 0 or (candidate.mention is not None and candidate.mention.score == 1)
        argument = ArgumentEvidence(field=field, value=candidate.value, p=min(p, 1.0), copied=copied)
        return _Filling((*self.arguments, argument), log_prob)


class RankedValues:
    """Implements `ValueModel`. Deterministic."""

    def __init__(
        self,
        schema: ProcessSchema,
        facts: FieldFacts,
        codes: Mapping[str, Mapping[str, int]],
        texts: Mapping[str, str],
        booster: lightgbm.Booster | None,
    ) -> None:
        """`texts`: text heads -> what operators most often wrote. `booster` None: nothing was there to learn from."""
        self.schema = schema
        self._facts, self._codes, self._texts, self._booster = facts, codes, texts, booster
        self._source = CandidateSource(facts.usual, facts.common)

    @classmethod
    def fit(
        cls, train: Sequence[Session], schema: ProcessSchema, *, trees: int, seed: int, choice: Choice | None = None
    ) -> RankedValues:
        """Learn from every filled form and slot of the chosen steps of train, all by default. Sees: train only.

        The rows of a fifth of the sessions are made with the facts of the others: with facts that hold the very step,
        what was given once would be known by having been counted once more.
        """
        codes = category_codes(train, schema, choice)
        values = cls(schema, field_facts(train, schema, choice), codes, _usual_texts(train, choice), None)
        rng = np.random.default_rng(seed)
        rows: list[NDArray[np.float32]] = []  # some millions: as Python floats they would take gigabytes
        labels: list[bool] = []
        for fold in range(_FOLDS):
            others = [session for i, session in enumerate(train) if i % _FOLDS != fold]
            blind = cls(schema, field_facts(others, schema, choice), codes, {}, None)
            for session in train[fold::_FOLDS]:
                for x_CF, right in blind._learned(session, rng, choice):
                    rows.append(x_CF)
                    labels += right
        if rows:
            values._booster = _boost(np.concatenate(rows), np.array(labels), trees, seed)
        return values

    def _learned(
        self, session: Session, rng: np.random.Generator, choice: Choice | None
    ) -> Iterator[tuple[NDArray[np.float32], list[bool]]]:
        """For each field of a step whose right value is among the candidates: their rows, and which is right."""
        for step in steps(session, choice):
            name, given = head_of(step.action), given_values(step.action)
            specs = argument_fields(self.schema, name) if given is not None and is_known(self.schema, name) else ()
            if given is None or not specs:
                continue
            log = read_log(step.before)
            hidden = bool(rng.random() < _HIDDEN_SHARE)
            chosen: list[str] = []
            for spec in specs:
                candidates = self._source.candidates(name, spec, log)
                wanted = comparable(given[spec.id]) if spec.id in given else None
                right = [(None if c.value is None else c.key) == wanted for c in candidates]
                if len(candidates) > 1 and any(right):
                    x_CF = np.array(self._rows(name, spec, candidates, log, hidden=hidden), dtype=np.float32)
                    yield _with_chosen(x_CF, candidates, chosen), right
                if wanted is not None:
                    chosen.append(wanted)

    def fill(self, session: Session, head: str) -> Filled | None:
        if head in TEXT_HEADS:
            text = self._texts.get(head)
            if not text:
                return None
            return Filled((ArgumentEvidence(field=TEXT_HEADS[head], value=text, p=0.01, copied=False),), math.log(0.01))
        specs = argument_fields(self.schema, head)
        if not specs:
            return Filled()
        log = read_log(session)
        kept = [_Filling()]
        for spec in specs:
            candidates = self._source.candidates(head, spec, log)
            if not candidates:
                if spec.required:
                    return None
                continue
            longer: list[_Filling] = []
            for filling, p_C in zip(kept, self._p(head, spec, candidates, log, kept), strict=True):
                best = np.argsort(-p_C, kind="stable")[:_KEPT]
                longer += [filling.then(spec.id, candidates[i], float(p_C[i])) for i in best]
            kept = sorted(longer, key=lambda filling: -filling.log_prob)[:_KEPT]
        return Filled(kept[0].arguments, min(kept[0].log_prob, 0.0))

    def save(self, out: Path) -> None:
        """Write `values.json` and, where there was something to learn, `values.txt` into the directory `out`."""
        data = {
            "names": NAMES,
            "usual": {key: [[value, n] for value, n in values.items()] for key, values in self._facts.usual.items()},
            "times": self._facts.times,
            "association": self._facts.association.to_json(),
            "common": sorted(self._facts.common),
            "codes": self._codes,
            "texts": self._texts,
            "learned": self._booster is not None,
        }
        (out / _FACTS).write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
        if self._booster is not None:
            (out / _TREES).write_text(self._booster.model_to_string(), encoding="utf-8")

    @classmethod
    def load(cls, path: Path, schema: ProcessSchema) -> RankedValues:
        """Read what `save` wrote; it fills exactly as what was saved.

        Raises:
            ModelError: a file is missing, damaged, or has other columns than this version.
        """
        try:
            data = json.loads((path / _FACTS).read_text(encoding="utf-8"))
            if tuple(data["names"]) != NAMES:
                raise ModelError(f"{path / _FACTS} has other columns than this version; train the policy again")
            usual = {key: {value: int(n) for value, n in values} for key, values in data["usual"].items()}
            facts = FieldFacts(usual, data["times"], WordAssociation(**data["association"]), frozenset(data["common"]))
            trees = (path / _TREES).read_text(encoding="utf-8") if data["learned"] else None
            booster = lightgbm.Booster(model_str=trees) if trees is not None else None
            return cls(schema, facts, data["codes"], data["texts"], booster)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, lightgbm.basic.LightGBMError) as err:
            raise ModelError(f"{path} holds no ranker of values: {err}; train the policy again") from err

    def _p(
        self, head: str, spec: FieldSpec, candidates: Sequence[Candidate], log: Reading, kept: Sequence[_Filling]
    ) -> NDArray[np.float64]:
        """(K, C), each row's sum 1: the candidates of a field after each of K ways of filling the fields before."""
        if len(candidates) == 1 or self._booster is None:
            p_KC = np.full((len(kept), len(candidates)), 1e-12)
            p_KC[:, 0] = 1.0
            return p_KC
        empty_CF = np.array(self._rows(head, spec, candidates, log))
        rows = [
            _with_chosen(empty_CF.copy(), candidates, [comparable(argument.value) for argument in filling.arguments])
            for filling in kept
        ]
        raw = np.asarray(self._booster.predict(np.concatenate(rows), raw_score=True, num_threads=_THREADS))
        p_KC = 1 / (1 + np.exp(-raw.astype(np.float64).reshape(len(kept), len(candidates))))
        return np.asarray(p_KC / p_KC.sum(axis=1, keepdims=True))

    def _rows(
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
        heard, heard_age = _heard(log, candidates, self._source.weights(key))
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
                            sum(o.age == m.age and o.end <= m.start for o in mentions),
                            sum(o.age == m.age and o.start >= m.end for o in mentions),
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
        words = list(words_of(key))
        return sum(word not in self._facts.common for word in words) / len(words) if words else 0.0

    def _result(self, log: Reading) -> int:
        """The code of what the latest result says, -1 where it says nothing usual."""
        texts = result_texts(log.shown[0][1]) if log.shown else []
        return next((self._codes["result"][text] for text in texts if text in self._codes["result"]), -1)

    def _code(self, kind: str, name: str) -> int:
        return self._codes[kind].get(name, -1)


def _with_chosen(x_CF: NDArray[Any], candidates: Sequence[Candidate], chosen: Sequence[str]) -> NDArray[Any]:
    """The rows, changed in place: how many of the form's fields before were filled, and whether with this value."""
    x_CF[:, _CHOSEN] = len(chosen)
    x_CF[:, _CHOSEN_BEFORE] = [c.key in chosen for c in candidates]
    return x_CF


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
        tokens = set(tokens_of(c.key))
        total = sum(weights.get(token, 1.0) for token in tokens)
        said = sorted(token for token in tokens if token in log.places)
        shares.append(sum(weights.get(token, 1.0) for token in said) / total if total and c.listed else 0.0)
        ages.append(sum(log.places[token][0][0] for token in said) / len(said) if said else -1.0)
    return shares, ages


def _usual_texts(train: Iterable[Session], choice: Choice | None) -> dict[str, str]:
    """What operators most often wrote under each text head."""
    texts: dict[str, Counter[str]] = {}
    for session in train:
        for step in steps(session, choice):
            match step.action:
                case SendTextToChat(text=text) | SearchProcedure(query=text):
                    texts.setdefault(head_of(step.action), Counter())[text] += 1
    return {name: counter.most_common(1)[0][0] for name, counter in texts.items()}


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


def _boost(x_NF: NDArray[np.float32], right_N: NDArray[np.bool_], trees: int, seed: int) -> lightgbm.Booster:
    settings: dict[str, Any] = {
        "objective": "binary",
        "num_leaves": 31,
        "learning_rate": 0.1,
        "min_data_in_leaf": 60,
        "feature_fraction": 0.7,
        "lambda_l2": 5.0,
        "cat_smooth": 20,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": _THREADS,
        "verbosity": -1,
    }
    data = lightgbm.Dataset(
        x_NF, label=right_N.astype(np.float64), feature_name=list(NAMES), categorical_feature=list(CATEGORIES),
        params={"verbosity": -1, "num_threads": _THREADS, "max_bin": 127},
    )  # fmt: skip
    return lightgbm.train(settings, data, num_boost_round=trees)
