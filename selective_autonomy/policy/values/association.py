"""What customers' words say for a value that they do not name: "great, let's do it" for `Book` after `Check`.

Counts of words beside values, over train. A word's part is the log of how much likelier it is beside the value than
beside the field at all, shrunk towards none where there is little to count; a value's score is the sum over the words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PRIOR = 5.0  # texts that speak for no association; a value seen less often than this says little
LEFT_OUT = ""  # the value of a field that was not filled: no comparable value of a filled one is the empty text


class WordAssociation:
    """Association of words with the values of fields. Holds words and counts of values; never of personal fields.

    Args:
        texts: field -> texts counted. beside: "field<tab>value" -> texts. words: field -> word -> texts that hold it.
        words_beside: "field<tab>value" -> word -> texts.
    """

    def __init__(
        self,
        texts: Mapping[str, int],
        beside: Mapping[str, int],
        words: Mapping[str, Mapping[str, int]],
        words_beside: Mapping[str, Mapping[str, int]],
    ) -> None:
        self.texts, self.beside, self.words, self.words_beside = texts, beside, words, words_beside
        self._tables: dict[str, tuple[dict[str, int], dict[str, int], NDArray[np.float64]]] = {}

    @classmethod
    def count(cls, seen: Iterable[tuple[str, str, frozenset[str]]], vocabulary: frozenset[str]) -> WordAssociation:
        """Count (field, comparable value, words of the text) triples; words outside the vocabulary are not counted."""
        texts: Counter[str] = Counter()
        beside: Counter[str] = Counter()
        words: dict[str, Counter[str]] = {}
        words_beside: dict[str, Counter[str]] = {}
        for field, value, said in seen:
            known = sorted(said & vocabulary)
            texts[field] += 1
            beside[_key(field, value)] += 1
            words.setdefault(field, Counter()).update(known)
            words_beside.setdefault(_key(field, value), Counter()).update(known)
        return cls(texts, beside, words, words_beside)

    def scores(self, field: str, values: Sequence[str], said: frozenset[str]) -> list[float]:
        """How much the words speak for each value, in nats; 0 where nothing is known of the field or of the value."""
        if field not in self._tables:
            self._tables[field] = self._table(field)
        rows, columns, parts_WV = self._tables[field]
        at = sorted(rows[word] for word in said if word in rows)
        total_V = parts_WV[at].sum(0)
        return [float(total_V[columns[value]]) if value in columns else 0.0 for value in values]

    def to_json(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {"texts": self.texts, "beside": self.beside, "words": self.words, "words_beside": self.words_beside}

    def _table(self, field: str) -> tuple[dict[str, int], dict[str, int], NDArray[np.float64]]:
        """Row of each word, column of each value, and each word's part in the value's score."""
        said = self.words.get(field, {})
        rows = {word: i for i, word in enumerate(sorted(said))}
        keys = [key for key in self.beside if key.startswith(_key(field, ""))]
        columns = {key.removeprefix(_key(field, "")): i for i, key in enumerate(keys)}
        counts_WV = np.zeros((len(rows), len(columns)))
        for key, column in zip(keys, columns.values(), strict=True):
            for word, n in self.words_beside.get(key, {}).items():
                counts_WV[rows[word], column] = n
        share_W = np.array([said[word] for word in rows]) / max(self.texts.get(field, 0), 1)
        beside_V = np.array([float(self.beside[key]) for key in keys])
        likelihood_WV = (counts_WV + _PRIOR * share_W[:, None]) / (beside_V + _PRIOR)
        return rows, columns, np.log(likelihood_WV / share_W[:, None])


def _key(field: str, value: str) -> str:
    return f"{field}\t{value}"
