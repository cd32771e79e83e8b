"""Each operator's reliability from several verdicts on one proposal, kept up to date as verdicts come in.

Dawid & Skene (1979): every proposal is truly wrong or right, unseen; an operator says "wrong" of a wrong one with one
probability (sensitivity) and of a right one with another (false alarm). A first fit is crowd-kit's. After it, a new
verdict changes the posterior of its own proposal alone and moves the expected counts of those who judged it
(incremental EM, Neal & Hinton 1998): some microseconds, whatever came before. `settle` then sweeps until nothing moves;
that is where a fit of everything from nothing ends, too.

Measured: see `tests/labels/test_reliability.py`; crowd-kit alone takes seconds an iteration at 150 000 verdicts.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from selective_autonomy.evaluation.intervals import Figure
from selective_autonomy.frozen import Frozen
from selective_autonomy.labels.confusion import confusion_intervals, told_apart
from selective_autonomy.labels.reviews import Review, by_item

_FIRST_FIT = 3_000  # verdicts that crowd-kit begins from: it finds the right optimum, sweeps do the rest faster
_TINY = 1e-10  # crowd-kit's: no verdict is taken to be impossible
_CLOSE = 1e-7  # the largest change of a posterior at which a sweep has settled
_SWEEPS = 2_000
# Verdicts [truly][says] that the crew is taken to have given before its first: an operator is rather believed.
_AT_ITS_WORD = np.array([[1.0, 0.5], [0.5, 1.0]])


class OperatorReliability(Frozen):
    """One operator. `verdicts`: all; `shared`: those on proposals that others judged too, or whose truth is known.

    `sensitivity`: P(says wrong | truly wrong), `false_alarm`: P(says wrong | truly right); `n` is the expected number
    of such proposals among the shared ones. Where it cannot be told (nothing shared, or only two operators who share
    and no known truth): nan in [0, 1].
    """

    operator_id: str
    verdicts: int
    shared: int
    sensitivity: Figure
    false_alarm: Figure


class Reliability:
    """What is believed about operators and proposals after the verdicts so far.

    Guarantee: maximum likelihood, a local optimum; consistent as shared proposals grow. Assumptions: given the truth
    operators err independently; most are better than chance (otherwise wrong and right swap their names: known truths
    show it); shared proposals were chosen by chance. Proposals with one verdict teach nothing here, and get a
    posterior. Sees: fit and calibrate.
    """

    def __init__(self) -> None:
        self._verdicts: dict[str, dict[str, bool]] = {}
        self._known: dict[str, bool] = {}
        self._p: dict[str, float] = {}
        self._counts: dict[str, NDArray[np.float64]] = {}  # operator -> [truly][says], expected
        self._truths = np.zeros(2)  # expected right and wrong ones of shared proposals of unknown truth

    @classmethod
    def fit(cls, reviews: Iterable[Review], known: Mapping[str, bool] | None = None) -> Reliability:
        """Everything from nothing: crowd-kit on the first shared proposals, the rest added, then settled.

        Args:
            known: item -> truly wrong, where that is known (planted probes, adjudicated proposals).
        """
        made, verdicts, known = cls(), by_item(reviews), dict(known or {})
        first, taken = {}, 0
        for item, said in verdicts.items():
            if taken >= _FIRST_FIT:
                break
            if len(said) > 1 or item in known:
                first[item] = said
                taken += len(said)
        for item, p in _crowd_kit(first, known).items():
            made._set(item, first[item], known.get(item), p)
        rest = {item: said for item, said in verdicts.items() if item not in first}
        made.add((Review(i, who, wrong) for i, said in rest.items() for who, wrong in said.items()), known)
        made.settle()
        return made

    def add(self, reviews: Iterable[Review], known: Mapping[str, bool] | None = None) -> None:
        """New verdicts, and truths that became known: only the proposals concerned are thought over.

        An operator not met before is like the crew on average: every operator has one verdict of each kind in common
        with it, which own ones soon outweigh.
        """
        known = known or {}
        new = by_item(reviews)
        self._known.update({i: truth for i, truth in known.items() if i not in self._verdicts and i not in new})
        for item in [*new, *(i for i in known if i in self._verdicts and i not in new)]:
            said = {**self._verdicts.get(item, {}), **new.get(item, {})}
            truth = known.get(item, self._known.get(item))
            self._set(item, said, truth, self._posterior(said, truth))

    def settle(self) -> int:
        """Sweep over all shared proposals until no posterior moves; how many sweeps it took."""
        items = [item for item, said in self._verdicts.items() if self._teaches(item, said)]
        if not items:
            return 0
        sweeps, p_I = self._swept(items)
        self._counts, self._truths = {}, np.zeros(2)
        for item, p in zip(items, p_I.tolist(), strict=True):
            self._p[item] = p
            self._count(item, self._verdicts[item], p, +1.0)
        for item, said in self._verdicts.items():
            if not self._teaches(item, said):
                self._p[item] = self._posterior(said, None)
        return sweeps

    def p_wrong(self) -> dict[str, float]:
        """Item -> P(truly wrong), for every item with a verdict; 0.0 or 1.0 where the truth is known."""
        return dict(self._p)

    def operators(self) -> tuple[OperatorReliability, ...]:
        """Every operator who gave a verdict, by id, with 95 % intervals that count in how unsure the truths are."""
        shared = {i: said for i, said in self._verdicts.items() if self._teaches(i, said)}
        names = sorted({who for said in self._verdicts.values() for who in said})
        figures = confusion_intervals(shared, self._p, self._known, told_apart(shared, self._known))
        total = _verdicts_of(self._verdicts)
        in_shared = _verdicts_of(shared)
        nothing = Figure(value=math.nan, low=0.0, high=1.0, n=0)
        return tuple(
            OperatorReliability(
                operator_id=who,
                verdicts=total[who],
                shared=in_shared.get(who, 0),
                sensitivity=figures.get(who, (nothing, nothing))[0],
                false_alarm=figures.get(who, (nothing, nothing))[1],
            )
            for who in names
        )

    def _teaches(self, item: str, said: Mapping[str, bool]) -> bool:
        return len(said) > 1 or item in self._known

    def _set(self, item: str, said: dict[str, bool], truth: bool | None, p: float) -> None:
        before = self._verdicts.get(item)
        if before is not None and self._teaches(item, before):
            self._count(item, before, self._p[item], -1.0)
        self._verdicts[item], self._p[item] = said, p
        if truth is not None:
            self._known[item] = truth
        if self._teaches(item, said):
            self._count(item, said, p, +1.0)

    def _count(self, item: str, said: Mapping[str, bool], p: float, sign: float) -> None:
        for who, wrong in said.items():
            counts = self._counts.setdefault(who, np.zeros((2, 2)))
            counts[0, int(wrong)] += sign * (1 - p)
            counts[1, int(wrong)] += sign * p
        if item not in self._known:
            self._truths += (sign * (1 - p), sign * p)

    def _posterior(self, said: Mapping[str, bool], truth: bool | None) -> float:
        if truth is not None:
            return float(truth)
        right, wrong = np.maximum(self._truths, 0.0) + 0.5
        log_odds = math.log(wrong / right)
        crew = _shares(sum(self._counts.values(), np.zeros((2, 2))) + _AT_ITS_WORD)
        for who, says in said.items():
            share_T = _shares(self._counts.get(who, np.zeros((2, 2))) + crew)[:, int(says)]
            log_odds += math.log(share_T[1] / share_T[0])
        return 1 / (1 + math.exp(-min(max(log_odds, -700.0), 700.0)))

    def _swept(self, items: list[str]) -> tuple[int, NDArray[np.float64]]:
        names = sorted(self._counts)
        number = {who: w for w, who in enumerate(names)}
        said = [self._verdicts[item] for item in items]
        item_V = np.repeat(np.arange(len(items)), [len(one) for one in said])
        operator_V = np.array([number[who] for one in said for who in one])
        says_V = np.array([wrong for one in said for wrong in one.values()], dtype=np.int64)
        cell_V = operator_V * 2 + says_V
        known_I = np.array([item in self._known for item in items])
        p_I = np.array([self._p[item] for item in items])
        sweeps = 0
        while sweeps < _SWEEPS:
            sweeps += 1
            counts = [np.bincount(cell_V, weights=w_I[item_V], minlength=2 * len(names)) for w_I in (1 - p_I, p_I)]
            rates = [np.log(_shares(flat.reshape(-1, 2).astype(np.float64))).ravel() for flat in counts]
            prior = p_I[~known_I].mean() if not known_I.all() else 0.5
            odds = math.log(max(prior, _TINY)) - math.log(max(1 - prior, _TINY))
            log_odds_I = odds + np.bincount(item_V, weights=(rates[1] - rates[0])[cell_V], minlength=len(items))
            new_I = np.where(known_I, p_I, 1 / (1 + np.exp(-np.clip(log_odds_I, -700, 700))))
            moved, p_I = float(np.abs(new_I - p_I).max()), new_I
            if moved < _CLOSE:
                break
        return sweeps, p_I


def _shares(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """[truly][says] -> P(says | truly). What was counted up and down again may be a hair below 0."""
    table = np.maximum(counts, _TINY)
    return np.asarray(table / table.sum(axis=1, keepdims=True))


def _crowd_kit(verdicts: Mapping[str, Mapping[str, bool]], known: Mapping[str, bool]) -> dict[str, float]:
    """Item -> P(truly wrong) by crowd-kit, which cannot fit where there is one label only: then that is the truth."""
    rows = [(item, who, int(wrong)) for item, said in verdicts.items() for who, wrong in said.items()]
    truths = {item: int(known[item]) for item in verdicts if item in known}
    said = {label for _, _, label in rows}
    if len(said) < 2:
        return {item: float(truths.get(item, *said)) for item in verdicts}
    import pandas as pd
    from crowdkit.aggregation import DawidSkene

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # crowd-kit 1.4.2 passes `copy` to pandas 3, which ignores it, and says so
        p = DawidSkene(n_iter=50).fit_predict_proba(
            pd.DataFrame(rows, columns=["task", "worker", "label"]),
            true_labels=pd.Series(truths, dtype="int64") if truths else None,
        )
    return {str(item): float(value) for item, value in p[1].items()}


def _verdicts_of(verdicts: Mapping[str, Mapping[str, bool]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for said in verdicts.values():
        for who in said:
            counts[who] = counts.get(who, 0) + 1
    return counts
