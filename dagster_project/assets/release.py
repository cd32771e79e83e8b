"""From models to what may act: the bundle as a registered candidate, a person's approval, the bento."""

from datetime import UTC, datetime

import dagster as dg

from dagster_project.assets.critic import certificate, critic
from dagster_project.assets.policy import policy
from dagster_project.assets.traces import Made, splits, validated_traces
from dagster_project.checks.release import BEFORE_BUNDLE, GOLDEN_CHECK
from dagster_project.conventions import process_asset
from dagster_project.provenance import digest_of, made
from dagster_project.resources.mlflow_registry import MlflowRegistry
from dagster_project.resources.workspace import Workspace


@process_asset(
    group="release",
    kinds={"mlflow", "python"},
    code=(
        "dagster_project/bundling.py",
        "dagster_project/registry",
        "selective_autonomy/bundle.py",
        "selective_autonomy/bundle_files.py",
        "selective_autonomy/gate.py",
    ),
    deps=[validated_traces, splits, policy, critic, certificate],
    check_specs=[GOLDEN_CHECK],
)
def decision_bundle(context: dg.AssetExecutionContext, workspace: Workspace, mlflow: MlflowRegistry) -> Made:
    """Policy, critic, certificate, process schema and golden cases as one version of the registered model."""
    from dagster_project.bundling import bundle_process, golden_sessions
    from dagster_project.evidence import commit
    from dagster_project.process_data import lineage_tags, stage_run
    from dagster_project.registry.models import register_bundle
    from dagster_project.registry.standing_checks import failed_blocking

    paths, process_id = workspace.of(context.partition_key), context.partition_key
    lineage = lineage_tags(context, paths)
    bundled = bundle_process(paths, created=datetime.now(UTC), git_commit=commit(paths.root), lineage=lineage)
    failing = failed_blocking(context.instance, BEFORE_BUNDLE, process_id)
    if bundled.golden_mismatches:
        failing.append(f"{GOLDEN_CHECK.asset_key.to_user_string()}:{GOLDEN_CHECK.name}")
    with stage_run(context, mlflow, paths, "decision_bundle", "train", "fit", "calibrate") as run:
        registered = register_bundle(
            mlflow.tracking(),
            run.run_id,
            process_id,
            paths.bundle,
            bundled.digest,
            golden_sessions(paths)[0],
            failing_checks=failing,
            tags={**lineage, **bundled.tags},
        )
    paths.registered.write_text(registered.model_dump_json(indent=1), encoding="utf-8")
    facts = {
        "model": registered.name,
        "version": registered.version,
        "bundle_digest": registered.bundle_digest,
        "validation": registered.validation_status,
        **bundled.tags,
        "mlflow_model": dg.MetadataValue.url(mlflow.tracking().model_url(registered.name, registered.version)),
        "mlflow_run": dg.MetadataValue.url(run.url),
    }
    yield made(context, workspace, registered.bundle_digest[:16], facts)
    yield dg.AssetCheckResult(
        check_name=GOLDEN_CHECK.name,
        passed=not bundled.golden_mismatches,
        description="; ".join(bundled.golden_mismatches[:5]) or None,
    )


@process_asset(
    group="release", kinds={"mlflow"}, code=("dagster_project/registry/approval.py",), deps=[decision_bundle]
)
def approval(context: dg.AssetExecutionContext, workspace: Workspace, mlflow: MlflowRegistry) -> dg.MaterializeResult:
    """The approval behind the alias `approved`: which version a named person let loose; without one, no release."""
    from dagster_project.registry.approval import standing_approval
    from dagster_project.registry.models import RegisteredBundle

    paths = workspace.of(context.partition_key)
    registered = RegisteredBundle.model_validate_json(paths.registered.read_text(encoding="utf-8"))
    given = standing_approval(mlflow.tracking(), registered.process_id)
    if given is None:
        raise dg.Failure(
            f"no version of {registered.name} is approved; the newest is {registered.version}; run "
            f"`selective-autonomy release approve --process {registered.process_id} --version {registered.version} "
            "--by NAME --reason WHY`",
            allow_retries=False,
        )
    paths.approval.write_text(given.model_dump_json(indent=1), encoding="utf-8")
    facts = given.model_dump(mode="json")
    return made(context, workspace, digest_of(facts), facts)


@process_asset(
    group="release",
    kinds={"bentoml"},
    code=("bentos/decision", "selective_autonomy", "dagster_project/bento.py"),
    deps=[decision_bundle, approval],
)
def serving_bento(
    context: dg.AssetExecutionContext, workspace: Workspace, mlflow: MlflowRegistry
) -> dg.MaterializeResult:
    """The approved bundle, taken from the registry and verified, in a bento with all that its service needs."""
    import json

    from dagster_project.bento import build_bento, export_bundle
    from dagster_project.registry.approval import Approval

    paths = workspace.of(context.partition_key)
    given = Approval.model_validate_json(paths.approval.read_text(encoding="utf-8"))
    model_tag = export_bundle(mlflow.tracking(), given, paths.bentoml_home)
    bento_tag = build_bento(model_tag, paths.bentoml_home, context.log.info)
    facts = {"bento": bento_tag, "model": model_tag, "bundle_digest": given.bundle_digest}
    paths.bento.write_text(json.dumps(facts, indent=1), encoding="utf-8")
    return made(context, workspace, digest_of(facts), facts)
