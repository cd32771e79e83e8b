"""Run the pipeline of one process in this process, on the persistent instance; what is up to date is skipped."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from dagster_project.jobs import LOOP, RELEASE
from selective_autonomy.errors import ProcessError
from selective_autonomy.params import load_params

if TYPE_CHECKING:
    import dagster as dg

    from dagster_project.console import ConsoleProgress
    from dagster_project.registry.tracking import Tracking
    from dagster_project.resources.progress import Progress
    from dagster_project.staleness import Stale

# Dagster's own log lines would bury the progress; the event log keeps them all.
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class PipelineResult:
    """How a run went.

    Args:
        ran: assets that were made now, in order; `skipped`: those that were up to date.
        why: asset -> why it had to be made.
        errors: step -> why it failed; empty on success.
        run_ids: the Dagster runs, one a wave: what may come out as it was is waited for before more is run.
        seconds: step -> wall-clock seconds, for what ran.
        facts: asset -> its latest metadata, also of what was skipped: numbers and texts as plain values.
    """

    process_id: str
    success: bool
    ran: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    why: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    run_ids: tuple[str, ...] = ()


def run_pipeline(
    process_id: str,
    *,
    root: Path,
    state: Path,
    console: Console,
    tracking: Tracking | None = None,
    selection: Sequence[str] = LOOP,
    restart_from: str | None = None,
    everything: bool = False,
) -> PipelineResult:
    """Bring the selected assets of a process up to date.

    Args:
        root: the project's root with params.yaml and dvc.yaml. state: where Dagster and MLflow keep theirs.
        tracking: the MLflow store; None: the one MLFLOW_TRACKING_URI names, else SQLite under `state`.
        selection: `LOOP` (traces to a registered candidate) or `RELEASE` (the approved bundle to a bento).
        restart_from: run this asset and all that depends on it whatever is recorded.
        everything: run the whole selection whatever is recorded.

    Returns:
        The result; a failed asset or blocking check is `success=False`, not an exception.

    Raises:
        ProcessError: params.yaml is missing or wrong, has no such process, or `restart_from` is no asset of
            the selection.
    """
    from dagster_project.console import ConsoleProgress

    pipeline = _Pipeline.of(process_id, root, state, tracking)
    if restart_from is not None and restart_from not in selection:
        raise ProcessError(f"cannot start from {restart_from!r}; expected one of {list(selection)}")
    progress = ConsoleProgress(console)
    with pipeline.opened(progress) as run, progress:
        forced = list(selection) if everything else []
        while wave := run.next_wave(selection, forced=forced, restart_from=restart_from):
            if not run.execute(wave, progress):
                break
        skipped = tuple(name for name in selection if name not in run.why)
        progress.say_skipped(skipped)
        return PipelineResult(
            process_id,
            success=run.success,
            ran=tuple(name for name in selection if name in run.made),
            skipped=skipped,
            why=run.why,
            errors=progress.errors,
            seconds=progress.seconds,
            facts=latest_facts(run.instance, process_id, selection),
            run_ids=tuple(run.run_ids),
        )


def pipeline_status(process_id: str, *, root: Path, state: Path) -> dict[str, str | None]:
    """Asset of the loop -> why it would run now, None if it is up to date.

    Raises:
        ProcessError: params.yaml is missing or wrong, or has no such process.
    """
    from dagster_project.resources.progress import Progress

    with _Pipeline.of(process_id, root, state, None).opened(Progress()) as run:
        stale = run.stale(LOOP)
    return {name: stale[name].why if name in stale else None for name in LOOP}


def latest_facts(instance: dg.DagsterInstance, process_id: str, assets: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Asset -> metadata of its latest materialisation for the process, as plain values; {} if never made."""
    import dagster as dg

    facts: dict[str, dict[str, Any]] = {}
    for name, key in zip(assets, _keys(assets), strict=True):
        records = instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=key, asset_partitions=[process_id]), limit=1
        ).records
        made = records[0].asset_materialization if records else None
        facts[name] = {label: entry.value for label, entry in made.metadata.items()} if made else {}
    return facts


@dataclass(frozen=True)
class _Pipeline:
    process_id: str
    root: Path
    state: Path
    tracking: Tracking

    @classmethod
    def of(cls, process_id: str, root: Path, state: Path, tracking: Tracking | None) -> _Pipeline:
        from dagster_project.registry.tracking import tracking_from

        load_params(root / "params.yaml").process(process_id)
        return cls(process_id, root.resolve(), state.resolve(), tracking or tracking_from(os.environ, state))

    @contextmanager
    def opened(self, progress: Progress) -> Iterator[_Run]:
        from dagster_project.definitions import build_definitions
        from dagster_project.instance import open_instance
        from dagster_project.partitions import add_processes

        # A bar for every file that transformers reads or writes would be drawn over ours.
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        with open_instance(self.state) as instance:
            add_processes(instance, [self.process_id])
            yield _Run(self, build_definitions(self.root, self.state, self.tracking, progress), instance)


@dataclass
class _Run:
    """One call of `run_pipeline`: waves of Dagster runs, until nothing is stale that was not made here."""

    pipeline: _Pipeline
    defs: dg.Definitions
    instance: dg.DagsterInstance
    why: dict[str, str] = field(default_factory=dict)
    made: set[str] = field(default_factory=set)
    run_ids: list[str] = field(default_factory=list)
    success: bool = True

    def next_wave(self, selection: Sequence[str], *, forced: Sequence[str], restart_from: str | None) -> list[str]:
        """What to run next. An asset runs once; one whose inputs came out as they were does not run at all."""
        from dagster_project.staleness import Stale, first_wave

        first = not self.run_ids
        if forced and first:
            stale = {name: Stale("asked for") for name in forced}
        else:
            stale = self.stale(selection, restart_from if first else None)
        wave = [name for name in first_wave(self.defs, stale) if name not in self.made]
        self.why.update({name: stale[name].why for name in wave})
        return wave

    def stale(self, selection: Sequence[str], restart_from: str | None = None) -> dict[str, Stale]:
        from dagster_project.dvc_repo import changed
        from dagster_project.registry.approval import approval_changed
        from dagster_project.resources.workspace import Workspace
        from dagster_project.staleness import stale_assets

        pipeline = self.pipeline
        workspace = Workspace(root=str(pipeline.root), state=str(pipeline.state))
        paths = workspace.of(pipeline.process_id)
        outside = {
            "raw_traces": lambda: changed(pipeline.root, pipeline.process_id),
            "approval": lambda: approval_changed(pipeline.tracking, pipeline.process_id, paths.approval),
        }
        return stale_assets(
            self.defs,
            self.instance,
            workspace,
            pipeline.process_id,
            selection,
            outside={name: ask for name, ask in outside.items() if name not in self.made},
            restart_from=restart_from,
        )

    def execute(self, wave: Sequence[str], progress: ConsoleProgress) -> bool:
        """Run assets in one Dagster run; whether all went well."""
        from dagster._core.utils import make_new_run_id

        run_id = make_new_run_id()
        progress.plan({name: self.why[name] for name in wave})
        self.run_ids.append(run_id)
        self.instance.add_event_listener(run_id, progress.on_event)
        job = self.defs.resolve_job_def("release" if set(wave) <= set(RELEASE) else "whole_loop")
        done = job.execute_in_process(
            run_config=QUIET,
            instance=self.instance,
            partition_key=self.pipeline.process_id,
            raise_on_error=False,
            run_id=run_id,
            asset_selection=_keys(wave),
        )
        self.made |= {event.asset_key.to_user_string() for event in done.get_asset_materialization_events()}
        self.success = done.success
        return done.success


def _keys(names: Sequence[str]) -> list[dg.AssetKey]:
    import dagster as dg

    return [dg.AssetKey(name) for name in names]
