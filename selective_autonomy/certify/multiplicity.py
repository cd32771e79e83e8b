"""Several tests at one level."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float], level: float) -> list[bool]:
    """Which hypotheses fall: the smallest p-value is held against level / m, the next against level / (m - 1), ...

    Guarantee: P(some true hypothesis falls) <= level, whatever the dependence between the tests (Holm 1979).
    """
    rejected = [False] * len(p_values)
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        if p_values[i] > level / (len(p_values) - rank):
            break
        rejected[i] = True
    return rejected
