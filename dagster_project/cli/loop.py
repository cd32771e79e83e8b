"""`selective-autonomy demo | corpus | up`: the whole loop in one command, and looking around afterwards."""

from __future__ import annotations

import getpass
import math
import os
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dagster_project.cli.pipeline import Root, State

if TYPE_CHECKING:
    from rich.table import Table

    from dagster_project.demo import DemoResult
    from selective_autonomy.evaluation.intervals import Figure


def demo(
    by: Annotated[
        str | None, typer.Option(help="Who approves the bundle; you, as git or the system knows you.")
    ] = None,
    root: Root = Path(),
    state: State = None,
) -> None:
    """The whole loop on the embedded desk: no data, no network, no account. A second run resumes."""
    from rich.console import Console

    from dagster_project.demo import run_demo

    console = Console()
    result = run_demo(
        root=root.resolve(), state=_resolved(state, root), console=console, approver=by or _who_runs_this()
    )
    console.print(demo_table(result))
    console.print(
        f"[dim]{result.seconds:.0f} s; the same figures: docs/benchmarks/demo.json. To look around:[/] make up\n"
        "  Dagster UI  http://127.0.0.1:3000   assets, checks, metadata\n"
        "  MLflow UI   http://127.0.0.1:5000   runs, models, who approved what\n"
        "  API docs    http://127.0.0.1:3001   the threshold-gated endpoints"
    )


def corpus(
    name: Annotated[str, typer.Argument(help="star or abcd.")],
    source: Annotated[Path | None, typer.Option(help="Folder of the corpus; STAR / ABCD in the environment.")] = None,
    root: Root = Path(),
    state: State = None,
) -> None:
    """The same loop on a public corpus of real operators' traces; fetched first unless it is given."""
    from rich.console import Console

    from dagster_project.corpus import corpus_table, run_corpus

    given = source or (Path(os.environ[name.upper()]) if os.environ.get(name.upper()) else None)
    console = Console()
    results, pipeline = run_corpus(
        name, root=root.resolve(), state=_resolved(state, root), console=console, source=given
    )
    console.print(corpus_table(name, results))
    version = pipeline.facts["decision_bundle"]["version"]
    console.print(
        f"the same figures: docs/benchmarks/{name}.json. Version {version} waits for approval:\n"
        f"  selective-autonomy release approve --process {name} --version {version} --by NAME --reason WHY"
    )


def readme(root: Root = Path()) -> None:
    """Write the tables of README and docs anew from docs/benchmarks."""
    from dagster_project.readme import DOCUMENTS, fill_tables

    for name in DOCUMENTS:
        path = root / name
        path.write_text(fill_tables(path.read_text(encoding="utf-8"), root / "docs" / "benchmarks"), encoding="utf-8")


def up(
    process: Annotated[str, typer.Option(help="Whose approved bento to serve.")] = "broadband",
    root: Root = Path(),
    state: State = None,
) -> None:
    """Dagster UI, MLflow UI and the decision service until Ctrl-C; all are stopped then."""
    import signal

    from rich.console import Console

    from dagster_project import services
    from dagster_project.instance import open_instance
    from dagster_project.registry.tracking import tracking_from

    console, where = Console(), _resolved(state, root)
    tracking = tracking_from(os.environ, where)
    open_instance(where).dispose()  # Dagster's UI reads the settings that this writes
    bento = services.latest_bento(where, process)
    token = os.environ.get("SELECTIVE_AUTONOMY_TOKEN", "local")
    servers = [services.dagster_ui(where, root.resolve())]
    if not tracking.uri.startswith("http"):
        servers.append(services.mlflow_ui(where, tracking.uri))
    if bento is None:
        console.print(f"[yellow]{process} has no bento yet[/]; run `make demo` and start this again to see the service")
    else:
        servers.append(services.decision_service(where, bento, token=token, port=3001))
    with ExitStack() as stack:
        for server in servers:
            with console.status("starting …"):
                running = stack.enter_context(server)
            console.print(f"  [green]✓[/] {running.name:<18} {running.url}  [dim]log: {running.log}[/]")
        if bento is not None:
            console.print(f"    [dim]bearer token of the service: {token}[/]")
        console.print("Ctrl-C stops them all")
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            signal.pause()
        except KeyboardInterrupt:
            console.print("stopping …")


def demo_table(result: DemoResult) -> Table:
    """What the gated system did on the new cases, beside people alone."""
    from rich.table import Table

    s = result.summary
    table = Table(
        title=f"{s.sessions} new cases: gated system against people alone (bundle version {result.version}, "
        f"approved by {result.approved_by})",
        title_justify="left",
    )
    table.add_column("")
    table.add_column("value", justify="right")
    table.add_column("95 % interval", justify="right", style="dim")
    rows: list[tuple[str, Figure, str]] = [
        ("sessions automated end to end", s.session_coverage, "%"),
        (f"steps executed ({s.steps_executed}; {s.steps_deferred} deferred)", s.step_coverage, "%"),
        ("true error among executed steps", s.true_risk, "%"),
        ("true error among routine steps (ungated)", s.routine_risk, "%"),
        ("sessions with a wrong executed step", s.session_risk, "%"),
        ("operator active time a case, people alone", s.active_seconds_human, "s"),
        ("operator active time a case, gated", s.active_seconds_selective, "s"),
        ("change of active time", s.active_seconds_change, "%"),
        ("outcomes solved, difference", s.outcome_quality_difference, "pp"),
    ]
    for label, figure, unit in rows:
        scale, word = (1.0, " s") if unit == "s" else (100.0, " %" if unit == "%" else " pp")
        table.add_row(
            label,
            "–" if math.isnan(figure.value) else f"{figure.value * scale:.1f}{word}",
            f"{figure.low * scale:.1f} … {figure.high * scale:.1f}",
        )
    return table


def _resolved(state: Path | None, root: Path) -> Path:
    """The state folder, absolute: servers run in another folder than this one."""
    return (state or root / ".state").resolve()


def _who_runs_this() -> str:
    """The person at the keyboard, as git knows them, else the login name."""
    named = subprocess.run(["git", "config", "user.name"], capture_output=True, text=True, check=False)
    return named.stdout.strip() or getpass.getuser()
