"""Traces: brought in by DVC, validated, split. What goes on from here is known to be good."""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from dagster_project.checks.expectations import TRACE_CHECKS, expectation_results
from dagster_project.checks.splits import SPLIT_CHECK, split_result
from dagster_project.conventions import process_asset
from dagster_project.provenance import digest_of, made
from dagster_project.resources.workspace import Workspace

Made = Iterator[dg.MaterializeResult | dg.AssetCheckResult]


@process_asset(group="traces", kinds={"dvc", "parquet"}, code=("dagster_project/dvc_repo.py",), pool="dvc")
def raw_traces(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult:
    """Canonical sessions, the process schema and the split table, as `dvc repro` makes them."""
    from dagster_project.dvc_repo import reproduce
    from selective_autonomy.traces.store import read_sessions

    paths = workspace.of(context.partition_key)
    hashes = reproduce(paths.root, context.partition_key, context.log.info)
    sessions = read_sessions(paths.sessions)
    facts = {
        "sessions": len(sessions),
        "operators": len({session.operator_id for session in sessions}),
        **{f"dvc.{path}": md5 for path, md5 in hashes.items()},
    }
    return made(context, workspace, digest_of(hashes), facts)


@process_asset(
    group="traces",
    kinds={"python", "parquet"},
    code=("quality_checks", "selective_autonomy/process", "selective_autonomy/traces"),
    params=("validation",),
    deps=[raw_traces],
    check_specs=TRACE_CHECKS,
)
def validated_traces(context: dg.AssetExecutionContext, workspace: Workspace) -> Made:
    """Sessions that hold every expectation; the bad ones are quarantined beside them with all their reasons."""
    from quality_checks.quarantine import validation_report, write_quarantine
    from quality_checks.traces import validate_traces
    from selective_autonomy.process.schema import load_process
    from selective_autonomy.traces.store import read_sessions, write_sessions

    paths = workspace.of(context.partition_key)
    schema = load_process(paths.schema)
    result = validate_traces(
        read_sessions(paths.sessions), schema, workspace.params().validation, now=datetime.now(UTC)
    )
    digest = digest_of([write_sessions(result.good, paths.validated_sessions), schema.digest])
    write_sessions(result.set_aside, paths.set_aside_sessions)
    write_quarantine(result, paths.quarantine)
    facts = {**result.counts, "bad_share": result.bad_share, "report": dg.MetadataValue.md(validation_report(result))}
    yield made(context, workspace, digest, facts)
    yield from expectation_results(result.outcomes)


@process_asset(
    group="traces",
    kinds={"python", "parquet"},
    code=("selective_autonomy/traces/splits.py",),
    params=("split",),
    deps=[raw_traces, validated_traces],
    check_specs=[SPLIT_CHECK],
)
def splits(context: dg.AssetExecutionContext, workspace: Workspace) -> Made:
    """DVC's split table, cut down to the sessions that validation let through."""
    from selective_autonomy.traces.splits import SPLITS, read_splits, split_digests, write_splits
    from selective_autonomy.traces.store import read_sessions

    paths = workspace.of(context.partition_key)
    good = read_sessions(paths.validated_sessions)
    ids = {session.session_id for session in good}
    kept = {session_id: split for session_id, split in read_splits(paths.split_table).items() if session_id in ids}
    write_splits(kept, paths.splits)
    digests = split_digests(kept)
    counts = {split: sum(side == split for side in kept.values()) for split in SPLITS}
    yield made(context, workspace, digest_of(digests), {**counts, **{f"sha256.{s}": d for s, d in digests.items()}})
    yield split_result(kept, good)
