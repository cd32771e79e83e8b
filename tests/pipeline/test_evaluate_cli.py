"""`selective-autonomy evaluate` on the tiny bank with policies of counts: trains, measures, writes, logs, keeps."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from project import write_params
from tiny_bank import tiny_schema, tiny_sessions
from typer.testing import CliRunner, Result

from dagster_project.cli import app
from dagster_project.registry.tracking import Tracking
from selective_autonomy.evaluation.accuracy import LevelFigures
from selective_autonomy.evaluation.curves import LearningCurve
from selective_autonomy.evaluation.outcomes import LEVELS
from selective_autonomy.evaluation.policy_report import PolicyReport
from selective_autonomy.params import SplitShares, load_params
from selective_autonomy.process.schema import save_process
from selective_autonomy.traces.splits import assign_splits, write_splits
from selective_autonomy.traces.store import write_sessions

EVALUATED = {
    "policy": {"kind": "ngram"},
    "rivals": {"counts": {"kind": "ngram"}},
    "holdouts": {"operators": ["op-1"], "procedures": ["card"]},
    "curves": {"procedures": ["card"], "sizes": [5, 10]},
}


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    write_params(tmp_path, **EVALUATED)
    return with_sessions(tmp_path, 120)


def with_sessions(root: Path, number: int) -> Path:
    """Sessions and splits as DVC leaves them."""
    sessions = tiny_sessions(number)
    canonical = root / "data" / "canonical" / "bank"
    save_process(tiny_schema(), canonical / "process.yaml")
    write_sessions(sessions, canonical / "sessions.parquet")
    shares = SplitShares(train=0.4, fit=0.25, calibrate=0.2, test=0.15)
    (root / "data" / "splits").mkdir()
    write_splits(assign_splits(sessions, shares), root / "data" / "splits" / "bank.parquet")
    return root


def evaluate(root: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["evaluate", *arguments, "--root", str(root)])


def report(root: Path, holdout: str, policy: str) -> PolicyReport:
    path = root / ".state" / "evaluation" / "bank" / holdout / policy / "report.json"
    return PolicyReport.model_validate_json(path.read_text(encoding="utf-8"))


def evidence(root: Path) -> dict:
    return json.loads((root / "docs" / "benchmarks" / "bank.json").read_text(encoding="utf-8"))["results"]


def test_policies_are_compared_on_the_test_split_with_tables_figures_and_a_run_each(bank: Path) -> None:
    done = evaluate(bank, "policy", "bank", "--policy", "policy", "--policy", "counts")
    assert done.exit_code == 0, done.output
    assert "18 sessions" in done.output
    folder = bank / ".state" / "evaluation" / "bank" / "none"
    assert {one.name for one in (folder / "counts").iterdir()} == {
        "report.json", "report.md", "by_action.png", "by_procedure.png"
    }  # fmt: skip
    assert {"comparison.md", "comparison.png"} <= {one.name for one in folder.iterdir()}
    own, rival = report(bank, "none", "policy"), report(bank, "none", "counts")
    assert own.figures == rival.figures
    assert own.train_sessions == 48
    assert own.cost.seconds_a_step is not None
    assert own.cost.tokens_a_step is None
    client = Tracking.local(bank / ".state").client()
    experiment = client.get_experiment_by_name("bank")
    runs = {run.data.tags["policy"]: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"policy", "counts"}
    assert runs["counts"].data.metrics["tool"] == rival.figures["tool"].value
    assert runs["counts"].data.params["kind"] == "ngram"


def test_unseen_operators_and_processes_go_into_the_evidence_under_their_keys(bank: Path) -> None:
    for holdout in ("operators", "processes"):
        done = evaluate(
            bank, "policy", "bank", "--policy", "policy", "--policy", "counts", "--holdout", holdout, "--evidence"
        )
        assert done.exit_code == 0, done.output
    got = evidence(bank)
    unseen = report(bank, "operators", "policy")
    assert set(unseen.by_operator) == {"op-1"}
    assert got["policy"]["unseen_operators"]["tool"] == unseen.figures["tool"].model_dump()
    assert (
        got["baselines"]["counts"]["unseen_processes"]["action_strict"]["n"]
        == report(bank, "processes", "counts").steps
    )
    assert set(report(bank, "processes", "policy").by_procedure) == {"card"}
    assert got["added"]["policy.unseen_operators"]["command"].endswith(
        "--policy policy --policy counts --holdout operators --evidence"
    )


def test_a_policy_that_was_trained_before_is_used_again_until_its_sessions_change(bank: Path) -> None:
    policies = bank / ".state" / "evaluation" / "bank" / "policies"
    for _ in range(2):
        assert evaluate(bank, "policy", "bank").exit_code == 0
        assert len(list(policies.glob("policy-*/policy.json"))) == 1
    assert evaluate(bank, "policy", "bank", "--holdout", "operators").exit_code == 0
    assert len(list(policies.glob("policy-*/policy.json"))) == 2


def test_a_learning_curve_grows_with_the_procedures_own_sessions(bank: Path) -> None:
    done = evaluate(bank, "curve", "bank", "--policy", "counts", "--evidence")
    assert done.exit_code == 0, done.output
    folder = bank / ".state" / "evaluation" / "bank" / "curves" / "card"
    curve = LearningCurve.model_validate_json((folder / "curve.json").read_text(encoding="utf-8"))
    assert [(p.own, p.others) for p in curve.points] == [(5, 0), (10, 0), (24, 0), (0, 24), (5, 24), (10, 24), (24, 24)]
    assert curve.points[3].own_steps == LevelFigures(**{n: curve.points[3].figures[n] for n in LEVELS})
    assert curve.points[3].figures["tool"].value < curve.points[-1].figures["tool"].value
    assert (folder / "curve.png").stat().st_size > 5_000
    assert [row["own"] for row in evidence(bank)["learning_curves"]["card"]["counts"]] == [5, 10, 24, 0, 5, 10, 24]


def test_a_certificate_runs_with_unseen_operators_and_refuses_unseen_processes(tmp_path: Path) -> None:
    write_params(tmp_path, **{**EVALUATED, "holdouts": {"operators": ["op-1"], "procedures": ["balance"]}})
    bank = with_sessions(tmp_path, 400)
    for holdout in ("operators", "processes"):
        done = evaluate(bank, "certificate", "bank", "--holdout", holdout, "--evidence")
        assert done.exit_code == 0, done.output
        assert f"unseen {holdout}: " in done.output
    got = evidence(bank)
    operators, processes = got["certified_unseen_operators"], got["certified_unseen_processes"]
    assert (operators["sessions"], processes["sessions"]) == (80, 200)
    known, unknown = operators["tool"]["0.20"], processes["tool"]["0.20"]
    assert known["coverage"]["value"] > 0
    assert known["risk"]["value"] <= 0.2
    assert known["any_procedure"] == {name: known[name] for name in ("coverage", "risk", "session_risk")}
    assert unknown["threshold"] is not None
    assert unknown["coverage"]["value"] == 0
    assert (unknown["risk"]["value"], unknown["risk"]["n"]) == (None, 0)
    assert unknown["any_procedure"]["risk"]["low"] > 0.2, "the promise would be broken"
    assert 0.5 < operators["auroc"]["tool"]["value"] <= 1
    assert set(got["added"]) == {"certified_unseen_operators", "certified_unseen_processes"}
    folder = bank / ".state" / "evaluation" / "bank" / "processes" / "certificate"
    assert {one.name for one in folder.iterdir()} == {"report.md", "tool.json", "strict.json"}


def test_some_sessions_can_be_measured_but_not_made_evidence_of(bank: Path) -> None:
    done = evaluate(bank, "policy", "bank", "--sessions", "4")
    assert done.exit_code == 0, done.output
    assert report(bank, "none", "policy").sessions == 4
    refused = evaluate(bank, "policy", "bank", "--sessions", "4", "--evidence")
    assert refused.exit_code == 2
    assert not (bank / "docs").exists()


@pytest.mark.parametrize(
    ("changed", "arguments", "said"),
    [
        ({}, ("policy", "bonk"), "no process 'bonk'"),
        ({}, ("policy", "bank", "--policy", "oracle"), "no policy 'oracle': expected ['counts', 'policy']"),
        ({}, ("curve", "bank", "--procedure", "loan"), "no test session has procedure 'loan' open"),
        ({"holdouts": None}, ("policy", "bank", "--holdout", "operators"), "nothing to hold out for 'operators'"),
        ({"curves": None}, ("curve", "bank"), "has no curves for bank"),
        ({"holdouts": {"procedures": ["loan"]}}, ("policy", "bank", "--holdout", "processes"), "no measured sessions"),
    ],
)
def test_what_cannot_be_evaluated_is_one_line_that_says_why(
    bank: Path, changed: dict[str, object], arguments: tuple[str, ...], said: str
) -> None:
    write_params(bank, **{**EVALUATED, **changed})
    failed = evaluate(bank, *arguments)
    assert failed.exit_code == 1
    assert said in failed.output
    assert "Traceback" not in failed.output


def test_without_traces_the_command_that_makes_them_is_named(tmp_path: Path) -> None:
    write_params(tmp_path)
    failed = evaluate(tmp_path, "policy", "bank")
    assert failed.exit_code == 1
    assert "dvc repro split@bank" in failed.output


def test_a_policy_is_named_by_its_name_first_and_by_its_kind_after(bank: Path) -> None:
    lm = {"kind": "prompting", "base": "somewhere", "prompt": "prompt.md"}
    write_params(bank, **{**EVALUATED, "rivals": {"ngram": lm, "big": {**lm, "base": "elsewhere"}}})
    params = load_params(bank / "params.yaml").process("bank")
    assert params.policy_named("ngram").kind == "prompting"
    assert params.policy_named("prompting") == next(iter(params.rivals.values()))
    assert params.policy_named("majority").kind == "majority"


def test_the_help_of_the_command_loads_no_framework() -> None:
    code = (
        "import sys, dagster_project.cli; print(sorted({'dagster', 'mlflow', 'torch', 'pandas'} & sys.modules.keys()))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
