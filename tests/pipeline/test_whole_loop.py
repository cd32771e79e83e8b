"""The whole loop on a tiny process: from JSON-lines traces to a registered candidate, and what runs again when."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import Loop
from project import BANK, write_params
from rich.console import Console
from tiny_bank import tiny_sessions

from dagster_project.bench.critics import certified_table, critics_table, run_critics_bench
from dagster_project.jobs import LOOP, RELEASE
from dagster_project.pipeline import PipelineResult, pipeline_status, run_pipeline
from dagster_project.registry.models import RegisteredBundle, alias_uri
from dagster_project.release import approve_version
from dagster_project.resources.workspace import ProcessPaths
from selective_autonomy.bundle import DecisionBundle
from selective_autonomy.errors import ApprovalRefused, ProcessError
from selective_autonomy.evaluation.policy_report import PolicyReport
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.store import write_jsonl

NOW = datetime(2024, 6, 1, 12, 0, tzinfo=UTC)


def run(loop: Loop, **options: object) -> PipelineResult:
    quiet = Console(file=io.StringIO())
    return run_pipeline("bank", root=loop.root, state=loop.state, tracking=loop.tracking, console=quiet, **options)


def paths_of(loop: Loop) -> ProcessPaths:
    return ProcessPaths(loop.root, loop.state, "bank")


def candidate(loop: Loop) -> RegisteredBundle:
    return RegisteredBundle.model_validate_json(paths_of(loop).registered.read_text(encoding="utf-8"))


def closed_before_it_began(session: Session) -> Session:
    """A log whose last event is earlier than its first."""
    *others, last = session.events
    return session.model_copy(update={"events": (*others, last.model_copy(update={"at": NOW.replace(year=2023)}))})


@pytest.fixture
def copied(loop: Loop, tmp_path: Path) -> Loop:
    """The project as the loop left it, for a test that changes it. MLflow's files stay where they were."""
    root = tmp_path / "bank"
    shutil.copytree(loop.root, root, symlinks=True)
    return replace(loop, root=root, state=root / ".state")


def test_the_loop_ends_with_a_candidate_that_leads_back_to_its_data(loop: Loop) -> None:
    client = loop.tracking.client()
    version = client.get_model_version_by_alias("decision_bundle_bank", "candidate")
    assert version.tags["validation_status"] == "passed"
    assert version.tags["bundle_digest"] == DecisionBundle.load(paths_of(loop).bundle).digest
    assert {"dagster_run_id", "dvc.data/canonical/bank", "dvc.data/splits/bank.parquet"} <= version.tags.keys()
    given = client.get_run(version.run_id).inputs.dataset_inputs
    assert sorted(one.dataset.name for one in given) == ["bank:calibrate", "bank:fit", "bank:train"]
    assert version.tags["split.calibrate"] in {tag.value for one in given for tag in one.tags}


def test_every_stage_is_an_mlflow_run_with_parameters_metrics_and_a_loss_curve(loop: Loop) -> None:
    client = loop.tracking.client()
    experiment = client.get_experiment_by_name("bank")
    runs = {one.data.tags["stage"]: one for one in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {
        "policy", "policy_evaluation", "critic", "certificate", "decision_bundle", "replay_evaluation"
    }  # fmt: skip
    assert runs["policy"].data.params["hidden"] == "32"
    assert len(client.get_metric_history(runs["policy"].info.run_id, "loss")) == runs["policy"].data.metrics["steps"]
    assert "policy.tool" in runs["replay_evaluation"].data.metrics
    assert {run.data.tags["dagster_run_id"] for run in runs.values()} == {runs["policy"].data.tags["dagster_run_id"]}


def test_the_policys_evaluation_measures_what_the_copilot_stage_proposed_and_logs_it(loop: Loop) -> None:
    paths = paths_of(loop)
    report = PolicyReport.model_validate_json(paths.policy_evaluation.read_text(encoding="utf-8"))
    replayed = json.loads(paths.evaluation.read_text(encoding="utf-8"))["tool"]["policy"]
    assert {name: figure["value"] for name, figure in replayed.items()} == {
        name: figure.value for name, figure in report.figures.items()
    }
    assert report.cost.seconds_a_step is not None
    assert report.cost.tokens_a_step is not None
    client = loop.tracking.client()
    experiment = client.get_experiment_by_name("bank")
    [run] = client.search_runs([experiment.experiment_id], "tags.stage = 'policy_evaluation'")
    assert run.data.metrics["tool"] == report.figures["tool"].value
    assert run.data.metrics["tokens_a_step"] == report.cost.tokens_a_step
    logged = {one.path for one in client.list_artifacts(run.info.run_id, "figures")}
    assert logged == {f"figures/{name}.png" for name in ("by_action", "by_procedure", "comparison")}


def test_label_quality_of_a_log_tells_reasons_and_leaves_open_what_a_log_cannot_tell(loop: Loop) -> None:
    paths = paths_of(loop)
    quality = json.loads(paths.label_quality.read_text(encoding="utf-8"))
    feedback = pd.read_parquet(paths.feedback)
    assert quality["answers"] == feedback["split"].isin(["fit", "calibrate"]).sum()
    assert quality["reasons"]["crew"]["shares"]["accept"]["value"] > 0
    assert {pace["note"] for pace in quality["paces"]} == {"not enough data: 0 of 50"}
    assert (quality["reliability"], quality["flagged"], len(pd.read_parquet(paths.label_reviews))) == ([], [], 0)
    assert paths.label_quality.with_suffix(".png").stat().st_size > 10_000


def test_nothing_leaves_the_machine(loop: Loop) -> None:
    """Every Python process of the run said that it was watched: the command itself and DVC's children."""
    assert sum(call.startswith("started") for call in loop.calls) >= 4
    called = [call for call in loop.calls if not call.startswith("started")]
    assert [call for call in called if call.split()[1] not in ("127.0.0.1", "::1", "localhost")] == []


def test_progress_names_every_asset_with_its_seconds(loop: Loop) -> None:
    for asset in LOOP:
        assert any(asset in line and line.rstrip().endswith(" s") for line in loop.output.splitlines()), asset


def test_a_refused_certificate_warns_and_does_not_stop_the_loop(loop: Loop) -> None:
    """24 sessions are too few for alpha 0.2; the bundle that defers everything is registered all the same."""
    assert "a_threshold_is_certified" in loop.output
    assert candidate(loop).validation_status == "passed"
    version = loop.tracking.client().get_model_version_by_alias("decision_bundle_bank", "candidate")
    assert version.tags["threshold"] == "none"


def test_the_registered_model_decides_on_a_session_given_as_json(loop: Loop) -> None:
    import mlflow

    loop.tracking.client()
    model = mlflow.pyfunc.load_model(alias_uri("bank", "candidate"))
    decided = model.predict(pd.DataFrame({"session": [tiny_sessions(1)[0].before(1).model_dump_json()]}))
    assert decided.loc[0, ["outcome", "reason"]].tolist() == ["defer", "no_threshold"]
    assert decided.loc[0, "bundle_digest"] == candidate(loop).bundle_digest


def test_a_second_run_makes_nothing(copied: Loop) -> None:
    result = run(copied)
    assert (result.why, result.ran, result.skipped) == ({}, (), LOOP)
    assert result.facts["decision_bundle"]["version"] == candidate(copied).version
    assert set(pipeline_status("bank", root=copied.root, state=copied.state).values()) == {None}


def test_changed_critic_parameters_leave_the_policy_alone(copied: Loop) -> None:
    write_params(
        copied.root,
        critic={"kind": "evidence", "trees": 10, "leaves": 4, "learning_rate": 0.1, "min_leaf": 5, "seed": 1},
    )
    result = run(copied)
    assert result.success, result.errors
    assert result.why["critic"] == "its parameters changed"
    assert {"critic", "certificate", "decision_bundle"} <= set(result.ran)
    assert {"raw_traces", "validated_traces", "splits", "policy", "copilot_feedback"} <= set(result.skipped)


def test_critics_of_every_kind_are_compared_on_the_feedback_of_a_loop(copied: Loop) -> None:
    generative = {"kind": "generative", "layers": 1, "epochs": 1, "seed": 1}
    text = (copied.root / "params.yaml").read_text(encoding="utf-8")
    compared = {"kind": "stacked", "evidence": BANK["critic"], "generative": generative, "seed": 1}
    (copied.root / "params.yaml").write_text(text + yaml.safe_dump({"critics": compared}), encoding="utf-8")
    console = Console(width=200, record=True)
    results = run_critics_bench("bank", root=copied.root, state=copied.state, loss="tool", console=console)
    console.print(critics_table(results), certified_table(results))
    assert "stacked trees" in console.export_text()
    written = json.loads((copied.root / "docs" / "benchmarks" / "critics.json").read_text(encoding="utf-8"))
    assert written["results"]["bank"]["tool"]["kinds"]["generative"]["auroc"] == results["kinds"]["generative"]["auroc"]


def test_an_asset_that_comes_out_the_same_makes_nothing_after_it_run(copied: Loop) -> None:
    paths_of(copied).splits.unlink()
    result = run(copied)
    assert (result.ran, result.why) == (("splits",), {"splits": "its files are gone"})


def test_a_run_from_an_asset_makes_it_and_all_that_depends_on_it(copied: Loop) -> None:
    result = run(copied, restart_from="certificate")
    assert result.ran == ("certificate", "decision_bundle", "replay_evaluation")


def test_an_unknown_process_or_asset_is_named_with_those_that_there_are(loop: Loop) -> None:
    with pytest.raises(ProcessError, match=r"no process 'bonk'.*\['bank'\]"):
        run_pipeline("bonk", root=loop.root, state=loop.state, console=Console(file=io.StringIO()))
    with pytest.raises(ProcessError, match="cannot start from 'polcy'"):
        run(loop, restart_from="polcy")


def test_too_many_bad_traces_stop_training_and_approval(copied: Loop) -> None:
    good, bad = tiny_sessions(110), [closed_before_it_began(one) for one in tiny_sessions(120)[110:]]
    write_jsonl([*good, *bad], copied.root / "data" / "raw" / "bank" / "sessions.jsonl")
    result = run(copied)
    assert not result.success
    assert result.ran == ("raw_traces", "validated_traces")
    assert "few_sessions_are_bad" in result.errors["validated_traces"]
    with pytest.raises(ApprovalRefused, match="validated_traces:few_sessions_are_bad"):
        approve_version(
            "bank", candidate(copied).version, approved_by="Ada", reason="in a hurry", state=copied.state,
            tracking=copied.tracking, at=NOW,
        )  # fmt: skip
    assert "checks failed" in str(pipeline_status("bank", root=copied.root, state=copied.state)["validated_traces"])


def test_a_bundle_that_nobody_approved_is_not_released(copied: Loop) -> None:
    result = run(copied, selection=RELEASE)
    assert (result.success, result.ran) == (False, ())
    command = f"selective-autonomy release approve --process bank --version {candidate(copied).version} --by NAME"
    assert command in result.errors["approval"]


def test_an_approved_bundle_becomes_a_bento_that_knows_who_approved_it(copied: Loop) -> None:
    bundle = candidate(copied)
    approve_version(
        "bank", bundle.version, approved_by="Ada Lovelace", reason="defers everything", state=copied.state,
        tracking=copied.tracking, at=NOW,
    )  # fmt: skip
    result = run(copied, selection=RELEASE)
    assert result.success, result.errors
    from bentoml._internal.models.model import ModelStore

    labels = ModelStore(copied.state / "bentoml" / "models").get(f"{bundle.name}:{bundle.version}").info.labels
    assert labels["approved_by"] == "Ada Lovelace"
    assert (labels["mlflow_version"], labels["bundle_digest"]) == (str(bundle.version), bundle.bundle_digest)
    assert str(result.facts["serving_bento"]["bento"]).startswith("decision:")
    assert run(copied, selection=RELEASE).skipped == RELEASE
    copied.tracking.client().delete_model_version_tag(bundle.name, str(bundle.version), "approved_by")
    withdrawn = run(copied, selection=RELEASE)
    assert withdrawn.why["approval"] == "the approval was changed or withdrawn"
    assert not withdrawn.success


def test_the_command_line_refuses_an_approval_without_a_name_in_one_line(loop: Loop) -> None:
    from typer.testing import CliRunner

    from dagster_project.cli import app

    command = ["release", "approve", "--process", "bank", "--version", str(candidate(loop).version)]
    places = ["--root", str(loop.root), "--state", str(loop.state)]
    refused = CliRunner().invoke(app, [*command, "--by", " ", "--reason", "because", *places])
    assert refused.exit_code == 1
    assert refused.stderr.strip() == "approval_refused: nobody approves decision_bundle_bank; name the person with --by"
