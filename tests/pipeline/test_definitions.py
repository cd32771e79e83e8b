"""The definitions: valid, quick to load, the same graph as the one on record, and kept to the conventions."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from dagster_project.checks.release import RELEASE_CHECKS
from dagster_project.definitions import defs
from dagster_project.jobs import LOOP, RELEASE
from quality_checks.expectations import FEEDBACK_EXPECTATIONS, TRACE_EXPECTATIONS

GRAPH = Path(__file__).with_name("asset_graph.json")
HEAVY = ("torch", "transformers", "mlflow", "great_expectations", "evidently", "lightgbm", "bentoml", "dvc", "pandas")


def graph_on_record() -> dict[str, object]:
    return json.loads(GRAPH.read_text(encoding="utf-8"))


def test_definitions_are_valid_and_every_job_resolves() -> None:
    dg.Definitions.validate_loadable(defs)
    for name in ("whole_loop", "release", "monitoring", "noise_experiment"):
        assert defs.resolve_job_def(name).name == name


def test_dagsters_own_command_validates_the_definitions(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "-m", "dagster_project.definitions"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_loading_the_definitions_imports_no_framework_but_dagster() -> None:
    code = f"import sys, dagster_project.definitions; print(sorted({set(HEAVY)} & sys.modules.keys()))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_the_asset_graph_is_the_one_on_record() -> None:
    """A change of the graph is meant or it is a mistake: the file says which assets feed which, in which group."""
    graph = defs.resolve_asset_graph()
    now = {
        key.to_user_string(): {
            "group": graph.get(key).group_name,
            "made_from": sorted(parent.to_user_string() for parent in graph.get(key).parent_keys),
            "blocking_checks": sum(graph.get(check).blocking for check in graph.get_check_keys_for_assets({key})),
            "warning_checks": sum(not graph.get(check).blocking for check in graph.get_check_keys_for_assets({key})),
        }
        for key in sorted(graph.materializable_asset_keys)
    }
    assert now == graph_on_record()


@pytest.mark.parametrize("name", [*LOOP, *RELEASE])
def test_every_asset_keeps_the_conventions(name: str) -> None:
    spec = next(spec for spec in defs.resolve_all_asset_specs() if spec.key == dg.AssetKey(name))
    assert spec.description
    assert spec.owners == ["team:ml-platform"]
    assert 1 <= len(spec.kinds) <= 3
    assert spec.code_version
    assert isinstance(spec.partitions_def, dg.DynamicPartitionsDefinition)


def test_there_is_one_check_for_each_expectation() -> None:
    graph = defs.resolve_asset_graph()
    for asset, expectations in (("validated_traces", TRACE_EXPECTATIONS), ("copilot_feedback", FEEDBACK_EXPECTATIONS)):
        checks = {key.name: graph.get(key).blocking for key in graph.get_check_keys_for_assets({dg.AssetKey(asset)})}
        assert checks == {one.name: one.blocking for one in expectations}


def test_a_release_stands_on_every_blocking_check_of_what_the_bundle_is_made_from() -> None:
    graph = defs.resolve_asset_graph()
    bundle = dg.AssetKey("decision_bundle")
    made_from = {bundle, *dg.AssetSelection.assets(bundle).upstream().resolve(graph)}
    blocking = {key for key in graph.get_check_keys_for_assets(made_from) if graph.get(key).blocking}
    assert blocking == {spec.key for spec in RELEASE_CHECKS if spec.blocking}
