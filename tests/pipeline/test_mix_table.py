"""`bench mix`: what its table says, and that it names its settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from dagster_project.mix import mix_table, run_mix
from selective_autonomy.errors import ProcessError
from selective_autonomy.evaluation.intervals import binomial_interval
from selective_autonomy.evaluation.mix import MixFigures

ROOT = Path(__file__).parents[2]


def test_the_table_has_both_sets_at_both_levels_in_percent() -> None:
    levels = {"tool": binomial_interval(60, 100), "strict": binomial_interval(45, 100)}
    row = MixFigures(
        name="many logs", base="many logs", log_steps=900, corrections=0, log=levels, rejected_hard=levels,
        seconds=1, spent_seconds=2, tokens=3, training_steps=4,
    )  # fmt: skip
    results = {
        "split": "test",
        "sessions": {"held_out": 7},
        "rows": {row.name: row.model_dump(mode="json", exclude={"name"})},
    }
    console = Console(width=200, record=True)
    console.print(mix_table(results))
    said = console.export_text()
    assert "7 held-out sessions" in said
    assert said.count("60.0 (49.7 … 69.7)") == 2
    assert said.count("45.0 (") == 2


def test_a_setting_that_is_not_there_is_named_before_anything_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(ProcessError, match="no mix setting 'huge'; expected one of"):
        run_mix(root=ROOT, state=tmp_path, console=Console(), source=None, setting="huge")
