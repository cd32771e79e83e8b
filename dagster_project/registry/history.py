"""Every version of a process's bundle, newest first, with what is known of it."""

from __future__ import annotations

from dagster_project.registry.approval import Approval, approval_from_tags
from dagster_project.registry.models import model_name
from dagster_project.registry.tracking import Tracking
from selective_autonomy.frozen import Frozen


class VersionFacts(Frozen):
    """One registered version. `threshold` as text: "none" where nothing could be certified."""

    version: int
    aliases: tuple[str, ...]
    bundle_digest: str
    validation_status: str
    threshold: str
    approval: Approval | None


def versions_of(tracking: Tracking, process_id: str) -> list[VersionFacts]:
    """All versions, newest first; none if the process was never registered."""
    client = tracking.client()
    found = client.search_model_versions(f"name = '{model_name(process_id)}'")
    aliases: dict[int, list[str]] = {}
    if found:
        for alias, version in client.get_registered_model(model_name(process_id)).aliases.items():
            aliases.setdefault(int(version), []).append(alias)
    return [
        VersionFacts(
            version=int(one.version),
            aliases=tuple(sorted(aliases.get(int(one.version), []))),
            bundle_digest=one.tags.get("bundle_digest", ""),
            validation_status=one.tags.get("validation_status", "missing"),
            threshold=one.tags.get("threshold", ""),
            approval=approval_from_tags(process_id, int(one.version), one.tags),
        )
        for one in sorted(found, key=lambda v: -int(v.version))
    ]
