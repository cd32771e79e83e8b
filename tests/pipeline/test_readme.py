"""The README's numbers are those of the evidence files, to the letter."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagster_project.readme import EvidenceMissing, fill_tables

ROOT = Path(__file__).parents[2]


def test_the_tables_in_the_readme_are_written_from_the_evidence_files() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert fill_tables(readme, ROOT / "docs" / "benchmarks") == readme, "run `make readme`"


def test_a_missing_evidence_file_is_named_with_its_command(tmp_path: Path) -> None:
    with pytest.raises(EvidenceMissing, match="make demo"):
        fill_tables("", tmp_path)
