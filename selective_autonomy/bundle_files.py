"""A decision bundle on disk: what lies where, and the proof that nothing of it was changed.

manifest.json              names every other file with its sha256; its own digest names the bundle
processes/<process>.yaml   the process schema
policy/ critic/            as their own `save` wrote them
certificate.json
golden.jsonl               logs with the decision that this bundle takes on them
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from selective_autonomy.errors import BundleError
from selective_autonomy.frozen import Frozen
from selective_autonomy.process.actions import UIAction
from selective_autonomy.process.schema import canonical_json
from selective_autonomy.traces.schema import Session, UtcTime

MANIFEST, CERTIFICATE, GOLDEN = "manifest.json", "certificate.json", "golden.jsonl"
POLICY, CRITIC, PROCESSES = "policy", "critic", "processes"


class BundleManifest(Frozen):
    """What a bundle is made of.

    Args:
        files: relative POSIX path -> sha256, for every file but the manifest itself.
        lineage: where it came from, by name (data version, training run, ...); for auditors, never acted on.
    """

    schema_version: Literal[1] = 1
    process_id: str
    process_version: str
    policy_kind: str
    created: UtcTime
    files: dict[str, str]
    contract_fingerprint: str
    certificate_id: str
    git_commit: str | None = None
    lineage: dict[str, str] = Field(default_factory=dict)

    @property
    def digest(self) -> str:
        """sha256 of the canonical JSON: one digest for the whole bundle, since every file's is in it."""
        return hashlib.sha256(canonical_json(self.model_dump(mode="json")).encode()).hexdigest()


class GoldenCase(Frozen):
    """An open log and what the bundle decided on it when it was built. None: there was none to be had."""

    session: Session
    outcome: Literal["execute", "defer"]
    reason: str | None
    action: UIAction | None
    p_accept: float | None


def folder_digest(folder: Path) -> str:
    """sha256 over the names and bytes of all files below a folder, in hex. An empty folder has one, too."""
    digest = hashlib.sha256()
    for path in files_below(folder):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        digest.update(bytes.fromhex(file_digest(path)))
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes, in hex."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def files_below(folder: Path) -> list[Path]:
    """Every file below a folder, in order of its path."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def file_digests(bundle: Path) -> dict[str, str]:
    """Relative POSIX path -> sha256 of every file of a bundle but its manifest."""
    return {
        path.relative_to(bundle).as_posix(): file_digest(path)
        for path in files_below(bundle)
        if path != bundle / MANIFEST
    }


def read_manifest(bundle: Path) -> BundleManifest:
    """Read the manifest and check every file against it.

    Raises:
        BundleError: no manifest, a manifest of another shape, or a file that is missing, altered or not listed;
            the message names it.
    """
    path = bundle / MANIFEST
    try:
        manifest = BundleManifest.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise BundleError(f"{path} is no bundle manifest: {err}; build the bundle again") from err
    found = file_digests(bundle)
    problems = [f"{name} is missing" for name in sorted(manifest.files.keys() - found.keys())]
    problems += [f"{name} is not in the manifest" for name in sorted(found.keys() - manifest.files.keys())]
    problems += [
        f"{name} was altered" for name in sorted(found) if found[name] != manifest.files.get(name, found[name])
    ]
    if problems:
        raise BundleError(f"bundle {bundle}: {'; '.join(problems)}; fetch or build it again")
    return manifest


def write_golden(cases: Iterable[GoldenCase], path: Path) -> None:
    """One case a line."""
    path.write_text("".join(case.model_dump_json() + "\n" for case in cases), encoding="utf-8")


def read_golden(path: Path) -> list[GoldenCase]:
    """Read what `write_golden` wrote.

    Raises:
        BundleError: a line is no golden case; the message names it.
    """
    cases = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            cases.append(GoldenCase.model_validate_json(line))
        except ValidationError as err:
            raise BundleError(f"{path}, line {number}: no golden case: {err}") from err
    return cases
