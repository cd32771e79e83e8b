"""Why proposals are corrected, by operator: a reason that one gives far more often than the others is a habit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

import numpy as np

from selective_autonomy.errors import CertificateError
from selective_autonomy.evaluation.intervals import Figure, binomial_interval
from selective_autonomy.frozen import Frozen
from selective_autonomy.traces.schema import CorrectReason

# "accept" is no reason; a correction without one is counted as what it is.
ANSWERS = ("accept", *get_args(CorrectReason), "no_reason")


class Reasons(Frozen):
    """What was answered to `n` proposals: the share of each of `ANSWERS`, with exact 95 % intervals. They sum to 1."""

    n: int
    shares: dict[str, Figure]


def reasons(
    operator_N: Sequence[str], accepted_N: Sequence[bool], reason_N: Sequence[str | None]
) -> tuple[Reasons, dict[str, Reasons]]:
    """The crew's, and each operator's by id.

    The intervals take verdicts as independent; those of one session are not quite, so they are somewhat narrow.

    Args:
        reason_N: None where accepted, or where a log does not say why.

    Raises:
        CertificateError: sequences of different length, an accept with a reason, or an unknown reason.
    """
    if not len(operator_N) == len(accepted_N) == len(reason_N):
        raise CertificateError(
            f"got {len(operator_N)} operators, {len(accepted_N)} verdicts, {len(reason_N)} reasons; "
            "expected as many of each"
        )
    answer_N = [_answer(bool(ok), reason) for ok, reason in zip(accepted_N, reason_N, strict=True)]
    of: dict[str, list[str]] = {}
    for who, answer in zip(operator_N, answer_N, strict=True):
        of.setdefault(who, []).append(answer)
    return _shares(answer_N), {who: _shares(mine) for who, mine in sorted(of.items())}


def markdown(by_name: Mapping[str, Reasons]) -> str:
    """A table, a row a name, in order; shares in % with their intervals."""
    lines = [f"| operator | proposals | {' | '.join(ANSWERS)} |", "|---" * (len(ANSWERS) + 2) + "|"]
    for name, one in by_name.items():
        cells = [f"{100 * f.value:.1f} ({100 * f.low:.1f} to {100 * f.high:.1f})" for f in one.shares.values()]
        lines.append(f"| {name} | {one.n} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _answer(accepted: bool, reason: str | None) -> str:
    answer = "accept" if accepted else reason or "no_reason"
    if (accepted and reason is not None) or answer not in ANSWERS:
        raise CertificateError(
            f"got accepted {accepted!r} with reason {reason!r}; expected a reason of "
            f"{get_args(CorrectReason)} or None, and none with an accept"
        )
    return answer


def _shares(answers: Sequence[str]) -> Reasons:
    names, counts = np.unique(np.array(answers, dtype=str), return_counts=True)
    count = dict(zip(names.tolist(), counts.tolist(), strict=True))
    return Reasons(n=len(answers), shares={a: binomial_interval(count.get(a, 0), len(answers)) for a in ANSWERS})
