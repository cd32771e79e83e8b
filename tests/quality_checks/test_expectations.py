"""The list of expectations is complete, and cheap to read."""

from __future__ import annotations

import subprocess
import sys

from quality_checks.expectations import FEEDBACK_EXPECTATIONS, TRACE_EXPECTATIONS, expectation_names


def test_every_expectation_has_a_name_of_its_own() -> None:
    names = [name for _, name, _, _ in expectation_names()]
    assert len(names) == len(set(names)) == len(TRACE_EXPECTATIONS) + len(FEEDBACK_EXPECTATIONS)


def test_only_statements_about_a_whole_table_block() -> None:
    blocking = {spec.name: spec.kind for spec in (*TRACE_EXPECTATIONS, *FEEDBACK_EXPECTATIONS) if spec.blocking}
    assert blocking
    assert all(kind.startswith(("ExpectTable", "ExpectColumnMean", "ExpectColumnUnique")) for kind in blocking.values())


def test_the_names_are_known_without_an_engine() -> None:
    code = (
        "import sys; from quality_checks.expectations import expectation_names; expectation_names(); "
        "heavy = {'great_expectations', 'evidently', 'pandas', 'pydantic', 'numpy'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_validating_needs_no_engine_until_it_runs() -> None:
    code = (
        "import sys; import quality_checks.traces, quality_checks.feedback, quality_checks.drift, quality_checks.raw; "
        "heavy = {'great_expectations', 'evidently', 'torch'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
