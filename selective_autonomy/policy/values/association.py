"""What customers' words say for a value that they do not name: "great, let's do it" for `Book` after `Check`.

Counts of words beside values, over train. A word's part is the log of how much likelier it is beside the value than
beside the field at all, shrunk towards none where there is little to count; a value's score is the sum over the words.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping

_PRIOR = 20.0  # texts that speak for no association; a value seen less often than this says little
LEFT_OUT = ""  # the value of a field that was not filled: no comparable value of a filled one is the empty text


class WordAssociation:
    """Association of words with the values of fields. Holds words and counts of values; never of personal fields.

    Args:
        texts: field -> texts counted. beside: "field value" -> texts. words: field -> word -> texts that hold it.
        words_beside: "field value" -> word -> texts.
    """

    def __init__(
        self,
        texts: Mapping[str, int],
        beside: Mapping[str, int],
        words: Mapping[str, Mapping[str, int]],
        words_beside: Mapping[str, Mapping[str, int]],
    ) -> None:
        self.texts, self.beside, self.words, self.words_beside = texts, beside, words, words_beside

    @classmethod
    def count(cls, seen: Iterable[tuple[str, str, frozenset[str]]], vocabulary: frozenset[str]) -> WordAssociation:
        """Count (field, comparable value, words of the text) triples; words outside the vocabulary are not counted."""
        texts: Counter[str] = Counter()
        beside: Counter[str] = Counter()
        words: dict[str, Counter[str]] = {}
        words_beside: dict[str, Counter[str]] = {}
        for field, value, said in seen:
            known = said & vocabulary
            texts[field] += 1
            beside[_key(field, value)] += 1
            words.setdefault(field, Counter()).update(known)
            words_beside.setdefault(_key(field, value), Counter()).update(known)
        return cls(texts, beside, words, words_beside)

    def score(self, field: str, value: str, said: frozenset[str]) -> float:
        """How much the words speak for the value, in nats; 0 where nothing is known of the field."""
        texts = self.texts.get(field, 0)
        if not texts:
            return 0.0
        beside, beside_words = self.beside.get(_key(field, value), 0), self.words_beside.get(_key(field, value), {})
        total = 0.0
        for word in said:
            n = self.words[field].get(word, 0)
            if n:
                share = n / texts
                total += math.log((beside_words.get(word, 0) + _PRIOR * share) / (beside + _PRIOR) / share)
        return total


def _key(field: str, value: str) -> str:
    return f"{field} {value}"
