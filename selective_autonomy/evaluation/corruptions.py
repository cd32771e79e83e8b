"""Feedback made worse on purpose: what operators may do to the labels that a critic and a certificate stand on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Verdicts:
    """What is known of N proposals. Equally long columns, steps in order of time within a session.

    Args:
        rejected_N: what the operator says. wrong_N: what is true.
        operator_N: code of the operator who is asked. shift_N: how far into the shift, in [0, 1].
        kind_N: code of the action type that was proposed.
    """

    rejected_N: NDArray[np.bool_]
    wrong_N: NDArray[np.bool_]
    operator_N: NDArray[np.int64]
    shift_N: NDArray[np.float64]
    kind_N: NDArray[np.int64]


Corruption = Callable[[Verdicts, float, np.random.Generator], NDArray[np.bool_]]


def random_flips(said: Verdicts, rate: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Each verdict is turned round with probability `rate`."""
    return said.rejected_N ^ (rng.random(said.rejected_N.size) < rate)


def rubber_stamps(said: Verdicts, rate: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """A share `rate` of the verdicts is accepted unread."""
    return said.rejected_N & (rng.random(said.rejected_N.size) >= rate)


def over_rejecting(said: Verdicts, rate: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """A share `rate` of the accepted ones is rejected as well."""
    return said.rejected_N | (rng.random(said.rejected_N.size) < rate)


def one_biased_operator(said: Verdicts, rate: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """The operator with the most verdicts turns a share `rate` of them round."""
    busiest = np.bincount(said.operator_N).argmax()
    turned_N: NDArray[np.bool_] = (said.operator_N == busiest) & (rng.random(said.rejected_N.size) < rate)
    return said.rejected_N ^ turned_N


def biased_majority(said: Verdicts, rate: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Two operators in three overlook a share `rate` of what is wrong with the most frequent action type."""
    operators = int(said.operator_N.max()) + 1
    biased = rng.permutation(operators) < 2 * operators / 3
    blind_N = biased[said.operator_N] & (said.kind_N == np.bincount(said.kind_N).argmax())
    overlooked_N: NDArray[np.bool_] = blind_N & said.wrong_N & (rng.random(said.rejected_N.size) < rate)
    return said.rejected_N & ~overlooked_N


def end_of_shift(said: Verdicts, rate: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """In the last third of a shift reading gives way to accepting, for up to a share `rate` at its end."""
    hurry_N = np.clip((said.shift_N - 2 / 3) * 3, 0, 1) * rate
    read_N: NDArray[np.bool_] = rng.random(said.rejected_N.size) >= hurry_N
    return said.rejected_N & read_N


CORRUPTIONS: dict[str, tuple[Corruption, tuple[float, ...]]] = {
    "random_flips": (random_flips, (0.0, 0.1, 0.2, 0.3, 0.4)),
    "rubber_stamps": (rubber_stamps, (0.2, 0.5, 0.8)),
    "over_rejecting": (over_rejecting, (0.1, 0.2, 0.4)),
    "one_biased_operator": (one_biased_operator, (0.5, 1.0)),
    "biased_majority": (biased_majority, (0.3, 0.6, 0.9)),
    "end_of_shift": (end_of_shift, (0.5, 1.0)),
}
