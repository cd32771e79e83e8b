"""The small setting of `bench policy`: the whole measurement, on the embedded desk."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from dagster_project.bench.policy import policy_table, run_policy_bench

_PROJECT = Path(__file__).parents[2]


def test_the_small_measurement_finds_packing_and_the_cache_worth_it_and_writes_no_evidence() -> None:
    evidence = _PROJECT / "docs" / "benchmarks" / "policy-speed.json"
    before = evidence.read_bytes() if evidence.exists() else None
    results = run_policy_bench(root=_PROJECT, console=Console(quiet=True), source=None, small=True)
    training, serving = results["training"], results["serving"]
    assert training["packed_over_per_step_cpu"] > 4
    assert training["tokens_a_step"]["per_step"] > 5 * training["tokens_a_step"]["packed"]
    assert serving["cached_over_uncached_tokens"] < 0.4
    assert serving["cached_over_uncached_median_cpu"] < 1  # a model this small hardly pays for a prompt
    assert serving["same_action"] > 0.95
    assert results["precision"]["bf16"]["same_head"] > 0.8
    assert policy_table(results).row_count == 7
    assert (evidence.read_bytes() if evidence.exists() else None) == before
