"""How good the policy is by itself, on sessions it was not trained on, beside the cheapest rival."""

import dagster as dg

from dagster_project.assets.copilot import copilot_feedback
from dagster_project.assets.traces import Made, splits, validated_traces
from dagster_project.conventions import process_asset, process_check
from dagster_project.provenance import digest_of, made
from dagster_project.resources.mlflow_registry import MlflowRegistry
from dagster_project.resources.workspace import Workspace

RIVAL_CHECK = process_check(
    "the_policy_beats_an_action_ngram",
    "policy_evaluation",
    "on the test split it chooses the operator's tool more often than counts of what follows what, beyond chance",
    blocking=False,
)


@process_asset(
    group="monitoring",
    kinds={"python", "mlflow"},
    code=(
        "dagster_project/judged_steps.py",
        "dagster_project/policy_beside_ngram.py",
        "dagster_project/policy_reports.py",
        "selective_autonomy/evaluation",
        "selective_autonomy/policy/baselines",
        "selective_autonomy/process/comparison.py",
    ),
    params=("policy",),
    deps=[validated_traces, splits, copilot_feedback],
    check_specs=[RIVAL_CHECK],
)
def policy_evaluation(context: dg.AssetExecutionContext, workspace: Workspace, mlflow: MlflowRegistry) -> Made:
    """The copilot stage's proposals on the test split, measured in every way, beside an action n-gram's on the same."""
    from dagster_project.figures import as_markdown
    from dagster_project.policy_beside_ngram import measured_beside_ngram
    from dagster_project.policy_reports import flat_figures, log_report, pictures_of, write_report
    from dagster_project.process_data import stage_run
    from selective_autonomy.evaluation.policy_figures import comparison_png
    from selective_autonomy.evaluation.policy_report import comparison_markdown

    paths, params = workspace.of(context.partition_key), workspace.process_params(context.partition_key).policy
    report, rival, ahead = measured_beside_ngram(paths, params)
    pictures = {**pictures_of(report), "comparison": comparison_png([report, rival])}
    write_report(report, pictures, paths.policy_evaluation.parent)
    with stage_run(context, mlflow, paths, "policy_evaluation", "train", "test") as run:
        log_report(run, report, pictures, paths.policy_evaluation.parent)
    facts: dict[str, object] = {name: as_markdown(png, name) for name, png in pictures.items()}
    facts |= {"report": dg.MetadataValue.md(report.markdown())}
    facts |= {"beside_rivals": dg.MetadataValue.md(comparison_markdown([report, rival]))}
    facts |= {**flat_figures(report), "mlflow_run": dg.MetadataValue.url(run.url)}
    # Not the costs: seconds differ from run to run.
    version = digest_of(report.model_dump(mode="json", exclude={"cost"}))
    yield made(context, workspace, version, facts)
    yield dg.AssetCheckResult(
        check_name=RIVAL_CHECK.name,
        passed=ahead.low > 0 or params.kind == "ngram",  # which is not better than itself
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"tool_ahead": ahead.value, "low": ahead.low, "high": ahead.high},
    )
