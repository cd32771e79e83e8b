"""Learned values: gradient boosting ranks a field's candidates by where each comes from and where the case stands.

No weights of a language are needed to see that a name is what was said after it was asked for. Each field is chosen by
itself; what the operator filled in before tells of the others.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
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
from selective_autonomy.policy.values.columns import CATEGORIES, NAMES, CandidateColumns, with_chosen
from selective_autonomy.policy.values.facts import (
    FieldFacts,
    category_codes,
    field_facts,
    given_values,
    is_known,
)
from selective_autonomy.policy.values.reading import Reading, read_log
from selective_autonomy.process.actions import head as head_of
from selective_autonomy.process.comparison import comparable
from selective_autonomy.process.schema import FieldSpec, ProcessSchema
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.screen import Choice, steps

_HIDDEN_SHARE = 0.15
_FOLDS = 5
_THREADS = 1  # the same trees on every machine
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
        booster: lightgbm.Booster | None,
    ) -> None:
        """`booster` None: nothing was there to learn from."""
        self.schema = schema
        self._facts, self._codes, self._booster = facts, codes, booster
        self._source = CandidateSource(facts.usual, facts.common)
        self._columns = CandidateColumns(facts, codes, self._source.weights)

    @classmethod
    def fit(
        cls, train: Sequence[Session], schema: ProcessSchema, *, trees: int, seed: int, choice: Choice | None = None
    ) -> RankedValues:
        """Learn from every filled form and slot of the chosen steps of train, all by default. Sees: train only.

        The rows of a fifth of the sessions are made with the facts of the others: with facts that hold the very step,
        what was given once would be known by having been counted once more.
        """
        codes = category_codes(train, schema, choice)
        values = cls(schema, field_facts(train, schema, choice), codes, None)
        rng = np.random.default_rng(seed)
        rows: list[NDArray[np.float32]] = []  # some millions: as Python floats they would take gigabytes
        labels: list[bool] = []
        for fold in range(_FOLDS):
            others = [session for i, session in enumerate(train) if i % _FOLDS != fold]
            blind = cls(schema, field_facts(others, schema, choice), codes, None)
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
                    x_CF = np.array(self._columns.rows(name, spec, candidates, log, hidden=hidden), dtype=np.float32)
                    yield with_chosen(x_CF, candidates, chosen), right
                if wanted is not None:
                    chosen.append(wanted)

    def fill(self, session: Session, head: str) -> Filled | None:
        if head in TEXT_HEADS:
            return None  # an operator's own words are no value to choose
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
            return cls(schema, facts, data["codes"], booster)
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
        empty_CF = np.array(self._columns.rows(head, spec, candidates, log))
        rows = [
            with_chosen(empty_CF.copy(), candidates, [comparable(argument.value) for argument in filling.arguments])
            for filling in kept
        ]
        # Ways that differ in values which are no candidate here look the same to the trees, which cost most of this.
        place = {one.tobytes(): i for i, one in reversed(list(enumerate(rows)))}
        different = sorted(place.values())
        raw = self._booster.predict(np.concatenate([rows[i] for i in different]), raw_score=True, num_threads=_THREADS)
        p_DC = 1 / (1 + np.exp(-np.asarray(raw, dtype=np.float64).reshape(len(different), len(candidates))))
        p_DC = p_DC / p_DC.sum(axis=1, keepdims=True)
        return np.asarray(p_DC[[different.index(place[one.tobytes()]) for one in rows]])


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
