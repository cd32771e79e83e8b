"""How far the copilot stage's labels can be believed. Nothing waits for it."""

import dagster as dg

from dagster_project.assets.copilot import copilot_feedback
from dagster_project.assets.traces import Made, splits, validated_traces
from dagster_project.conventions import process_asset, process_check
from dagster_project.provenance import digest_of, made
from dagster_project.resources.workspace import Workspace

UNREAD_CHECK = process_check(
    "no_operator_accepts_unread",
    "label_quality",
    "no operator accepts so many proposals so fast that they cannot have been read; who does is named",
    blocking=False,
)


@process_asset(
    group="feedback",
    kinds={"python", "parquet"},
    code=(
        "dagster_project/judged_steps.py",
        "dagster_project/label_quality.py",
        "selective_autonomy/desk",
        "selective_autonomy/labels",
    ),
    params=("feedback", "labels", "seed"),
    deps=[validated_traces, splits, copilot_feedback],
    check_specs=[UNREAD_CHECK],
)
def label_quality(context: dg.AssetExecutionContext, workspace: Workspace) -> Made:
    """Reasons, pace and reliability by operator; on the embedded desk colleagues judge a keyed sample again."""
    from dagster_project.figures import as_markdown
    from dagster_project.judged_steps import write_judged
    from dagster_project.label_quality import facts_of, measure_labels
    from selective_autonomy.labels.figures import label_quality_png
    from selective_autonomy.labels.reasons import markdown

    paths, process_id = workspace.of(context.partition_key), context.partition_key
    measured = measure_labels(paths, workspace.process_params(process_id), workspace.params().labels)
    quality, picture = measured.quality, label_quality_png(measured.quality, measured.answers)
    write_judged(measured.reviews, paths.label_reviews)
    paths.label_quality.with_suffix(".png").write_bytes(picture)
    paths.label_quality.write_text(quality.model_dump_json(indent=1), encoding="utf-8")
    facts = facts_of(quality)
    shown = {
        "labels": as_markdown(picture, "labels by operator"),
        "reasons": dg.MetadataValue.md(markdown(quality.reasons)),
    }
    yield made(context, workspace, digest_of(quality.model_dump(mode="json")), {**facts, **shown})
    yield dg.AssetCheckResult(
        check_name=UNREAD_CHECK.name,
        passed=not quality.flagged,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={name: facts[name] for name in ("flagged_operators", "flagged_verdicts", "pace_not_told")},
    )
