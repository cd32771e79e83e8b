from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from bike_shop import SCHEMA, session
from typer.testing import CliRunner, Result

from dagster_project.cli import app
from selective_autonomy.process.schema import save_process
from selective_autonomy.traces.splits import read_splits
from selective_autonomy.traces.store import read_sessions, write_jsonl

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A folder with params.yaml for a process `bikes`, whose traces are our own JSON lines."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    bikes = {**params["processes"]["star"], "source": "jsonl"}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({**params, "processes": {"bikes": bikes}}))
    raw = tmp_path / "data" / "raw" / "bikes"
    save_process(SCHEMA, raw / "process.yaml")
    write_jsonl([session(n) for n in range(40)] + [session(50, status="open")], raw / "sessions.jsonl")
    return tmp_path


def run(workspace: Path, *arguments: str) -> Result:
    where = ["--params", str(workspace / "params.yaml"), "--data", str(workspace / "data")]
    return CliRunner().invoke(app, ["traces", *arguments, *where])


def test_own_traces_are_imported_and_split(workspace: Path) -> None:
    imported = run(workspace, "import", "bikes")
    assert imported.exit_code == 0, imported.output
    assert "41 sessions (40 complete with a step), 123 steps, 3 operators, 0 illegal steps" in imported.output
    assert len(read_sessions(workspace / "data" / "canonical" / "bikes" / "sessions.parquet")) == 41
    split = run(workspace, "split", "bikes")
    assert split.exit_code == 0, split.output
    assert "train 24, fit 7, calibrate 3, test 6; 1 sessions left out" in split.output
    assert len(read_splits(workspace / "data" / "splits" / "bikes.parquet")) == 40


def test_what_goes_wrong_is_one_line_with_a_code_and_no_traceback(workspace: Path) -> None:
    (workspace / "data" / "raw" / "bikes" / "sessions.jsonl").write_text("{\n")
    failed = run(workspace, "import", "bikes")
    assert failed.exit_code == 1
    assert failed.output.startswith("corrupt_trace_file: ")
    assert "sessions.jsonl, line 1" in failed.output
    assert "Traceback" not in failed.output
    assert not (workspace / "data" / "canonical" / "bikes").exists()


def test_an_unknown_process_is_refused_with_the_known_ones(workspace: Path) -> None:
    failed = run(workspace, "import", "boats")
    assert failed.exit_code == 1
    assert "no process 'boats'; expected one of ['bikes']" in failed.output


def test_published_schemas_are_up_to_date_or_the_check_fails(tmp_path: Path) -> None:
    runner = CliRunner()
    assert runner.invoke(app, ["traces", "schemas", "--check", "--out", str(ROOT / "docs" / "schemas")]).exit_code == 0
    stale = runner.invoke(app, ["traces", "schemas", "--check", "--out", str(tmp_path)])
    assert stale.exit_code == 1
    assert "session.schema.json, process.schema.json" in stale.output
    assert runner.invoke(app, ["traces", "schemas", "--out", str(tmp_path)]).exit_code == 0
    assert runner.invoke(app, ["traces", "schemas", "--check", "--out", str(tmp_path)]).exit_code == 0


def test_help_loads_none_of_the_heavy_libraries() -> None:
    heavy = [
        "torch",
        "transformers",
        "pandas",
        "pyarrow",
        "dagster",
        "mlflow",
        "bentoml",
        "evidently",
        "great_expectations",
    ]
    code = (
        "import sys; from typer.testing import CliRunner; from dagster_project.cli import app; "
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_answers_in_well_under_a_second_of_processor_time() -> None:
    command = [sys.executable, "-c", "from dagster_project.cli import app; app()", "--help"]
    before = os.times()
    started = time.monotonic()
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    after = os.times()
    spent = (after.children_user + after.children_system) - (before.children_user + before.children_system)
    assert spent < 0.8, f"{spent:.2f} s of processor time, {time.monotonic() - started:.2f} s on the clock"
