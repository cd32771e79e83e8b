"""The numbers of README and docs are those of the evidence files, to the letter."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagster_project.readme import DOCUMENTS, TABLES, EvidenceMissing, fill_tables

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_tables_are_written_from_the_evidence_files(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert fill_tables(text, ROOT / "docs" / "benchmarks") == text, "run `make readme`"


def test_every_table_stands_in_one_document() -> None:
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in DOCUMENTS]
    assert all(sum(f"<!-- {name}:begin -->" in text for text in texts) == 1 for name in TABLES)


def test_a_missing_evidence_file_is_named_with_its_command(tmp_path: Path) -> None:
    with pytest.raises(EvidenceMissing, match="make bench-certify"):
        fill_tables("<!-- certify:begin -->\n<!-- certify:end -->", tmp_path)
