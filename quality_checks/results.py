"""What validation answers: plain values, no engine's types."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from quality_checks.expectations import Severity, Suite
from quality_checks.suite_run import SpecResult
from selective_autonomy.traces.schema import Session


@dataclass(frozen=True)
class ExpectationOutcome:
    """How one expectation went.

    Args:
        blocking: while it fails, nothing downstream may run.
        n_rows: rows that were checked; n_failed: rows that failed (every row, if it could not be computed).
        failing_ids: the ids of ALL failing sessions (of procedures for `every_procedure_has_enough_sessions`),
            each once, in order of their rows; empty for a statement about a table as a whole.
        observed: the figure such a statement is about, as text.
        error: why it could not be computed, which counts as failed.
    """

    suite: Suite
    name: str
    severity: Severity
    blocking: bool
    success: bool
    n_rows: int
    n_failed: int
    description: str
    failing_ids: tuple[str, ...] = ()
    observed: str | None = None
    error: str | None = None


def outcome(result: SpecResult, ids: list[str]) -> ExpectationOutcome:
    """The outcome of a result whose row `i` belongs to `ids[i]`."""
    spec = result.spec
    return ExpectationOutcome(
        suite=spec.suite,
        name=spec.name,
        severity=spec.severity,
        blocking=spec.blocking,
        success=result.success,
        n_rows=result.n_rows,
        n_failed=len(result.failing_rows),
        description=spec.description,
        failing_ids=tuple(dict.fromkeys(ids[row] for row in result.failing_rows)),
        observed=result.observed,
        error=result.error,
    )


@dataclass(frozen=True)
class QuarantinedSession:
    """A bad session with the names of all expectations it failed, and what is known about each failure.

    `details` lines start with the expectation's name; they may quote the log, so they stay with the quarantine.
    """

    session: Session
    reasons: tuple[str, ...]
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class UnreadableRow:
    """A raw row that is no session: its 1-based line, its text, and every reason."""

    line: int
    text: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class ValidationResult:
    """Every session is in exactly one of `good`, `set_aside` and `quarantined`, in input order.

    `set_aside` are sessions without a defect that were not worked to their end (early disconnects, open cases):
    expected, counted and kept, useful as negative cases, not trained on.
    """

    good: list[Session]
    set_aside: list[Session]
    quarantined: list[QuarantinedSession]
    unreadable: tuple[UnreadableRow, ...]
    outcomes: list[ExpectationOutcome]

    @property
    def bad_share(self) -> float:
        """Quarantined and unreadable among all that were not set aside; 0 when there was nothing."""
        bad = len(self.quarantined) + len(self.unreadable)
        return bad / (bad + len(self.good)) if bad else 0.0

    @property
    def blocks(self) -> bool:
        """Whether nothing downstream may run."""
        return any(o.blocking and not o.success for o in self.outcomes)

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many sessions went where."""
        return {
            "good": len(self.good),
            "set_aside": len(self.set_aside),
            "quarantined": len(self.quarantined),
            "unreadable": len(self.unreadable),
        }
