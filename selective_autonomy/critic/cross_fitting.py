"""What every critic does with its feedback first: check its labels, and deal sessions into folds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from selective_autonomy.errors import ModelError

FOLDS = 5


def session_folds(session_of_N: Sequence[str], seed: int) -> NDArray[np.int64]:
    """`fold_N`: sessions dealt out evenly in a seeded order, so that no session is in two folds.

    Raises:
        ModelError: fewer than two sessions.
    """
    sessions = sorted(set(session_of_N))
    if len(sessions) < 2:
        raise ModelError(f"got feedback of {len(sessions)} sessions, expected at least 2: collect more feedback")
    order = np.random.default_rng(seed).permutation(len(sessions))
    fold = {sessions[s]: place % FOLDS for place, s in enumerate(order)}
    return np.fromiter((fold[s] for s in session_of_N), dtype=np.int64, count=len(session_of_N))


def held_out(fold_N: NDArray[np.int64], accepted_N: NDArray[np.bool_]) -> Iterator[NDArray[np.bool_]]:
    """For each fold, which rows it holds out.

    Raises:
        ModelError: all labels outside a fold are equal: nothing can be learned from one class.
    """
    for fold in np.unique(fold_N):
        held_N = fold_N == fold
        rest = accepted_N[~held_N]
        if rest.all() or not rest.any():
            raise ModelError(
                f"all {rest.size} labels outside fold {int(fold)} are {bool(rest[0])}; "
                "expected both accepted and corrected proposals: collect more feedback"
            )
        yield held_N


def checked_labels(accepted_N: ArrayLike, n: int) -> NDArray[np.bool_]:
    """The labels of `n` proposals as booleans.

    Raises:
        ModelError: there are more or fewer, or one is NaN or neither 0 nor 1.
    """
    labels = np.asarray(accepted_N)
    if labels.shape != (n,):
        raise ModelError(f"got labels of shape {labels.shape} for {n} proposals; give one label a proposal")
    if not bool(np.all((labels == 0) | (labels == 1))):
        bad = int(np.flatnonzero(~((labels == 0) | (labels == 1)))[0])
        raise ModelError(f"label {bad} is {labels[bad]!r}; expected 1 (accepted) or 0 (corrected)")
    return labels.astype(bool)
