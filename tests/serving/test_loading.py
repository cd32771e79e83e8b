"""A bundle that is not exactly what was registered and approved decides nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from small_bundle import Made

from bentos.decision.loading import verified
from selective_autonomy.bundle import DecisionBundle

APPROVAL = {"approved_by": "Ann Lee", "approved_at": "2026-01-02T03:04:05+00:00"}


@pytest.fixture
def labels(made: Made) -> dict[str, str]:
    bundle = DecisionBundle.load(made.path)
    return {"process_id": bundle.schema.id, "bundle_digest": bundle.digest, **APPROVAL}


def test_what_was_registered_and_approved_may_decide(made: Made, labels: dict[str, str]) -> None:
    bundle, refusal = verified(made.path, labels)
    assert refusal is None
    assert bundle is not None
    assert {bundle.decide(before).decision.outcome for before in made.unseen} == {"execute", "defer"}


@pytest.mark.parametrize("missing", sorted(APPROVAL))
def test_what_nobody_approved_may_not(made: Made, labels: dict[str, str], missing: str) -> None:
    assert verified(made.path, {**labels, missing: ""})[1] == "not_approved"
    del labels[missing]
    assert verified(made.path, labels)[1] == "not_approved"


@pytest.mark.parametrize("name", ["bundle_digest", "process_id"])
def test_what_is_not_what_was_registered_may_not(made: Made, labels: dict[str, str], name: str) -> None:
    assert verified(made.path, {**labels, name: "another"})[1] == "contract_mismatch"
    del labels[name]
    assert verified(made.path, labels)[1] == "contract_mismatch"


def test_an_altered_file_may_not(made: Made, labels: dict[str, str], tmp_path: Path) -> None:
    copy = shutil.copytree(made.path, tmp_path / "bundle")
    certificate = json.loads((copy / "certificate.json").read_text())
    certificate["slices"][0]["step"]["threshold"] = 0.0
    (copy / "certificate.json").write_text(json.dumps(certificate))
    assert verified(copy, labels) == (None, "contract_mismatch")


def test_a_missing_bundle_may_not(tmp_path: Path, labels: dict[str, str]) -> None:
    assert verified(tmp_path / "nothing", labels) == (None, "contract_mismatch")


def test_golden_cases_that_come_out_otherwise_may_not(made: Made, labels: dict[str, str], tmp_path: Path) -> None:
    """The file's digest is made right again, as if the code had changed since the decisions were recorded."""
    from selective_autonomy.bundle_files import file_digest

    copy = shutil.copytree(made.path, tmp_path / "bundle")
    lines = [json.loads(line) for line in (copy / "golden.jsonl").read_text().splitlines()]
    lines[3]["p_accept"] = 1 - lines[3]["p_accept"]
    (copy / "golden.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["files"]["golden.jsonl"] = file_digest(copy / "golden.jsonl")
    (copy / "manifest.json").write_text(json.dumps(manifest))
    labels["bundle_digest"] = DecisionBundle.load(copy).digest
    bundle, refusal = verified(copy, labels)
    assert bundle is not None
    assert refusal == "contract_mismatch"
