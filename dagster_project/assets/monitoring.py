"""How good it is on sessions nobody trained, fitted or certified on; and whether the world has moved since."""

import dagster as dg

from dagster_project.assets.copilot import copilot_feedback
from dagster_project.assets.critic import certificate, critic
from dagster_project.assets.traces import splits, validated_traces
from dagster_project.conventions import process_asset
from dagster_project.provenance import digest_of, made
from dagster_project.resources.mlflow_registry import MlflowRegistry
from dagster_project.resources.workspace import Workspace


@process_asset(
    group="monitoring",
    kinds={"python", "mlflow"},
    code=(
        "dagster_project/measurement.py",
        "dagster_project/judged_steps.py",
        "selective_autonomy/evaluation",
        "selective_autonomy/certify",
    ),
    params=("certificate", "critic", "feedback"),
    deps=[validated_traces, splits, copilot_feedback, critic, certificate],
)
def replay_evaluation(
    context: dg.AssetExecutionContext, workspace: Workspace, mlflow: MlflowRegistry
) -> dg.MaterializeResult:
    """Policy, critic and certified thresholds on the test split, with session-bootstrap intervals."""
    import json

    from dagster_project.figures import as_markdown
    from dagster_project.measurement import figures_of, measure_process
    from dagster_project.process_data import stage_run
    from selective_autonomy.evaluation.figures import reliability_png, risk_coverage_png

    paths, params = workspace.of(context.partition_key), workspace.process_params(context.partition_key)
    measured = measure_process(paths, params)
    reports = {loss: json.loads(one.report.model_dump_json()) for loss, one in measured.items()}
    paths.evaluation.write_text(json.dumps(reports, indent=1), encoding="utf-8")
    first = next(iter(measured.values()))
    right_N = ~first.test.wrong_N
    curves = {"critic": (first.test.scores_N, right_N), "policy's own probability": (first.p_head, right_N)}
    pictures = {
        "risk_coverage": risk_coverage_png(curves, alpha=params.certificate.alpha),
        "reliability": reliability_png(first.test.scores_N, right_N),
    }
    with stage_run(context, mlflow, paths, "replay_evaluation", "test") as run:
        run.metrics(figures_of(first.report))
        run.file(paths.evaluation)
        for name, png in pictures.items():
            run.picture(png, name)
    facts: dict[str, object] = {name: as_markdown(png, name) for name, png in pictures.items()}
    facts |= {f"report.{loss}": dg.MetadataValue.md(one.report.markdown()) for loss, one in measured.items()}
    facts |= {**figures_of(first.report), "mlflow_run": dg.MetadataValue.url(run.url)}
    return made(context, workspace, digest_of(reports), facts)


@process_asset(
    group="monitoring",
    kinds={"evidently", "python"},
    code=(
        "quality_checks/drift.py",
        "quality_checks/drift_frame.py",
        "quality_checks/chance.py",
        "dagster_project/windows.py",
    ),
    params=("drift",),
    deps=[validated_traces, splits, copilot_feedback, critic],
)
def drift_report(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult:
    """The newest sessions (test) against those that the certificate stands on (calibrate).

    Both windows are cut from the traces at hand, so the verdict changes when new traces come in, not by itself.
    """
    import json

    from dagster_project.windows import window
    from quality_checks.drift import drift_report as compare

    paths, params = workspace.of(context.partition_key), workspace.params().drift
    result = compare(window(paths, "calibrate"), window(paths, "test"), params, seed=0)
    paths.drift.write_text(json.dumps(result.summary(), indent=1), encoding="utf-8")
    table = ["| column | verdict | score | threshold | note |", "|---|---|---|---|---|"]
    table += [f"| {c.column} | {c.verdict} | {c.score} | {c.threshold} | {c.note} |" for c in result.columns]
    facts = {
        "verdict": result.verdict,
        "reason": result.reason,
        "reference_rows": result.reference_rows,
        "current_rows": result.current_rows,
        "columns": dg.MetadataValue.md("\n".join(table)),
    }
    return made(context, workspace, digest_of(result.summary()), facts)
