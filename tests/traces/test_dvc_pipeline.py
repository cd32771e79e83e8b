"""`dvc repro` as a user runs it: in a folder of its own, with no corpus, no Dagster and no network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PARTS = (".dvc/config", ".dvcignore", "dvc.yaml", "params.yaml", "data/bpmn", "data/desk_wording", "data/processes")
CASES = 60


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the pipeline needs, as a fresh git repository, with few cases to simulate."""
    root = tmp_path_factory.mktemp("project")
    for part in (*PARTS, "data/manifests", "selective_autonomy"):
        target = root / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(ROOT / part, target)
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["processes"]["broadband"]["cases"] = CASES
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    return root


def dvc(project: Path, *arguments: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=project,
        env={**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_repro_makes_canonical_traces_and_splits_and_a_second_one_does_nothing(project: Path) -> None:
    first = dvc(project, "repro", "import@broadband", "split@broadband")
    assert first.count("Running stage") == 2
    report = yaml.safe_load((project / "data/canonical/broadband/import_report.json").read_text())
    assert report["sessions"] == CASES
    assert report["illegal"] == {}
    before = (project / "dvc.lock").read_text()

    second = dvc(project, "repro", "import@broadband", "split@broadband")
    assert "Running stage" not in second
    assert "up to date" in second
    assert (project / "dvc.lock").read_text() == before


def test_with_the_lock_file_alone_the_same_bytes_are_made_again(project: Path) -> None:
    dvc(project, "repro", "import@broadband", "split@broadband")
    lock = (project / "dvc.lock").read_text()
    for made in ("data/canonical", "data/splits", ".dvc/cache", ".dvc/tmp"):
        shutil.rmtree(project / made)
    assert dvc(project, "repro", "import@broadband", "split@broadband").count("Running stage") == 2
    assert (project / "dvc.lock").read_text() == lock


def test_changed_shares_split_again_without_a_new_import_and_a_tuned_model_does_neither(project: Path) -> None:
    dvc(project, "repro", "import@broadband", "split@broadband")
    params = yaml.safe_load((project / "params.yaml").read_text())
    broadband = params["processes"]["broadband"]

    broadband["policy"]["epochs"] += 1
    (project / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    assert "Running stage" not in dvc(project, "repro", "import@broadband", "split@broadband")

    broadband["split"] = {"train": 0.4, "fit": 0.2, "calibrate": 0.2, "test": 0.2}
    (project / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    ran = dvc(project, "repro", "import@broadband", "split@broadband")
    assert "Running stage 'split@broadband'" in ran
    assert "Running stage 'import@broadband'" not in ran


def test_the_lock_file_names_no_place_on_this_machine(project: Path) -> None:
    dvc(project, "repro", "import@broadband")
    lock = (project / "dvc.lock").read_text()
    assert str(project) not in lock
    paths = [line.split("path: ")[1] for line in lock.splitlines() if "path: " in line]
    assert paths
    assert [path for path in paths if path.startswith(("/", ".."))] == []


def test_every_process_has_both_stages(project: Path) -> None:
    processes = yaml.safe_load((project / "params.yaml").read_text())["processes"]
    stages = {line.split()[0] for line in dvc(project, "stage", "list").splitlines()}
    assert stages == {f"{stage}@{process}" for stage in ("import", "split") for process in processes}


def test_nothing_is_reported_to_anybody() -> None:
    config = (ROOT / ".dvc" / "config").read_text()
    assert "analytics = false" in config
    assert "autostage = false" in config
