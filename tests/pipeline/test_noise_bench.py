"""`bench noise`, small: a tiny policy, every corruption once, and new cases worked through a sealed bundle."""

from __future__ import annotations

import shutil
from pathlib import Path

from rich.console import Console

from dagster_project.bench.noise import noise_table, run_noise_bench
from selective_autonomy.evaluation.corruptions import CORRUPTIONS
from selective_autonomy.evaluation.figures import noise_png
from selective_autonomy.evaluation.noise import RULES

ROOT = Path(__file__).parents[2]


def test_every_rule_meets_every_corruption_and_new_cases_are_worked(tmp_path: Path) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    console = Console(width=160, record=True)
    results = run_noise_bench(root=tmp_path, state=tmp_path / "state", console=console, small=True)
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
    assert not (tmp_path / "docs").exists()  # a quick look is no evidence
