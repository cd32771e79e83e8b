"""Which words go with which value: what a customer says seldom names the topic, the reason or the status that is filed.

For each field with values that come again: log-likelihood ratios of the words of the messages, given the value, shrunk
towards none. Counts of train are taken without the session that is scored, so a score learned on is one as it is met.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_WORDS = 400  # kept of each field, those that tell most
_LEAST = 3  # sessions in which a word was said
_SHRINK = 2.0  # as many imagined messages of every value hold a word as often as those of all values do


@dataclass(frozen=True, slots=True)
class Heard:
    """What was said (a set of words) when a field got `value` ("": it was left out)."""

    value: str
    words: frozenset[str]


class FieldAssociation:
    """The words of one field's values.

    Args:
        values: V of them. times_V: how often each was given. words: W of them. counts_WV: how often with each value.
    """

    def __init__(
        self, values: Sequence[str], times_V: NDArray[np.float64], words: Sequence[str], counts_WV: NDArray[np.float64]
    ) -> None:
        self.values = {value: i for i, value in enumerate(values)}
        self._times_V, self._counts_WV = times_V, counts_WV
        self._words = {word: i for i, word in enumerate(words)}

    @classmethod
    def fit(cls, heard: Sequence[Heard]) -> FieldAssociation | None:
        """None where there are not two values, or no word that comes again."""
        times = Counter(one.value for one in heard)
        values = sorted(times)
        said = Counter(word for one in heard for word in one.words)
        words = sorted(word for word, n in said.items() if _LEAST <= n < len(heard))
        if len(values) < 2 or not words:
            return None
        at, place = {word: i for i, word in enumerate(words)}, {value: i for i, value in enumerate(values)}
        counts_WV = np.zeros((len(words), len(values)))
        for one in heard:
            counts_WV[[at[word] for word in one.words if word in at], place[one.value]] += 1
        times_V = np.array([float(times[value]) for value in values])
        expected_WV = counts_WV.sum(1, keepdims=True) * times_V / times_V.sum()
        telling_W = ((counts_WV - expected_WV) ** 2 / np.maximum(expected_WV, 0.5)).sum(1)
        kept = np.sort(np.argsort(-telling_W, kind="stable")[:_WORDS])
        return cls(values, times_V, [words[i] for i in kept], counts_WV[kept])

    def scores(self, words: Iterable[str], without: Sequence[Heard] = ()) -> NDArray[np.float64]:
        """(V,): log of how much likelier each value makes the words; 0: they say nothing of it.

        Args:
            without: what is taken out of the counts: all that was heard in the scored session, if it is one of train.
        """
        rows = sorted(self._words[word] for word in words if word in self._words)
        if not rows:
            return np.zeros(len(self.values))
        counts_WV, times_V = self._counts_WV[rows].copy(), self._times_V.copy()
        at = {row: i for i, row in enumerate(rows)}
        for one in without:
            v = self.values[one.value]
            times_V[v] -= 1
            for word in one.words:
                i = at.get(self._words.get(word, -1))
                if i is not None:
                    counts_WV[i, v] -= 1
        share_W = np.maximum(counts_WV.sum(1), 0.5) / max(times_V.sum(), 1.0)
        likelihood_WV = (counts_WV + _SHRINK * share_W[:, None]) / (times_V + _SHRINK)
        scores_V: NDArray[np.float64] = np.log(likelihood_WV / share_W[:, None]).sum(0)
        return scores_V

    def to_json(self) -> dict[str, Any]:
        rows, columns = np.nonzero(self._counts_WV)
        cells = [[int(w), int(v), int(self._counts_WV[w, v])] for w, v in zip(rows, columns, strict=True)]
        times = [int(n) for n in self._times_V]
        return {"values": list(self.values), "times": times, "words": list(self._words), "cells": cells}

    @classmethod
    def of_json(cls, data: Mapping[str, Any]) -> FieldAssociation:
        counts_WV = np.zeros((len(data["words"]), len(data["values"])))
        for w, v, n in data["cells"]:
            counts_WV[w, v] = n
        return cls(data["values"], np.array(data["times"], dtype=np.float64), data["words"], counts_WV)
