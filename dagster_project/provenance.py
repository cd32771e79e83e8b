"""What an asset was made from, as tags of its materialisation: enough to tell later whether it must run again."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from dagster_project.resources.workspace import Workspace
from selective_autonomy.bundle_files import folder_digest
from selective_autonomy.process.schema import canonical_json

PARAMS_TAG = "selective_autonomy/params"
INPUTS_TAG = "selective_autonomy/inputs"
CODE_TAG = "dagster/code_version"
VERSION_TAG = "dagster/data_version"


@dataclass(frozen=True)
class Made:
    """One recorded materialisation: versions of code, parameters and inputs it was made from, and its own."""

    code: str
    params: str
    inputs: str
    version: str
    run_id: str


def last_made(instance: dg.DagsterInstance, key: dg.AssetKey, process_id: str) -> Made | None:
    """The latest materialisation of an asset for a process, None if there is none."""
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=key, asset_partitions=[process_id]), limit=1
    ).records
    if not records:
        return None
    tags = records[0].event_log_entry.tags or {}
    names = (CODE_TAG, PARAMS_TAG, INPUTS_TAG, VERSION_TAG)
    return Made(*(tags.get(name, "") for name in names), run_id=records[0].run_id)


def params_version(workspace: Workspace, process_id: str, names: Iterable[str]) -> str:
    """Digest of the named fields of the process's (or of the whole) parameters."""
    params = workspace.params()
    process = params.process(process_id)
    whole = {**params.model_dump(mode="json"), **process.model_dump(mode="json")}
    return digest_of({name: whole[name] for name in names})


def inputs_version(instance: dg.DagsterInstance, deps: Iterable[dg.AssetKey], process_id: str) -> str:
    """Digest of the latest data versions of the upstream assets; a missing one counts as ""."""
    made = {key.to_user_string(): last_made(instance, key, process_id) for key in deps}
    return digest_of({name: one.version if one else "" for name, one in made.items()})


def made(
    context: dg.AssetExecutionContext, workspace: Workspace, version: str, metadata: Mapping[str, object]
) -> dg.MaterializeResult:
    """The result of an asset body: its data version, its metadata, and the provenance tags."""
    key = context.asset_key
    deps = context.assets_def.asset_deps[key]
    names = context.assets_def.metadata_by_key[key]["params"]
    return dg.MaterializeResult(
        data_version=dg.DataVersion(version),
        metadata=dict(metadata),
        tags={
            PARAMS_TAG: params_version(workspace, context.partition_key, names),
            INPUTS_TAG: inputs_version(context.instance, deps, context.partition_key),
        },
    )


def digest_of(value: object) -> str:
    """First 16 hex digits of the sha256 of a value's canonical JSON. Tags hold at most 63 characters."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:16]


def folder_version(folder: Path) -> str:
    """First 16 hex digits of a folder's digest: a data version."""
    return folder_digest(folder)[:16]
