"""Learning curves: what a new procedure can expect after its first days, alone or beside procedures known before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from selective_autonomy.errors import SplitError
from selective_autonomy.evaluation.accuracy import LevelFigures
from selective_autonomy.evaluation.intervals import Figure
from selective_autonomy.frozen import Frozen
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.splits import Split


@dataclass(frozen=True)
class Stretch:
    """The first `own` train sessions of the procedure, with `others` of other procedures beside them."""

    own: int
    others: int
    train: list[Session]


class CurvePoint(Frozen):
    """A policy trained on `own` sessions of the procedure and `others` without it.

    `figures`: as `evaluate_policy`, on every step of the measured sessions. `own_steps`: the levels on the steps done
    for the procedure itself; sessions often have others open beside it, whose steps the own sessions teach little of.
    """

    policy: str
    own: int
    others: int
    figures: dict[str, Figure]
    own_steps: LevelFigures | None = None
    train_seconds: float | None = None


class LearningCurve(Frozen):
    """Points measured on one and the same set of `sessions` (test split, with the procedure open)."""

    process_id: str
    procedure: str
    sessions: int
    steps: int
    points: tuple[CurvePoint, ...]

    def markdown(self) -> str:
        """One row a point."""
        lines = [f"**{self.procedure} of {self.process_id}**: {self.sessions} test sessions, {self.steps} steps", ""]
        own = f"tool of {self.procedure}'s own steps, %"
        lines += [f"| policy | own sessions | others | {own} | tool, % | strict, % | form exact, % | training, s |"]
        lines += ["|---|---|---|---|---|---|---|---|"]
        for point in self.points:
            cells = [_cell(point.own_steps.tool if point.own_steps else None)]
            cells += [_cell(point.figures.get(name)) for name in ("tool", "strict", "form_exact")]
            took = "–" if point.train_seconds is None else f"{point.train_seconds:.0f}"
            lines.append(f"| {point.policy} | {point.own} | {point.others} | {' | '.join(cells)} | {took} |")
        return "\n".join(lines) + "\n"


def measured_sessions(sessions: Sequence[Session], splits: Mapping[str, Split], procedure: str) -> list[Session]:
    """The test sessions that have the procedure open.

    Raises:
        SplitError: there are none.
    """
    return _with(sessions, splits, "test", procedure)


def stretches(
    sessions: Sequence[Session], splits: Mapping[str, Split], procedure: str, sizes: Sequence[int], *, beside: bool
) -> list[Stretch]:
    """The procedure's first train sessions in order of time: each size there are enough for, and all of them.

    Args:
        sizes: numbers of sessions, at least 1. beside: train with every train session of the other procedures too;
            the curve then starts at 0 sessions of its own.

    Raises:
        SplitError: the train split has no session with the procedure, or, `beside`, none without it.
    """
    own = sorted(_with(sessions, splits, "train", procedure), key=_in_time)
    others = [s for s in sessions if beside and splits.get(s.session_id) == "train" and procedure not in s.procedures]
    if beside and not others:
        raise SplitError(f"every train session has {procedure!r} open; there are no other procedures to train beside")
    wanted = {size for size in sizes if size < len(own)} | {len(own)} | ({0} if beside else set())
    return [Stretch(size, len(others), [*others, *own[:size]]) for size in sorted(wanted)]


def _with(sessions: Sequence[Session], splits: Mapping[str, Split], split: Split, procedure: str) -> list[Session]:
    found = [s for s in sessions if splits.get(s.session_id) == split and procedure in s.procedures]
    if not found:
        known = sorted({p for s in sessions if splits.get(s.session_id) == split for p in s.procedures})
        raise SplitError(f"no {split} session has procedure {procedure!r} open; expected one of {known}")
    return found


def _in_time(session: Session) -> tuple[bool, str, str]:
    started = session.started_at
    return started is None, started.isoformat() if started else "", session.session_id


def _cell(figure: Figure | None) -> str:
    return "–" if figure is None else f"{100 * figure.value:.1f} ({100 * figure.low:.1f} – {100 * figure.high:.1f})"
