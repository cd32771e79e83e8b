"""Each operator's reliability from several verdicts on one proposal, kept up to date as verdicts come in.

Dawid & Skene (1979): every proposal is truly wrong or right, unseen; an operator says "wrong" of a wrong one with one
probability (sensitivity) and of a right one with another (false alarm). A fit from nothing is crowd-kit's. After it, a
new verdict changes the posterior of its own proposal alone and moves the expected counts of those who judged it
(incremental EM, Neal & Hinton 1998): some microseconds, whatever came before. `settle`, from time to time, sweeps over
all until nothing moves: it ends where the fit from nothing does.
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
        """Everything from nothing, by crowd-kit.

        Args:
            known: item -> truly wrong, where that is known (planted probes, adjudicated proposals).
        """
        made, verdicts = cls(), by_item(reviews)
        made._known.update(known or {})
        shared = {item: said for item, said in verdicts.items() if made._teaches(item, said)}
        p_wrong = _crowd_kit(shared, made._known)
        for item, said in verdicts.items():
            made._set(item, said, None, p_wrong.get(item, 0.0))
        made._sweep(p_wrong)
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
        """Sweep over all shared proposals, from the majority's word, until no posterior moves; how many sweeps it took.

        Where it ends depends on the verdicts alone and not on the order in which they came.
        """
        return self._sweep({item: sum(said.values()) / len(said) for item, said in self._verdicts.items()})

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

    def _sweep(self, start: Mapping[str, float]) -> int:
        items = [item for item, said in self._verdicts.items() if self._teaches(item, said)]
        if not items:
            return 0
        names = {who: w for w, who in enumerate(sorted(self._counts))}
        said = [self._verdicts[item] for item in items]
        item_V = np.repeat(np.arange(len(items)), [len(one) for one in said])
        cell_V = np.array([names[who] * 2 + int(wrong) for one in said for who, wrong in one.items()])
        known_I = np.array([item in self._known for item in items])
        start_I = np.array([float(self._known.get(item, start[item])) for item in items])
        sweeps, p_I = _expectation_maximisation(start_I, known_I, item_V, cell_V)
        self._counts, self._truths = {}, np.zeros(2)
        for item, p in zip(items, p_I.tolist(), strict=True):
            self._p[item] = p
            self._count(item, self._verdicts[item], p, +1.0)
        for item, one in self._verdicts.items():
            if not self._teaches(item, one):
                self._p[item] = self._posterior(one, None)
        return sweeps


def _expectation_maximisation(
    p_I: NDArray[np.float64], known_I: NDArray[np.bool_], item_V: NDArray[np.int64], cell_V: NDArray[np.int64]
) -> tuple[int, NDArray[np.float64]]:
    """Sweeps and posteriors. `cell_V`: operator * 2 + says. As crowd-kit's, but known truths stay out of the prior:
    probes are wrong more often than what they stand among."""
    items, cells = p_I.size, int(cell_V.max()) | 1
    sweeps, moved = 0, math.inf
    while moved > _CLOSE and sweeps < _SWEEPS:
        prior = p_I[~known_I].mean() if not known_I.all() else 0.5
        joint_TI = []
        for weight_I, share in ((1 - p_I, 1 - prior), (p_I, prior)):
            counts = np.bincount(cell_V, weights=weight_I[item_V], minlength=cells + 1).astype(np.float64)
            log_share_C = np.log(_shares(counts.reshape(-1, 2))).ravel()
            said_I = np.bincount(item_V, weights=log_share_C[cell_V], minlength=items)
            joint_TI.append(said_I + math.log(max(share, _TINY)))
        right_I, wrong_I = joint_TI
        new_I = np.where(known_I, p_I, np.exp(wrong_I - np.logaddexp(right_I, wrong_I)))
        moved, p_I, sweeps = float(np.abs(new_I - p_I).max()), new_I, sweeps + 1
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
        p = DawidSkene().fit_predict_proba(
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
