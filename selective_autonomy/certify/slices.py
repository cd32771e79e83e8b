"""Slices: action types with an alpha of their own, each with its own step promise; small ones fall back on a pool.

delta is shared equally by all statements that are tested: the slices, and the pool if there is one. A slice whose
laxest cut has passed has nothing laxer left to prove and hands its share on, in equal parts, to those that have
(where stricter cuts are tested as well, half of it: the other half stays with them).

Guarantee: P(some statement that passed is false) <= delta, as far as the test of one statement holds. Proof by
sequential rejection (Goeman & Solari 2010; the graphs of Bretz et al. 2009 are a special case): in every state the
levels of the cuts that come next add up to at most delta; no level falls when more cuts have passed; and levels follow
from how far each slice has come, not from the way there. The order of the cuts, the slices and which of them are small
never see a label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from selective_autonomy.certify.certificate import Bound, Slice
from selective_autonomy.certify.fixed_sequence import quantile_cuts
from selective_autonomy.certify.steps import StepRisk, StepTest, TestedCuts, pass_cuts, step_bound
from selective_autonomy.errors import CertificateError
from selective_autonomy.frozen import Frozen
from selective_autonomy.process.actions import ACTION_TYPES, ActionType
from selective_autonomy.process.schema import ProcessSchema


class SliceSpec(Frozen):
    """What is asked for a slice: its action types, and the share of wrong ones allowed among its executed steps."""

    name: str
    alpha: float = Field(gt=0, lt=1)
    action_types: tuple[ActionType, ...] = Field(min_length=1)


def slices_of(schema: ProcessSchema, alpha: float) -> tuple[SliceSpec, ...]:
    """The critical action types of a process by their own alpha, which `alpha` caps; strictest first.

    One alpha for all gives one slice. An action type that the schema does not list is critical, too.
    """
    by_alpha: dict[float, list[ActionType]] = {}
    for action_type in ACTION_TYPES:
        tier = schema.tier(action_type)
        if tier.tier == "critical":
            by_alpha.setdefault(min(alpha, tier.alpha), []).append(action_type)
    return tuple(
        SliceSpec(name=f"alpha {own:g}", alpha=own, action_types=tuple(by_alpha[own])) for own in sorted(by_alpha)
    )


def one_slice(alpha: float) -> tuple[SliceSpec, ...]:
    """All action types under one alpha."""
    return (SliceSpec(name=f"alpha {alpha:g}", alpha=alpha, action_types=ACTION_TYPES),)


def slice_codes(specs: Sequence[SliceSpec], action_type_N: Sequence[str] | None, n: int) -> NDArray[np.int64]:
    """The place in `specs` of each step's slice. `action_type_N` None: there is one slice, for whatever it is.

    Raises:
        CertificateError: an action type is in no slice or in two, lengths differ, or slices need types that are not
            given.
    """
    types = [action_type for spec in specs for action_type in spec.action_types]
    if not specs or len(set(types)) < len(types):
        raise CertificateError(f"an action type belongs to one slice; got {[spec.action_types for spec in specs]}")
    if action_type_N is None:
        if len(specs) > 1:
            raise CertificateError(f"{len(specs)} slices need the action type of every step; got none")
        return np.zeros(n, dtype=np.int64)
    if len(action_type_N) != n:
        raise CertificateError(f"got {len(action_type_N)} action types for {n} scores; expected as many")
    code = {str(action_type): i for i, spec in enumerate(specs) for action_type in spec.action_types}
    unknown = sorted(set(action_type_N) - code.keys())
    if unknown:
        raise CertificateError(f"steps of {unknown} are in no slice; expected {sorted(code)}: leave routine steps out")
    return np.fromiter((code[action_type] for action_type in action_type_N), dtype=np.int64, count=n)


@dataclass(frozen=True)
class Statement:
    """A tested family "step risk at this cut <= alpha": of one slice, or of the pool. `n`: its labelled steps."""

    risk: StepRisk
    tested: TestedCuts
    n: int

    @property
    def is_small(self) -> bool:
        """By the critic's own word, without any label: it will not pass, and with more labels it would."""
        if self.tested.start is None:
            return False
        return bool(self.tested.expected_upper[self.tested.start] > self.risk.alpha > float(self.tested.expected.min()))

    @property
    def is_done(self) -> bool:
        """The laxest cut has passed."""
        return bool(self.tested.passed) and self.tested.passed[-1] == self.tested.cuts.size - 1


@dataclass(frozen=True)
class TestedSlices:
    """`alone`: one statement a slice, in order; those of small ones were not tested. `pool`: all slices together."""

    specs: tuple[SliceSpec, ...]
    alone: tuple[Statement, ...]
    pool: Statement | None

    def in_force(self, at_least: float) -> tuple[Slice, ...]:
        """What each slice may rely on at thresholds of at least `at_least`, the session promise's.

        A slice runs at the lowest of its own cuts that passed. One that has none for want of labels runs under the
        pool: of the steps of all slices that score at least the pool's threshold, at most the strictest alpha are
        wrong. That says something about executed steps only if all those execute, so the pool's threshold is no lower
        than any slice's own, and with a slice that may not run at all (its errors are too many) there is no pool.
        """
        alone = [step_bound(s.risk, s.tested, s.n) for s in self.alone]
        step = [
            step_bound(s.risk, s.tested, s.n, at_least=at_least) if one.threshold is not None else one
            for s, one in zip(self.alone, alone, strict=True)
        ]
        pooled = self._pooled(step, at_least)
        return tuple(
            Slice(name=spec.name, action_types=spec.action_types, alone=one, step=own)
            if own.threshold is not None or pooled is None or own.n == 0
            else Slice(name=spec.name, action_types=spec.action_types, alone=one, step=pooled, fallback="pooled")
            for spec, one, own in zip(self.specs, alone, step, strict=True)
        )

    def may_run(self, at_least: float) -> bool:
        """Whether some slice is certified at thresholds of at least `at_least`: `in_force` without its account."""
        return any(s.tested.cuts[c] >= at_least for s in self.alone for c in s.tested.passed)

    def _pooled(self, step: Sequence[Bound], at_least: float) -> Bound | None:
        labelled = [bound for bound in step if bound.n]
        if self.pool is None or any(bound.refusal == "error_too_high" for bound in labelled):
            return None
        highest = max([at_least, *(bound.threshold for bound in labelled if bound.threshold is not None)])
        if not any(self.pool.tested.cuts[c] >= highest for c in self.pool.tested.passed):
            return None
        return step_bound(self.pool.risk, self.pool.tested, self.pool.n, at_least=highest)


def certify_slices(
    scores_N: NDArray[np.float64],
    wrong_N: NDArray[np.bool_],
    session_N: NDArray[np.int64],
    slice_N: NDArray[np.int64],
    specs: Sequence[SliceSpec],
    delta: float,
    test: StepTest,
    *,
    cuts: int,
    cuts_C: ArrayLike | None = None,
    both_ways: bool = False,
) -> TestedSlices:
    """Test every slice at its own alpha, and the pool if some slice is small, at delta for all together.

    Guarantee and assumptions: of the module, and of `pass_cuts`. Sees: calibrate only.

    Args:
        slice_N: codes of the steps' slices. A slice without steps takes no share of delta and is refused.
        cuts_C: as for `certify`; None: `cuts` quantiles of each slice's own scores.
    """

    def tried(chosen_N: NDArray[np.bool_], alpha: float, share: float, handed: float = 0.0) -> Statement:
        scores = scores_N[chosen_N]
        session = (
            session_N if chosen_N.all() else np.unique(session_N[chosen_N], return_inverse=True)[1].astype(np.int64)
        )
        at_C = quantile_cuts(scores, cuts) if cuts_C is None else np.asarray(cuts_C, dtype=np.float64)
        risk, tested = pass_cuts(
            scores, wrong_N[chosen_N], session, at_C, alpha, share, test, both_ways=both_ways, handed=handed
        )
        return Statement(risk, tested, scores.size)

    rows = [slice_N == i for i in range(len(specs))]
    labelled = [i for i, row_N in enumerate(rows) if row_N.any()]
    share = delta / max(len(labelled), 1)
    alone = [tried(row_N, spec.alpha, share) for row_N, spec in zip(rows, specs, strict=True)]
    small = {i for i in labelled if alone[i].is_small} if len(labelled) > 1 else set()
    everything_N = np.ones(scores_N.size, dtype=bool)
    asked = {i: (rows[i], specs[i].alpha) for i in labelled if i not in small}
    if small:
        asked[-1] = (everything_N, min(specs[i].alpha for i in labelled))
        share = delta / len(asked)
    statements = {i: tried(*given, share) for i, given in asked.items()} if small else {i: alone[i] for i in asked}
    while True:
        done = [i for i, statement in statements.items() if statement.is_done]
        open_ = [i for i in statements if i not in done]
        if not done or not open_:
            break
        handed = len(done) * share * (0.5 if both_ways else 1.0) / len(open_)
        statements |= {i: tried(*asked[i], share, handed) for i in open_}
        if not any(statements[i].is_done for i in open_):
            break
    for i in labelled:
        alone[i] = statements[i] if i in statements else replace(alone[i], tested=replace(alone[i].tested, passed=[]))
    return TestedSlices(tuple(specs), tuple(alone), statements.get(-1))
