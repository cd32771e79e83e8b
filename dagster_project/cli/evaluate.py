"""`selective-autonomy evaluate …`: measure any policy of params.yaml, on the test split or on what it never saw."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dagster_project.cli.pipeline import Process, Root, State

if TYPE_CHECKING:
    from dagster_project.policy_bench import OnUnit, PolicyBench
    from dagster_project.registry.tracking import Tracking

app = typer.Typer(
    help="Measure policies against the logs, training those that are not trained yet.", no_args_is_help=True
)


class Holdout(StrEnum):
    """What is kept out of training and measured on."""

    none = "none"
    operators = "operators"
    processes = "processes"
    published = "published"


class Unseen(StrEnum):
    """What a certificate is measured on that it was made without."""

    operators = "operators"
    processes = "processes"


class Variant(StrEnum):
    """Whether a learning curve trains beside the other procedures' sessions."""

    alone = "alone"
    beside = "beside"
    both = "both"


Policies = Annotated[
    list[str] | None,
    typer.Option("--policy", help="`policy` (the process's own), a rival of params.yaml, or a kind; can be repeated."),
]
Device = Annotated[str, typer.Option(help="Where models are trained and run: cpu, cuda, ...")]
Evidence = Annotated[bool, typer.Option("--evidence", help="Put the figures into docs/benchmarks/PROCESS.json too.")]


@app.command()
def policy(
    process: Process,
    policies: Policies = None,
    holdout: Annotated[
        Holdout,
        typer.Option(
            help="The test split; unseen operators or processes; or the split that the corpus was published with."
        ),
    ] = Holdout.none,
    sessions: Annotated[
        int | None, typer.Option(min=1, help="Measure on this many sessions, evenly spaced, not on all.")
    ] = None,
    evidence: Evidence = False,
    device: Device = "cpu",
    root: Root = Path(),
    state: State = None,
) -> None:
    """Accuracy of one or more policies on sessions that they were not trained on; files, figures and an MLflow run."""
    from rich.console import Console
    from rich.markdown import Markdown

    from dagster_project.policy_evaluations import compare_policies
    from selective_autonomy.evaluation.policy_report import comparison_markdown

    if evidence and sessions is not None:
        raise typer.BadParameter("--evidence holds figures of all sessions; leave --sessions out")
    console, where = Console(), (state or root / ".state").resolve()
    with _opened(process, root, where, device) as bench:
        reports, folder = compare_policies(
            bench, _named(policies), holdout.value, _tracking(where), at_most=sessions, evidence=evidence
        )
    console.print(f"{process}, hold-out {holdout.value}: {reports[0].sessions} sessions, {reports[0].steps} steps")
    console.print(Markdown(comparison_markdown(reports)))
    console.print(f"tables and figures: {folder}")


@app.command()
def certificate(
    process: Process,
    holdout: Annotated[Unseen, typer.Option(help="Whole operators, or every session of some procedures.")],
    evidence: Evidence = False,
    device: Device = "cpu",
    root: Root = Path(),
    state: State = None,
) -> None:
    """What certified thresholds do on operators or processes that policy, critic and certificate never saw."""
    from rich.console import Console
    from rich.markdown import Markdown

    from dagster_project.certificate_evaluations import evaluate_certificates

    console, where = Console(), (state or root / ".state").resolve()
    with _opened(process, root, where, device) as bench:
        found, folder = evaluate_certificates(bench, holdout.value, _tracking(where), evidence=evidence)
    console.print(f"{process}, unseen {holdout.value}: {found['sessions']} sessions, {found['steps']} steps")
    console.print(Markdown((folder / "report.md").read_text(encoding="utf-8")))
    console.print(f"tables: {folder}")


@app.command()
def curve(
    process: Process,
    policies: Policies = None,
    procedures: Annotated[
        list[str] | None, typer.Option("--procedure", help="Without it those of params.yaml; can be repeated.")
    ] = None,
    variant: Annotated[Variant, typer.Option(help="Train with the other procedures' sessions?")] = Variant.both,
    evidence: Evidence = False,
    device: Device = "cpu",
    root: Root = Path(),
    state: State = None,
) -> None:
    """Accuracy against the number of a procedure's own sessions: what a new one can expect after its first days."""
    from rich.console import Console
    from rich.markdown import Markdown

    from dagster_project.policy_evaluations import draw_curve

    console, where = Console(), (state or root / ".state").resolve()
    beside = {Variant.alone: (False,), Variant.beside: (True,), Variant.both: (False, True)}[variant]
    with _opened(process, root, where, device) as bench:
        known = bench.params.curves.procedures if bench.params.curves else ("",)
        drawn = [
            draw_curve(bench, _named(policies), one, _tracking(where), beside=beside, evidence=evidence)
            for one in procedures or known
        ]
    for learned, folder in drawn:
        console.print(Markdown(learned.markdown()))
        console.print(f"tables and figures: {folder}")


def _named(policies: list[str] | None) -> list[str]:
    from selective_autonomy.params import DEFAULT_POLICY

    return list(dict.fromkeys(policies or [DEFAULT_POLICY]))


def _tracking(state: Path) -> Tracking:
    from dagster_project.registry.tracking import tracking_from

    return tracking_from(os.environ, state)


@contextmanager
def _opened(process: str, root: Path, state: Path, device: str) -> Iterator[PolicyBench]:
    """The process's bench, with a bar on standard error for what is under way."""
    from dagster_project.policy_bench import PolicyBench

    with _bar() as show:
        yield PolicyBench.open(process, root=root, state=state, device=device, on_unit=show)


@contextmanager
def _bar() -> Iterator[OnUnit]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    note = TextColumn("{task.fields[note]}", style="dim")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), note)
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task, shown = bars.add_task("reading sessions", total=None, note=""), ""

        def show(what: str, done: int, total: int, note: str) -> None:
            nonlocal shown
            if what != shown:
                bars.reset(task)
                shown = what
            bars.update(task, description=what, completed=done, total=total, note=note)

        yield show
