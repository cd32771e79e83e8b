"""From a process's files to a sealed decision bundle, checked by loading it again."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from dagster_project.certification import read_certificate
from dagster_project.judged_steps import critical_steps
from dagster_project.process_data import sessions_of
from dagster_project.resources.workspace import ProcessPaths
from selective_autonomy.certify.certificate import Certificate
from selective_autonomy.process.schema import load_process
from selective_autonomy.traces.schema import Session

# Enough to meet most heads of a process, few enough that a service replays them in a second or two at start.
GOLDEN_CASES = 16


@dataclass(frozen=True)
class Bundled:
    """A sealed bundle. `golden_mismatches`: what it decides otherwise once loaded again; empty: nothing."""

    digest: str
    golden_mismatches: list[str]
    certificate: Certificate

    @property
    def tags(self) -> dict[str, str]:
        """What a registered version says of it."""
        threshold = self.certificate.threshold
        facts = {
            "certificate_id": self.certificate.id,
            "threshold": "none" if threshold is None else f"{threshold:.6f}",
        }
        facts |= {f"split.{name}": digest for name, digest in self.certificate.splits.items()}
        many = len(self.certificate.slices) > 1
        for one in self.certificate.slices:
            prefix = f"{one.name.replace(' ', '_')}." if many else ""
            facts[f"{prefix}step_alpha"] = f"{one.alone.alpha:g}"
            facts[f"{prefix}step_coverage"] = f"{one.alone.coverage:.4f}"
        if self.certificate.session is not None:
            facts["session_alpha"] = f"{self.certificate.session.alpha:g}"
            facts["session_coverage"] = f"{self.certificate.session.coverage:.4f}"
        return facts


def bundle_process(paths: ProcessPaths, *, created: datetime, git_commit: str, lineage: Mapping[str, str]) -> Bundled:
    """Build the bundle in place of the last one, load it again, and replay its golden cases.

    Raises:
        BundleError: the parts do not belong together. ModelError: policy or critic cannot be loaded.
    """
    from selective_autonomy.bundle import DecisionBundle, build_bundle

    shutil.rmtree(paths.bundle, ignore_errors=True)
    certificate = read_certificate(paths)
    build_bundle(
        paths.bundle,
        schema=load_process(paths.schema),
        policy_dir=paths.policy,
        critic_dir=paths.critic,
        certificate=certificate,
        golden=golden_sessions(paths),
        created=created,
        git_commit=git_commit,
        lineage=lineage,
    )
    loaded = DecisionBundle.load(paths.bundle)
    return Bundled(loaded.digest, loaded.golden_mismatches(), certificate)


def golden_sessions(paths: ProcessPaths) -> list[Session]:
    """Open logs spread evenly over the critical steps of the calibrate split."""
    judged = critical_steps(paths.feedback, load_process(paths.schema), sessions_of(paths, "calibrate"))
    stride = max(1, len(judged) // GOLDEN_CASES)
    return [one.before for one in judged[::stride][:GOLDEN_CASES]]
