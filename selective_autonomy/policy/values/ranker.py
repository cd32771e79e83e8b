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
    words_since,
)
from selective_autonomy.policy.values.reading import Reading, read_log
from selective_autonomy.process.actions import SearchProcedure, SendTextToChat
from selective_autonomy.process.actions import head as head_of
from selective_autonomy.process.comparison import comparable
from selective_autonomy.process.schema import FieldSpec, ProcessSchema
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.screen import steps

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
)
_TOKEN = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_TREES, _FACTS = "values.txt", "values.json"


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
        self._source = CandidateSource(facts.usual)

    @classmethod
    def fit(cls, train: Sequence[Session], schema: ProcessSchema, *, trees: int, seed: int) -> RankedValues:
        """Learn from every filled form and slot of train. Sees: train only.

        The rows of a fifth of the sessions are made with the facts of the others: with facts that hold the very step,
        what was given once would be known by having been counted once more.
        """
        codes = category_codes(train, schema)
        values = cls(schema, field_facts(train, schema, codes["word"]), codes, _usual_texts(train), None)
        rng = np.random.default_rng(seed)
        rows: list[NDArray[np.float32]] = []  # some millions: as Python floats they would take gigabytes
        labels: list[bool] = []
        for fold in range(_FOLDS):
            others = [session for i, session in enumerate(train) if i % _FOLDS != fold]
            blind = cls(schema, field_facts(others, schema, codes["word"]), codes, {}, None)
            for session in train[fold::_FOLDS]:
                for x_CF, right in blind._learned(session, rng):
                    rows.append(x_CF)
                    labels += right
        if rows:
            values._booster = _boost(np.concatenate(rows), np.array(labels), trees, seed)
        return values

    def _learned(self, session: Session, rng: np.random.Generator) -> Iterator[tuple[NDArray[np.float32], list[bool]]]:
        """For each field of a step whose right value is among the candidates: their rows, and which is right."""
        for step in steps(session):
            name, given = head_of(step.action), given_values(step.action)
            specs = argument_fields(self.schema, name) if given is not None and is_known(self.schema, name) else ()
            if given is None or not specs:
                continue
            log = read_log(step.before)
            hidden = bool(rng.random() < _HIDDEN_SHARE)
            for spec in specs:
                candidates = self._source.candidates(name, spec, log)
                wanted = comparable(given[spec.id]) if spec.id in given else None
                right = [(None if c.value is None else c.key) == wanted for c in candidates]
                if len(candidates) > 1 and any(right):
                    x_CF = self._rows(name, spec, candidates, log, hidden=hidden)
                    yield np.array(x_CF, dtype=np.float32), right

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
        arguments, log_prob = [], 0.0
        for spec in specs:
            candidates = self._source.candidates(head, spec, log)
            if not candidates:
                if spec.required:
                    return None
                continue
            p_C = self._p(head, spec, candidates, log)
            best = int(p_C.argmax())
            log_prob += math.log(max(float(p_C[best]), 1e-12))
            value = candidates[best].value
            if value is not None:
                chosen = candidates[best]
                copied = chosen.shown >= 0 or (chosen.mention is not None and chosen.mention.score == 1)
                p = float(min(p_C[best], 1.0))
                arguments.append(ArgumentEvidence(field=spec.id, value=value, p=p, copied=copied))
        return Filled(tuple(arguments), min(log_prob, 0.0))

    def save(self, out: Path) -> None:
        """Write `values.json` and, where there was something to learn, `values.txt` into the directory `out`."""
        data = {
            "names": NAMES,
            "usual": {key: [[value, n] for value, n in values.items()] for key, values in self._facts.usual.items()},
            "times": self._facts.times,
            "association": vars(self._facts.association),
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
            facts = FieldFacts(usual, data["times"], WordAssociation(**data["association"]))
            trees = (path / _TREES).read_text(encoding="utf-8") if data["learned"] else None
            booster = lightgbm.Booster(model_str=trees) if trees is not None else None
            return cls(schema, facts, data["codes"], data["texts"], booster)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, lightgbm.basic.LightGBMError) as err:
            raise ModelError(f"{path} holds no ranker of values: {err}; train the policy again") from err

    def _p(self, head: str, spec: FieldSpec, candidates: Sequence[Candidate], log: Reading) -> NDArray[np.float64]:
        if len(candidates) == 1 or self._booster is None:
            p = np.full(len(candidates), 1e-12)
            p[0] = 1.0
            return p
        rows = np.array(self._rows(head, spec, candidates, log))
        raw = np.asarray(self._booster.predict(rows, raw_score=True, num_threads=_THREADS), dtype=np.float64)
        p = 1 / (1 + np.exp(-raw))
        return np.asarray(p / p.sum())

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
        now, since = words_since(log, sent)
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
        rows = []
        for c in candidates:
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
                    self._facts.association.score(spec.id, c.key, now) if known else 0.0,
                    self._facts.association.score(f"{spec.id} since", c.key, since) if known else 0.0,
                ]
            )
        return rows

    def _result(self, log: Reading) -> int:
        """The code of what the latest result says, -1 where it says nothing usual."""
        texts = result_texts(log.shown[0][1]) if log.shown else []
        return next((self._codes["result"][text] for text in texts if text in self._codes["result"]), -1)

    def _code(self, kind: str, name: str) -> int:
        return self._codes[kind].get(name, -1)


def _usual_texts(train: Iterable[Session]) -> dict[str, str]:
    """What operators most often wrote under each text head."""
    texts: dict[str, Counter[str]] = {}
    for session in train:
        for step in steps(session):
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
