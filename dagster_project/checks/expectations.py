"""One Dagster check for each expectation of `quality_checks`; declared without importing Great Expectations."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from dagster_project.conventions import process_check
from quality_checks.expectations import FEEDBACK_EXPECTATIONS, TRACE_EXPECTATIONS, ExpectationSpec

if TYPE_CHECKING:
    from quality_checks.results import ExpectationOutcome


def _declare(asset: str, specs: Sequence[ExpectationSpec]) -> list[dg.AssetCheckSpec]:
    return [
        process_check(
            spec.name,
            asset,
            spec.description,
            blocking=spec.blocking,
            metadata={"suite": spec.suite, "effect": spec.effect},
        )
        for spec in specs
    ]


TRACE_CHECKS = _declare("validated_traces", TRACE_EXPECTATIONS)
FEEDBACK_CHECKS = _declare("copilot_feedback", FEEDBACK_EXPECTATIONS)


def expectation_results(outcomes: "Iterable[ExpectationOutcome]") -> Iterator[dg.AssetCheckResult]:
    """What Great Expectations found, as check results. Only an expectation that blocks has severity ERROR."""
    for outcome in outcomes:
        yield dg.AssetCheckResult(
            check_name=outcome.name,
            passed=outcome.success,
            severity=dg.AssetCheckSeverity.ERROR if outcome.blocking else dg.AssetCheckSeverity.WARN,
            metadata=_facts(outcome),
        )


def _facts(outcome: "ExpectationOutcome") -> dict[str, object]:
    # Check metadata is for looking at: ten ids say where to look, the quarantine file has all of them.
    facts: dict[str, object] = {"rows": outcome.n_rows, "failed rows": outcome.n_failed}
    if outcome.failing_ids:
        facts["failing ids"] = ", ".join(outcome.failing_ids[:10])
    if outcome.observed is not None:
        facts["observed"] = outcome.observed
    if outcome.error is not None:
        facts["error"] = outcome.error
    return facts
