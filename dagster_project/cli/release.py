"""`selective-autonomy release …`: show versions, approve one by name and reason, build its bento."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from dagster_project.cli.pipeline import Process, Root, State

app = typer.Typer(help="Approve a registered bundle and build the service from it.", no_args_is_help=True)


@app.command()
def approve(
    process: Annotated[str, typer.Option(help="A process of params.yaml.")],
    version: Annotated[int, typer.Option(help="The version of its registered model.")],
    by: Annotated[str, typer.Option(help="Who approves: a person's name.")],
    reason: Annotated[str, typer.Option(help="Why it may work by itself.")],
    root: Root = Path(),
    state: State = None,
) -> None:
    """Approve a version; refused while a blocking check fails or the stored bundle does not verify."""
    from dagster_project.registry.tracking import tracking_from
    from dagster_project.release import approve_version

    where = state or root / ".state"
    approval = approve_version(
        process,
        version,
        approved_by=by,
        reason=reason,
        state=where,
        tracking=tracking_from(os.environ, where),
        at=datetime.now(UTC),
    )
    typer.echo(f"{process} version {version} ({approval.bundle_digest[:12]}) approved by {approval.approved_by}")


@app.command()
def build(process: Process, root: Root = Path(), state: State = None) -> None:
    """Build the bento of the approved bundle."""
    from rich.console import Console

    from dagster_project.jobs import RELEASE
    from dagster_project.pipeline import run_pipeline

    console = Console()
    result = run_pipeline(process, root=root, state=state or root / ".state", console=console, selection=RELEASE)
    if not result.success:
        raise typer.Exit(1)
    console.print(f"{process}: bento {result.facts['serving_bento']['bento']}")


@app.command()
def show(process: Process, root: Root = Path(), state: State = None) -> None:
    """Every registered version: checks, certificate, and who approved it when and why."""
    from rich.console import Console
    from rich.table import Table

    from dagster_project.registry.history import versions_of
    from dagster_project.registry.tracking import tracking_from

    where = state or root / ".state"
    table = Table("version", "alias", "bundle", "checks", "threshold", "approved by", "approved at", "reason")
    for row in versions_of(tracking_from(os.environ, where), process):
        signed = row.approval
        who = (signed.approved_by, signed.approved_at.isoformat(timespec="minutes"), signed.reason) if signed else ()
        facts = (str(row.version), ", ".join(row.aliases), row.bundle_digest[:12], row.validation_status, row.threshold)
        table.add_row(*facts, *who)
    Console().print(table)
