"""`bench certify`, small: every rule in every cell, MAPIE's own library among them."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from dagster_project.bench.certify import certify_table, run_certify_bench


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    root = tmp_path_factory.mktemp("certify")
    found = run_certify_bench(root=root, state=root / "state", console=Console(), small=True)
    assert not list(root.rglob("*.json"))  # a quick look is no evidence
    return found


def test_every_cell_has_every_rule_and_none_beats_the_oracle_but_by_breaking_its_promise(
    results: dict[str, dict[str, dict[str, dict[str, float]]]],
) -> None:
    for cell in results["simulated"].values():
        assert set(cell) == {"oracle", "naive", "sgr", "bonferroni", "ours", "mapie_holm", "mapie_fixed_sequence"}
        for name, rule in cell.items():
            if name not in ("oracle", "naive"):
                assert rule["coverage"] <= cell["oracle"]["coverage"]
                assert rule["violation_rate"] <= 0.15
        assert cell["ours"]["coverage"] >= cell["mapie_fixed_sequence"]["coverage"]
    assert results["simulated"]["0.10,500"]["mapie_holm"]["coverage"] > 0.5


def test_the_table_has_a_row_a_cell(results: dict[str, object]) -> None:
    console = Console(width=200, record=True)
    console.print(certify_table(results))
    said = console.export_text()
    assert all(alpha in said for alpha in ("0.10", "0.05", "0.02", "0.01"))
    assert "mapie holm" in said


def test_the_picture_is_drawn(results: dict[str, object], tmp_path: Path) -> None:
    from dagster_project.bench.certify import _picture

    assert _picture(results).startswith(b"\x89PNG")
