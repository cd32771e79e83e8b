"""`selective-autonomy pipeline …`: bring a process up to date, see what is stale, check the definitions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Run the pipeline of a process; what is up to date is skipped.", no_args_is_help=True)

Root = Annotated[Path, typer.Option(help="The project's root: params.yaml, dvc.yaml and data/ are there.")]
State = Annotated[
    Path | None,
    typer.Option(envvar="SELECTIVE_AUTONOMY_STATE", help="Where Dagster and MLflow keep theirs; ROOT/.state."),
]
Process = Annotated[str, typer.Argument(help="A process of params.yaml.")]


@app.command()
def run(
    process: Process,
    start: Annotated[
        str | None, typer.Option("--from", help="Run this asset again, and all that depends on it.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Run everything again.")] = False,
    root: Root = Path(),
    state: State = None,
) -> None:
    """Traces to a registered candidate: validate, train, replay, fit, certify, register, evaluate."""
    from rich.console import Console

    from dagster_project.pipeline import run_pipeline

    console = Console()
    result = run_pipeline(
        process, root=root, state=state or root / ".state", console=console, restart_from=start, everything=everything
    )
    if not result.success:
        console.print(f"[red]{process}: {len(result.errors)} failed[/]; mend the cause and run the same command again")
        raise typer.Exit(1)
    console.print(f"{process}: {len(result.ran)} made, {len(result.skipped)} up to date")


@app.command()
def status(process: Process, root: Root = Path(), state: State = None) -> None:
    """Which assets are up to date, and why the others are not."""
    from rich.console import Console

    from dagster_project.pipeline import pipeline_status

    console = Console()
    for asset, why in pipeline_status(process, root=root, state=state or root / ".state").items():
        console.print(f"  {asset:<18} {f'[yellow]{why}[/]' if why else '[green]up to date[/]'}")


@app.command()
def validate() -> None:
    """Load all Dagster definitions and resolve every job; says what there is."""
    import dagster as dg

    from dagster_project.definitions import defs

    dg.Definitions.validate_loadable(defs)
    graph = defs.resolve_asset_graph()
    typer.echo(
        f"{len(graph.materializable_asset_keys)} assets, {len(graph.asset_check_keys)} checks, "
        f"{len(list(defs.jobs or []))} jobs, {len(list(defs.sensors or []))} sensors, "
        f"{len(list(defs.schedules or []))} schedules: definitions are valid"
    )
