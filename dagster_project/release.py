"""The release, as a person does it: look at what there is, approve a version, build the bento."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from dagster_project.registry.approval import Approval, approve
from dagster_project.registry.tracking import Tracking


def approve_version(
    process_id: str, version: int, *, approved_by: str, reason: str, state: Path, tracking: Tracking, at: datetime
) -> Approval:
    """Approve a registered version of a process's bundle, after a second look at all evidence.

    Raises:
        ApprovalRefused: see `registry.approval.approve`; the blocking checks are read from Dagster's own record.
    """
    from dagster_project.checks.release import RELEASE_CHECKS
    from dagster_project.instance import open_instance
    from dagster_project.registry.standing_checks import failed_blocking

    with open_instance(state) as instance:
        failing = failed_blocking(instance, RELEASE_CHECKS, process_id)
    return approve(
        tracking,
        process_id,
        version,
        approved_by=approved_by,
        reason=reason,
        failing_checks=failing,
        at=at,
        bundle_digest_of=_verified_digest,
    )


def _verified_digest(bundle: Path) -> str:
    from selective_autonomy.bundle import DecisionBundle

    return DecisionBundle.load(bundle).digest
