"""The conventions of every asset, applied once: partitions, owner, kinds, tags, code version, parameters."""

import hashlib
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg

from dagster_project.partitions import PROCESS

OWNERS = ["team:ml-platform"]
SOURCES = Path(__file__).parent.parent


def process_asset(
    *,
    group: str,
    kinds: set[str],
    code: Sequence[str],
    params: Sequence[str] = (),
    deps: Sequence[Any] = (),
    check_specs: Sequence[dg.AssetCheckSpec] = (),
    pool: str | None = None,
    tags: dict[str, str] | None = None,
) -> Callable[..., dg.AssetsDefinition]:
    """`dg.asset` with the project's conventions. The body's docstring is the description.

    Args:
        kinds: at most three, as the UI shows no more.
        code: packages or files (relative to the source root) whose content is the asset's code version.
        params: fields of `ProcessParams` ("policy", ...) or of `Params` ("validation", "drift") the asset reads;
            a change in them makes it stale.
    """
    return dg.asset(
        group_name=group,
        kinds=kinds,
        owners=OWNERS,
        tags={"domain": "selective_autonomy", **(tags or {})},
        code_version=code_version(tuple(code)),
        partitions_def=PROCESS,
        deps=list(deps),
        check_specs=list(check_specs),
        pool=pool,
        metadata={"params": list(params)},
    )


@cache
def code_version(parts: tuple[str, ...]) -> str:
    """First 12 hex digits of the sha256 over the named sources: code that changed cannot pass for the old one.

    Raises:
        FileNotFoundError: a part names no source.
    """
    digest = hashlib.sha256()
    for part in parts:
        place = SOURCES / part
        files = sorted(place.rglob("*.py")) if place.is_dir() else [place]
        for file in files:
            digest.update(file.relative_to(SOURCES).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def process_check(
    name: str, asset: str, description: str, *, blocking: bool, metadata: dict[str, Any] | None = None
) -> dg.AssetCheckSpec:
    """A check that is judged for each process by itself, so that one process's failure never hides another's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)  # partitioned checks are in preview in Dagster 1.13
        return dg.AssetCheckSpec(
            name, asset=asset, description=description, blocking=blocking, metadata=metadata, partitions_def=PROCESS
        )


def asset_check_of_process(
    asset: str, description: str, *, blocking: bool
) -> Callable[[Callable[..., dg.AssetCheckResult]], dg.AssetChecksDefinition]:
    """`dg.asset_check`, judged for each process by itself; the function's name is the claim."""

    def decorate(function: Callable[..., dg.AssetCheckResult]) -> dg.AssetChecksDefinition:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.PreviewWarning)
            return dg.asset_check(asset=asset, description=description, blocking=blocking, partitions_def=PROCESS)(
                function
            )

    return decorate
