"""Approval: an explicit act by a named person with a reason, refused while any evidence is missing."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from dagster_project.registry.models import fetch_bundle, find_version, model_name
from dagster_project.registry.tracking import Tracking
from selective_autonomy.errors import ApprovalRefused, SelectiveAutonomyError
from selective_autonomy.frozen import Frozen


class Approval(Frozen):
    """Who let which bundle loose, when and why. `bundle_digest` is what the person approved."""

    process_id: str
    version: int
    bundle_digest: str
    approved_by: str
    approved_at: datetime
    reason: str


def approve(
    tracking: Tracking,
    process_id: str,
    version: int,
    *,
    approved_by: str,
    reason: str,
    failing_checks: Sequence[str],
    at: datetime,
    bundle_digest_of: Callable[[Path], str],
) -> Approval:
    """Approve one version and point the alias `approved` at it.

    Args:
        failing_checks: blocking checks of the process that fail, or were never run, as they stand now.
        bundle_digest_of: verifies a downloaded bundle folder file by file and returns its digest.

    Raises:
        ApprovalRefused: nobody is named, no reason is given, there is no such version, a blocking check fails
            now or failed when the version was registered, or the stored bundle is not the one registered.
    """
    person, why = approved_by.strip(), reason.strip()
    if not person:
        raise ApprovalRefused(f"nobody approves {model_name(process_id)}; name the person with --by")
    if not why:
        raise ApprovalRefused(f"{person} gives no reason to approve {model_name(process_id)}; give one with --reason")
    found = find_version(tracking, process_id, version)
    status = found.tags.get("validation_status", "missing")
    if status != "passed":
        raise ApprovalRefused(f"version {version} of {found.name} was registered with validation {status!r}")
    if failing_checks:
        raise ApprovalRefused(
            f"blocking checks of {process_id!r} do not hold: {', '.join(failing_checks)}; mend the cause and run "
            f"`selective-autonomy pipeline run {process_id}` again"
        )
    digest = _verified_digest(tracking, process_id, version, found.tags.get("bundle_digest", ""), bundle_digest_of)
    approval = Approval(
        process_id=process_id, version=version, bundle_digest=digest, approved_by=person, approved_at=at, reason=why
    )
    client = tracking.client()
    for key, value in (
        ("approved_by", person),
        ("approved_at", at.isoformat()),
        ("approval_reason", why),
        ("approved_digest", digest),
    ):
        client.set_model_version_tag(found.name, str(version), key, value)
    client.set_registered_model_alias(found.name, "approved", str(version))
    return approval


def approval_of(tracking: Tracking, process_id: str, version: int) -> Approval | None:
    """The approval of a version, or None.

    Raises:
        ApprovalRefused: there is no such version.
    """
    return approval_from_tags(process_id, version, find_version(tracking, process_id, version).tags)


def approval_from_tags(process_id: str, version: int, tags: Mapping[str, str]) -> Approval | None:
    """The approval that a version's tags record; an incomplete one, or one of another digest, is none."""
    fields = ("approved_by", "approved_at", "approval_reason", "approved_digest")
    if any(not tags.get(field) for field in fields) or tags["approved_digest"] != tags.get("bundle_digest"):
        return None
    return Approval(
        process_id=process_id,
        version=version,
        bundle_digest=tags["approved_digest"],
        approved_by=tags["approved_by"],
        approved_at=datetime.fromisoformat(tags["approved_at"]),
        reason=tags["approval_reason"],
    )


def standing_approval(tracking: Tracking, process_id: str) -> Approval | None:
    """The approval of the version behind the alias `approved`; None if it points nowhere, or to an unapproved one.

    Approving an older version again moves the alias back: that is how a release is rolled back.
    """
    from mlflow.exceptions import MlflowException

    try:
        found = tracking.client().get_model_version_by_alias(model_name(process_id), "approved")
    except MlflowException as err:
        if err.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):  # no model, or no such alias
            return None
        raise
    return approval_from_tags(process_id, int(found.version), found.tags)


def approval_changed(tracking: Tracking, process_id: str, recorded: Path) -> str | None:
    """Why the approval in the file `recorded` is not the one in the registry; None if it is."""
    given = Approval.model_validate_json(recorded.read_text(encoding="utf-8"))
    return None if standing_approval(tracking, process_id) == given else "the approval was changed or withdrawn"


def _verified_digest(
    tracking: Tracking, process_id: str, version: int, registered: str, bundle_digest_of: Callable[[Path], str]
) -> str:
    with tempfile.TemporaryDirectory() as folder:
        try:
            digest = bundle_digest_of(fetch_bundle(tracking, process_id, version, Path(folder)))
        except SelectiveAutonomyError as err:
            raise ApprovalRefused(f"version {version} of {model_name(process_id)} does not verify: {err}") from err
    if digest != registered:
        raise ApprovalRefused(
            f"version {version} of {model_name(process_id)} holds bundle {digest!r}, registered was {registered!r}; "
            "build and register it again"
        )
    return digest
