"""`bench noise`, small: a tiny policy, every corruption once, and new cases worked through a sealed bundle."""

from __future__ import annotations

import shutil
from pathlib import Path

import dagster as dg
import pytest
from rich.console import Console

from dagster_project.bench.noise import noise_table, run_noise_bench
from dagster_project.experiments import noise_experiment
from dagster_project.resources.workspace import Workspace
from selective_autonomy.evaluation.corruptions import CORRUPTIONS
from selective_autonomy.evaluation.figures import noise_png
from selective_autonomy.evaluation.noise import RULES

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with the project's params; the tiny policy that the first test trains there serves the second."""
    folder = tmp_path_factory.mktemp("noise")
    shutil.copy(ROOT / "params.yaml", folder)
    return folder


def test_every_rule_meets_every_corruption_and_new_cases_are_worked(root: Path) -> None:
    console = Console(width=160, record=True)
    results = run_noise_bench(root=root, state=root / "state", console=console, small=True)
    assert set(results["desk"]) == set(CORRUPTIONS)
    for by_rate in results["desk"].values():
        for cell in by_rate.values():
            assert set(RULES) <= set(cell)
            assert all(0 <= cell[rule]["session_coverage"] <= cell[rule]["step_coverage"] <= 1 for rule in RULES)
    live = results["live"]
    assert live["cases"] == {"gated": 30, "human": 30}
    assert live["refused"] == 1 or live["step_coverage"] > 0
    console.print(noise_table(results))
    assert "rubber stamps" in console.export_text()
    assert noise_png(results["desk"], results["desk"]).startswith(b"\x89PNG")
    assert not (root / "docs").exists()  # a quick look is no evidence


def test_the_job_measures_the_same_in_dagster(root: Path) -> None:
    done = noise_experiment.execute_in_process(
        run_config={"ops": {"noisy_feedback": {"config": {"small": True}}}},
        resources={"workspace": Workspace(root=str(root), state=str(root / "state"))},
    )
    assert done.success
    (output,) = [e for e in done.all_events if e.event_type == dg.DagsterEventType.STEP_OUTPUT]
    said = output.step_output_data.metadata
    assert 0 <= said["session_coverage"].value <= said["session_risk"].value + 1
    assert "random_flips" in said["desk"].data
