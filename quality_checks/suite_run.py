"""Runs expectation specifications with Great Expectations and keeps every failing row.

Great Expectations caps `unexpected_list` at 200 values and `partial_unexpected_list` at 20, also with result format
COMPLETE; `unexpected_index_list` is whole, so failing rows are taken from there and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quality_checks.expectations import ExpectationSpec, Given

if TYPE_CHECKING:
    import pandas as pd

_RESULT_FORMAT = {
    "result_format": "COMPLETE",
    "include_unexpected_rows": False,
    "return_unexpected_index_query": False,  # one text with every failing index in it
}


@dataclass(frozen=True)
class SpecResult:
    """How one expectation went on one table.

    Args:
        failing_rows: positions of all failing rows, ascending; of a table-level statement: none.
        observed: the figure a table-level statement is about, as text; None where there is none.
        error: why the expectation could not be computed; it has then failed, for every row.
    """

    spec: ExpectationSpec
    success: bool
    n_rows: int
    failing_rows: tuple[int, ...] = ()
    observed: str | None = None
    error: str | None = None


def run_suite(specs: Sequence[ExpectationSpec], table: pd.DataFrame, given: Mapping[str, object]) -> list[SpecResult]:
    """Run specifications on one table; results in their order.

    Args:
        given: values for the `Given` arguments.

    Raises:
        KeyError: a specification needs a `Given` that is not there.
    """
    table = table.reset_index(drop=True)
    validation = _validate(specs, table, given)
    by_name = {result.expectation_config.meta["name"]: result for result in validation.results}
    return [_spec_result(spec, by_name[spec.name], len(table)) for spec in specs]


def _validate(specs: Sequence[ExpectationSpec], table: pd.DataFrame, given: Mapping[str, object]) -> Any:
    import great_expectations as gx
    from great_expectations import expectations as kinds
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.enable_analytics(False)  # said here, so that no environment variable can say otherwise
    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    suite = gx.ExpectationSuite(
        "checks",
        expectations=[
            getattr(kinds, spec.kind)(
                **{name: _resolved(value, given) for name, value in spec.arguments.items()},
                meta={"name": spec.name},
                severity="critical" if spec.severity == "error" else "warning",
            )
            for spec in specs
        ],
    )
    asset = context.data_sources.add_pandas("memory").add_dataframe_asset("table")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": table})
    return batch.validate(suite, result_format=_RESULT_FORMAT)


def _resolved(value: object, given: Mapping[str, object]) -> object:
    if isinstance(value, Given):
        return given[value.name]
    if isinstance(value, list):
        return [_resolved(item, given) for item in value]
    return value


def _spec_result(spec: ExpectationSpec, result: Any, n_rows: int) -> SpecResult:
    error = _error(result.exception_info)
    if error is not None:
        return SpecResult(spec, success=False, n_rows=n_rows, failing_rows=tuple(range(n_rows)), error=error)
    failing = tuple(sorted(int(row) for row in result.result.get("unexpected_index_list") or ()))
    observed = result.result.get("observed_value")
    observed = None if isinstance(observed, list) else observed  # the column names, which help nobody
    return SpecResult(
        spec,
        success=bool(result.success) and not failing,
        n_rows=n_rows,
        failing_rows=failing,
        observed=None if observed is None else str(observed),
    )


def _error(info: Mapping[str, Any]) -> str | None:
    """The first exception message; Great Expectations nests one mapping for each metric that could not be had."""
    entries = [info] if "raised_exception" in info else list(info.values())
    return next((str(e["exception_message"]) for e in entries if e["raised_exception"]), None)
