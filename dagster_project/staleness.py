"""Which assets must run again, and why: from the versions that Dagster recorded when it last made them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph  # what resolve_asset_graph returns

from dagster_project.provenance import inputs_version, last_made, params_version
from dagster_project.registry.standing_checks import failed_blocking
from dagster_project.resources.workspace import Workspace


@dataclass(frozen=True)
class Stale:
    """Why an asset must run. Not `certain`: only because something upstream runs, which may come out the same."""

    why: str
    certain: bool = True


def stale_assets(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    workspace: Workspace,
    process_id: str,
    selection: Sequence[str],
    *,
    outside: Mapping[str, Callable[[], str | None]],
    restart_from: str | None = None,
) -> dict[str, Stale]:
    """The assets of the selection that are not what code, parameters and inputs would make now, upstream first.

    Args:
        selection: asset names; upstream assets outside it are taken as they are.
        outside: asset -> why it must run again for something outside Dagster (DVC, MLflow); None if it need not.
        restart_from: this asset runs again whatever was recorded, and so does all that depends on it.
    """
    graph = defs.resolve_asset_graph()
    stale: dict[str, Stale] = {}
    asked: set[str] = set()
    for key in (key for level in graph.toposorted_asset_keys_by_level for key in sorted(level)):
        name = key.to_user_string()
        if name not in selection:
            continue
        upstream = {parent.to_user_string() for parent in graph.get(key).parent_keys}
        if name == restart_from or upstream & asked:
            asked.add(name)
            stale[name] = Stale("asked for")
        elif why := _own_reason(graph, instance, workspace, process_id, key) or outside.get(name, _nothing)():
            stale[name] = Stale(why)
        elif running := sorted(upstream & stale.keys()):
            stale[name] = Stale(f"made from {', '.join(running)}", certain=False)
        elif last_made(instance, key, process_id).inputs != inputs_version(
            instance, graph.get(key).parent_keys, process_id
        ):
            stale[name] = Stale("what it is made from changed")
    return stale


def first_wave(defs: dg.Definitions, stale: Mapping[str, Stale]) -> list[str]:
    """What can be run now without running anything in vain: certain, and so is all that it waits for."""
    graph = defs.resolve_asset_graph()
    wave: list[str] = []
    for name, one in stale.items():
        upstream = {parent.to_user_string() for parent in graph.get(dg.AssetKey(name)).parent_keys}
        if one.certain and all(parent in wave for parent in upstream & stale.keys()):
            wave.append(name)
    return wave


def _own_reason(
    graph: AssetGraph, instance: dg.DagsterInstance, workspace: Workspace, process_id: str, key: dg.AssetKey
) -> str | None:
    node, recorded = graph.get(key), last_made(instance, key, process_id)
    if recorded is None:
        return "never made"
    if recorded.code != node.code_version:
        return "its code changed"
    if recorded.params != params_version(workspace, process_id, node.metadata["params"]):
        return "its parameters changed"
    if failing := failed_blocking(instance, _checks(graph, key), process_id):
        return f"checks failed: {', '.join(failing)}"
    if not workspace.of(process_id).output(key.to_user_string()).exists():
        return "its files are gone"
    return None


def _nothing() -> None:
    return None


def _checks(graph: AssetGraph, key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    return [graph.get_check_spec(check) for check in sorted(graph.get_check_keys_for_assets({key}))]
