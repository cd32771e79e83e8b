"""The copilot stage, replayed: every logged step with the policy's proposal beside it and an operator's answer."""

import dagster as dg

from dagster_project.assets.policy import policy
from dagster_project.assets.traces import Made, splits, validated_traces
from dagster_project.checks.expectations import FEEDBACK_CHECKS, expectation_results
from dagster_project.conventions import process_asset
from dagster_project.provenance import made
from dagster_project.resources.progress import Progress
from dagster_project.resources.workspace import Workspace


@process_asset(
    group="feedback",
    kinds={"pytorch", "parquet"},
    code=(
        "dagster_project/copilot_stage.py",
        "dagster_project/judged_steps.py",
        "quality_checks/feedback.py",
        "selective_autonomy/desk",
        "selective_autonomy/evaluation/copilot.py",
        "selective_autonomy/evaluation/replay.py",
        "selective_autonomy/process/comparison.py",
    ),
    params=("feedback", "seed", "validation"),
    deps=[validated_traces, splits, policy],
    check_specs=FEEDBACK_CHECKS,
    pool="accelerator",
)
def copilot_feedback(
    context: dg.AssetExecutionContext, workspace: Workspace, progress: dg.ResourceParam[Progress]
) -> Made:
    """The policy's proposals on sessions it was not trained on (fit, calibrate, test), accepted or corrected."""
    from itertools import count

    from dagster_project.copilot_stage import judge_proposals
    from dagster_project.judged_steps import judged_table, write_judged
    from dagster_project.process_data import sessions_of
    from quality_checks.feedback import validate_feedback
    from selective_autonomy.evaluation.replay import ReplayCost
    from selective_autonomy.process.schema import load_process
    from selective_autonomy.traces.store import sha256_of

    paths = workspace.of(context.partition_key)
    sessions = sessions_of(paths, "fit", "calibrate", "test")
    total, done = sum(map(len, sessions.values())), count(1)
    judged = judge_proposals(
        paths,
        workspace.process_params(context.partition_key),
        sessions,
        on_session=lambda: progress.show(context.log, "copilot_feedback", next(done), total, "sessions"),
    )
    table = judged_table(judged, load_process(paths.schema))
    result = validate_feedback(table, workspace.params().validation)
    write_judged(result.good, paths.feedback)
    # Beside the table and not in it: seconds differ from run to run, the data must not.
    cost = ReplayCost.of([one.replayed for one in judged])
    paths.replay_cost.write_text(cost.model_dump_json(), encoding="utf-8")
    facts = {
        **{name: value for name, value in cost.model_dump().items() if value is not None},
        "sessions": total,
        "judged_steps": len(table),
        "set_aside_as_bad": len(result.bad),
        "accepted": float(table["accepted"].mean()),
        "wrong": float(table["wrong"].mean()),
        "same_head": float((table["head"] == table["logged_head"]).mean()),
        "correct_reasons": table["reason"].value_counts().to_dict(),
    }
    yield made(context, workspace, sha256_of(paths.feedback)[:16], facts)
    yield from expectation_results(result.outcomes)
