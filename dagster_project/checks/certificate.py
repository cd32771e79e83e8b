"""What must hold of a certificate before anything is built on it."""

import dagster as dg

from dagster_project.conventions import asset_check_of_process
from dagster_project.resources.workspace import Workspace


@asset_check_of_process(
    "certificate",
    "recomputing it from the kept scores and labels gives the same certificate, for this policy, critic and split",
    blocking=True,
)
def certificate_follows_from_its_evidence(
    context: dg.AssetCheckExecutionContext, workspace: Workspace
) -> dg.AssetCheckResult:
    from dagster_project.certification import recheck
    from selective_autonomy.errors import CertificateError

    process_id = context.partition_key
    try:
        recheck(workspace.of(process_id), workspace.process_params(process_id))
    except CertificateError as err:
        return dg.AssetCheckResult(passed=False, description=str(err))
    return dg.AssetCheckResult(passed=True)


@asset_check_of_process(
    "certificate",
    "there is a certified threshold; without one the bundle defers every critical step, which is safe but of no use",
    blocking=False,
)
def a_threshold_is_certified(context: dg.AssetCheckExecutionContext, workspace: Workspace) -> dg.AssetCheckResult:
    from dagster_project.certification import facts_of, read_certificate

    issued = read_certificate(workspace.of(context.partition_key))
    return dg.AssetCheckResult(
        passed=issued.threshold is not None, severity=dg.AssetCheckSeverity.WARN, metadata=facts_of(issued)
    )
