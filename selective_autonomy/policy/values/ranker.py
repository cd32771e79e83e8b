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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray

from selective_autonomy.contract.actions import TEXT_HEADS, argument_fields
from selective_autonomy.errors import ModelError
from selective_autonomy.policy.protocol import ArgumentEvidence, Filled
from selective_autonomy.policy.values.association import FieldAssociation, Heard
from selective_autonomy.policy.values.candidates import Candidate, CandidateSource
from selective_autonomy.policy.values.reading import Reading, read_log, tokens_of, words_of
from selective_autonomy.policy.values.shapes import shape
from selective_autonomy.process.actions import Scalar, SearchProcedure, SendReply, SendTextToChat, SubmitForm
from selective_autonomy.process.actions import head as head_of
from selective_autonomy.process.comparison import comparable
from selective_autonomy.process.schema import FieldSpec, ProcessSchema
from selective_autonomy.traces.schema import CustomerMessage, ScreenUpdate, Session
from selective_autonomy.traces.screen import steps

_USUAL_KEPT = 200
_CODES_KEPT = 400
_HIDDEN_SHARE = 0.15
_COMMON = 5  # sessions
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
    *("capital", "words", "digits", "all_digits", "length", "expression", "used_elsewhere"),
    *("rare", "chosen", "chosen_before", "goes_with", "goes_with_by", "goes_with_now", "goes_with_now_by"),
    *("heard", "heard_by", "heard_age"),
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
        usual: Mapping[str, Mapping[Scalar, int]],
        counts: Mapping[str, int],
        codes: Mapping[str, Mapping[str, int]],
        texts: Mapping[str, str],
        booster: lightgbm.Booster | None,
        associations: Mapping[str, FieldAssociation] | None = None,
        common: Iterable[str] = (),
    ) -> None:
        self.schema = schema
        self._associations = associations or {}
        self._common = frozenset(common)
        self._usual, self._counts, self._codes, self._texts, self._booster = usual, counts, codes, texts, booster
        self._source = CandidateSource(usual, self._common)

    @classmethod
    def fit(cls, train: Sequence[Session], schema: ProcessSchema, *, trees: int, seed: int) -> RankedValues:
        """Learn from every filled form and slot of train."""
        usual, counts, texts = _usual(train, schema)
        codes = _codes(train, schema, usual)
        heard = _heard(train, schema, usual)
        fitted = {key: FieldAssociation.fit([one for _, one in entries]) for key, entries in heard.items()}
        associations = {key: association for key, association in fitted.items() if association is not None}
        values = cls(schema, usual, counts, codes, texts, None, associations, _common_words(train))
        of_session: dict[tuple[str, str], list[Heard]] = {}
        for key, entries in heard.items():
            for session_id, one in entries:
                of_session.setdefault((key, session_id), []).append(one)
        rng = np.random.default_rng(seed)
        rows: list[list[float]] = []
        labels: list[bool] = []
        for session in train:
            for step in steps(session):
                name, given = head_of(step.action), _given(step.action)
                specs = argument_fields(schema, name) if given is not None and _known(schema, name) else ()
                if given is None or not specs:
                    continue
                log = read_log(step.before)
                hidden = bool(rng.random() < _HIDDEN_SHARE)
                chosen: dict[str, Scalar] = {}
                for spec in specs:
                    candidates = values._source.candidates(name, spec, log)
                    wanted = comparable(given[spec.id]) if spec.id in given else None
                    right = [(None if c.value is None else c.key) == wanted for c in candidates]
                    if len(candidates) > 1 and any(right):
                        without = of_session.get((f"{name} {spec.id}", session.session_id), ())
                        rows += values._rows(
                            name, spec, candidates, log, chosen,
                            without=given.get(spec.id), unheard=without, hidden=hidden,
                        )  # fmt: skip
                        labels += right
                    if spec.id in given:
                        chosen[spec.id] = given[spec.id]
        if rows:
            values._booster = _boost(np.array(rows), np.array(labels), trees, seed)
        return values

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
            rows = np.array(self._rows(head, spec, candidates, log, {})) if len(candidates) > 1 else None
            longer: list[_Filling] = []
            for filling in kept:
                p_C = self._p(candidates, rows, filling)
                best = np.argsort(-p_C, kind="stable")[:_KEPT]
                longer += [filling.then(spec.id, candidates[i], float(p_C[i])) for i in best]
            kept = sorted(longer, key=lambda filling: -filling.log_prob)[:_KEPT]
        return Filled(kept[0].arguments, min(kept[0].log_prob, 0.0))

    def save(self, out: Path) -> None:
        """Write `values.json` and, where there was something to learn, `values.txt` into the directory `out`."""
        usual = {key: [[value, n] for value, n in values.items()] for key, values in self._usual.items()}
        data = {
            "names": NAMES,
            "usual": usual,
            "counts": self._counts,
            "codes": self._codes,
            "texts": self._texts,
            "common": sorted(self._common),
            "associations": {key: association.to_json() for key, association in self._associations.items()},
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
            trees = (path / _TREES).read_text(encoding="utf-8") if data["learned"] else None
            booster = lightgbm.Booster(model_str=trees) if trees is not None else None
            associations = {key: FieldAssociation.of_json(one) for key, one in data["associations"].items()}
            facts = data["counts"], data["codes"], data["texts"]
            return cls(schema, usual, *facts, booster, associations, data["common"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, lightgbm.basic.LightGBMError) as err:
            raise ModelError(f"{path} holds no ranker of values: {err}; train the policy again") from err

    def _p(
        self, candidates: Sequence[Candidate], rows_CF: NDArray[np.float64] | None, filling: _Filling
    ) -> NDArray[np.float64]:
        """(C,), sum 1: rows as made for an empty form, with what the form holds by now put in."""
        if rows_CF is None or self._booster is None:
            p = np.full(len(candidates), 1e-12)
            p[0] = 1.0
            return p
        taken = {comparable(argument.value) for argument in filling.arguments}
        rows_CF[:, _CHOSEN] = len(filling.arguments)
        rows_CF[:, _CHOSEN_BEFORE] = [c.key in taken for c in candidates]
        raw = np.asarray(self._booster.predict(rows_CF, raw_score=True, num_threads=_THREADS), dtype=np.float64)
        p = 1 / (1 + np.exp(-raw))
        return np.asarray(p / p.sum())

    def _rows(
        self,
        head: str,
        spec: FieldSpec,
        candidates: Sequence[Candidate],
        log: Reading,
        chosen: Mapping[str, Scalar],
        *,
        without: Scalar | None = None,
        unheard: Sequence[Heard] = (),
        hidden: bool = False,
    ) -> list[list[float]]:
        """One row a candidate. `chosen`: what the fields before got.

        `without`: the value of the very step that is learned, `unheard`: all of its session; taken out of the counts.
        """
        form = head.partition(":")[2]
        key = f"{head} {spec.id}"
        here = [values for name, values in log.filled if name == form]
        # Forms sent up to this form's last submission: what customers said later may have changed its values.
        sent = next((len(log.filled) - i - 1 for i, (name, _) in enumerate(log.filled) if name == form), -1)
        newest = log.messages[0].tokens if log.messages else ()
        field_words = _words(f"{spec.id} {spec.title}")
        code = self._code if not hidden else (lambda kind, name: -1)
        total = self._counts.get(key, 0)
        ruled_out = None if without is None else comparable(without)
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
        taken = {comparable(value) for value in chosen.values()}
        everything = {token for message in log.messages for token in message.tokens}
        association = self._associations.get(key) if not hidden else None
        goes = _standings(association, candidates, everything, unheard)
        goes_now = _standings(association, candidates, newest, unheard)
        heard = _heard_shares(log, candidates, self._source.weights(key))
        rows = []
        for n, c in enumerate(candidates):
            usual = max(0, c.usual - (c.value is not None and c.key == ruled_out))
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
                    self._rarity(c.key),
                    len(chosen),
                    c.key in taken,
                    *goes[n],
                    *goes_now[n],
                    *heard[n],
                ]
            )
        return rows

    def _rarity(self, key: str) -> float:
        """The share of its words that few sessions of train hold; 0 for none."""
        words = list(words_of(key))
        return sum(word not in self._common for word in words) / len(words) if words else 0.0

    def _result(self, log: Reading) -> int:
        """The code of what the latest result says, -1 where it says nothing usual."""
        texts = _texts(log.shown[0][1]) if log.shown else []
        return next((self._codes["result"][text] for text in texts if text in self._codes["result"]), -1)

    def _code(self, kind: str, name: str) -> int:
        return self._codes[kind].get(name, -1)


def _given(action: object) -> Mapping[str, Scalar] | None:
    match action:
        case SubmitForm(values=values) | SendReply(slots=values):
            return values
    return None


def _known(schema: ProcessSchema, head: str) -> bool:
    kind, _, name = head.partition(":")
    return name in (schema.forms_by_id if kind == "submit_form" else schema.replies_by_id)


def _usual(
    train: Iterable[Session], schema: ProcessSchema
) -> tuple[dict[str, dict[Scalar, int]], dict[str, int], dict[str, str]]:
    """ "head field" -> values given at least twice (never personal ones); how often the head was done; usual texts."""
    seen: dict[str, Counter[tuple[str, Scalar]]] = {}
    times: Counter[str] = Counter()
    texts: dict[str, Counter[str]] = {}
    for session in train:
        for step in steps(session):
            name = head_of(step.action)
            match step.action:
                case SendTextToChat(text=text) | SearchProcedure(query=text):
                    texts.setdefault(name, Counter())[text] += 1
            given = _given(step.action)
            if given is None or not _known(schema, name):
                continue
            for spec in argument_fields(schema, name):
                times[f"{name} {spec.id}"] += 1
                if spec.id in given and not spec.pii:
                    value = given[spec.id]
                    seen.setdefault(f"{name} {spec.id}", Counter())[type(value).__name__, value] += 1
    usual = {
        key: {value: n for (_, value), n in counter.most_common(_USUAL_KEPT) if n > 1} for key, counter in seen.items()
    }
    return usual, dict(times), {name: counter.most_common(1)[0][0] for name, counter in texts.items()}


def _heard(
    train: Iterable[Session], schema: ProcessSchema, usual: Mapping[str, Mapping[Scalar, int]]
) -> dict[str, list[tuple[str, Heard]]]:
    """ "head field" -> (session, what was said when it got a value that comes again, or was left out)."""
    again = {key: {comparable(value) for value in values} for key, values in usual.items()}
    heard: dict[str, list[tuple[str, Heard]]] = {}
    for session in train:
        for step in steps(session):
            name, given = head_of(step.action), _given(step.action)
            if given is None or not _known(schema, name):
                continue
            specs = [spec for spec in argument_fields(schema, name) if f"{name} {spec.id}" in again]
            if not specs:
                continue
            words = frozenset(token for message in read_log(step.before).messages for token in message.tokens)
            for spec in specs:
                value = comparable(given[spec.id]) if spec.id in given else ""
                if value in again[f"{name} {spec.id}"] or spec.id not in given:
                    heard.setdefault(f"{name} {spec.id}", []).append((session.session_id, Heard(value, words)))
    return heard


def _common_words(train: Iterable[Session]) -> list[str]:
    """Words that customers said in at least as many sessions as makes them nobody's own."""
    sessions: Counter[str] = Counter()
    for session in train:
        sessions.update({w for e in session.events if isinstance(e, CustomerMessage) for w in words_of(e.text)})
    return sorted(word for word, n in sessions.items() if n >= _COMMON)


def _standings(
    association: FieldAssociation | None,
    candidates: Sequence[Candidate],
    words: Iterable[str],
    unheard: Sequence[Heard],
) -> list[tuple[float, float]]:
    """How well each candidate goes with the words, and by how much it is ahead of the best other one; NaN: unknown."""
    if association is None:
        return [(math.nan, math.nan)] * len(candidates)
    scores_V = association.scores(set(words), unheard)
    scores = [
        float(scores_V[at]) if (at := association.values.get(c.key)) is not None else math.nan for c in candidates
    ]
    ranked = sorted((score for score in scores if not math.isnan(score)), reverse=True)
    best, second = (*ranked, math.nan, math.nan)[:2]
    return [(score, score - (second if score == best else best)) for score in scores]


def _heard_shares(
    log: Reading, candidates: Sequence[Candidate], weights: Mapping[str, float]
) -> list[tuple[float, float, float]]:
    """Of each candidate's telling words: the share said anywhere, how far ahead of the best other, messages since."""
    shares, ages = [], []
    for c in candidates:
        tokens = set(tokens_of(c.key))
        total = sum(weights.get(token, 1.0) for token in tokens)
        said = [token for token in tokens if token in log.places]
        shares.append(sum(weights.get(token, 1.0) for token in said) / total if total else 0.0)
        ages.append(sum(log.places[token][0][0] for token in said) / len(said) if said else -1.0)
    best, second = (
        *sorted((share for c, share in zip(candidates, shares, strict=True) if c.listed), reverse=True),
        0.0,
        0.0,
    )[:2]
    return [
        (share, share - (second if c.listed and share == best else best), age)
        for c, share, age in zip(candidates, shares, ages, strict=True)
    ]


def _codes(
    train: Iterable[Session], schema: ProcessSchema, usual: Mapping[str, Mapping[Scalar, int]]
) -> dict[str, dict[str, int]]:
    words: Counter[str] = Counter()
    results: Counter[str] = Counter()
    for session in train:
        for event in session.events:
            match event:
                case CustomerMessage(text=text):
                    words.update(tokens_of(text))
                case ScreenUpdate(values=shown):
                    results.update(_texts(shown))
    values: Counter[str] = Counter()
    for given in usual.values():
        for value, n in given.items():
            values[comparable(value)] += n
    heads = sorted({head_of(step.action) for session in train for step in steps(session)})
    fields = sorted({spec.id for name in heads if _known(schema, name) for spec in argument_fields(schema, name)})
    return {
        "form": {name.partition(":")[2]: i for i, name in enumerate(heads)},
        "field": {name: i for i, name in enumerate(fields)},
        "head": {name: i for i, name in enumerate(heads)},
        "word": {word: i for i, (word, _) in enumerate(words.most_common(_CODES_KEPT))},
        "result": {text: i for i, (text, n) in enumerate(results.most_common(_CODES_KEPT)) if n >= 20},
        "value": {value: i for i, (value, _) in enumerate(values.most_common(_CODES_KEPT))},
    }


def _texts(shown: Mapping[str, Scalar]) -> list[str]:
    """What a result says in words: status and message values, not names and numbers of one case."""
    return [f"{name}: {value}" for name, value in shown.items() if isinstance(value, str)]


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


def _boost(x_NF: NDArray[np.float64], right_N: NDArray[np.bool_], trees: int, seed: int) -> lightgbm.Booster:
    settings: dict[str, Any] = {
        "objective": "binary",
        "num_leaves": 63,
        "learning_rate": 0.1,
        "min_data_in_leaf": 30,
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
