"""`selective-autonomy bench ...`: experiments that are measured again by one command each."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from dagster_project.cli.pipeline import Root, State

app = typer.Typer(no_args_is_help=True, help="Measure again what docs/benchmarks holds.")


@app.callback()
def _main() -> None:
    """Nothing happens without a command."""


@app.command()
def policy(
    source: Annotated[Path | None, typer.Option(help="Folder of STAR; STAR in the environment.")] = None,
    pretrained: Annotated[
        Path | None, typer.Option(help="Folder of a Hugging Face model whose decisions are timed, too.")
    ] = None,
    small: Annotated[
        bool, typer.Option("--small", help="A quick look on the embedded desk with a tiny model; writes no evidence.")
    ] = False,
    root: Root = Path(),
) -> None:
    """Packed training against one sequence a step, and a decision with the session's cache against without."""
    from rich.console import Console

    from dagster_project.bench.policy import policy_table, run_policy_bench

    console = Console()
    given = source or (Path(os.environ["STAR"]) if os.environ.get("STAR") else None)
    results = run_policy_bench(root=root.resolve(), console=console, source=given, small=small, pretrained=pretrained)
    console.print(policy_table(results))


@app.command()
def certify(
    small: Annotated[
        bool, typer.Option("--small", help="A few draws of the smallest size; writes no evidence.")
    ] = False,
    root: Root = Path(),
    state: State = None,
) -> None:
    """Coverage and broken promises of threshold rules, ours and others', on a simulated critic and STAR's scores."""
    from rich.console import Console

    from dagster_project.bench.certify import certify_table, run_certify_bench

    console = Console()
    results = run_certify_bench(
        root=root.resolve(), state=(state or root / ".state").resolve(), console=console, small=small
    )
    console.print(certify_table(results))
    console.print(
        f"a million scored steps certified in {results['certify_1m_seconds']:.2f} s; "
        f"a step monitored in {results['monitor_update_us']:.1f} µs"
    )


@app.command()
def critics(
    process: Annotated[str, typer.Argument(help="Whose feedback; its loop has run.")],
    loss: Annotated[str, typer.Option(help="What counts as right: own, tool or strict.")] = "own",
    sessions: Annotated[int | None, typer.Option(min=2, help="So many of fit, evenly spaced; all without it.")] = None,
    root: Root = Path(),
    state: State = None,
) -> None:
    """Critics of every kind and every calibration on one process's feedback, cross-validated; test is not read."""
    from typing import get_args

    from rich.console import Console

    from dagster_project.bench.critics import Loss, certified_table, critics_table, run_critics_bench

    if loss not in get_args(Loss):
        raise typer.BadParameter(f"got {loss!r}, expected one of {', '.join(get_args(Loss))}", param_hint="--loss")
    console = Console()
    results = run_critics_bench(
        process,
        root=root.resolve(),
        state=(state or root / ".state").resolve(),
        loss=loss,  # type: ignore[arg-type]
        console=console,
        sessions=sessions,
    )
    console.print(critics_table(results))
    console.print(certified_table(results))


@app.command()
def golive(
    small: Annotated[bool, typer.Option("--small", help="A few seeds and streams; writes no evidence.")] = False,
    root: Root = Path(),
    state: State = None,
) -> None:
    """After go-live: daily recertification from audited steps, and forecasts of time-to-autonomy, beside the truth."""
    from rich.console import Console

    from dagster_project.bench.golive import forecast_table, recertified_table, run_golive_bench

    console = Console()
    results = run_golive_bench(
        root=root.resolve(), state=(state or root / ".state").resolve(), console=console, small=small
    )
    console.print(recertified_table(results))
    console.print(forecast_table(results))


@app.command()
def noise(
    small: Annotated[bool, typer.Option("--small", help="A quick look with a tiny model; writes no evidence.")] = False,
    root: Root = Path(),
    state: State = None,
) -> None:
    """Feedback corrupted on purpose: true risk, automation and time saved, with and without the noise model."""
    from rich.console import Console

    from dagster_project.bench.noise import noise_table, run_noise_bench

    console = Console()
    results = run_noise_bench(
        root=root.resolve(), state=(state or root / ".state").resolve(), console=console, small=small
    )
    console.print(noise_table(results))
    live = results["live"]
    figures = {
        name: 100 * live[name]["value"] for name in ("session_coverage", "session_risk", "active_seconds_change")
    }
    console.print(
        f"new cases at {100 * live['flips']:g} % flipped verdicts: {figures['session_coverage']:.1f} % worked alone, "
        f"{figures['session_risk']:.1f} % with a truly wrong step, active time "
        f"{figures['active_seconds_change']:+.1f} %"
    )


@app.command()
def mix(
    source: Annotated[Path | None, typer.Option(help="Folder of STAR; STAR in the environment.")] = None,
    setting: Annotated[str, typer.Option(help="full or quarter: what params.yaml has under mix.")] = "full",
    small: Annotated[bool, typer.Option("--small", help="A quick look with a tiny model; writes no evidence.")] = False,
    root: Root = Path(),
    state: State = None,
) -> None:
    """Corrections back into training, mixed with logs and as preferences. A killed run goes on where it was."""
    from rich.console import Console

    from dagster_project.mix import SMALL, mix_table, run_mix

    console = Console()
    given = source or (Path(os.environ["STAR"]) if os.environ.get("STAR") else None)
    results = run_mix(
        root=root.resolve(),
        state=(state or root / ".state").resolve(),
        console=console,
        source=given,
        setting=SMALL if small else setting,
    )
    console.print(mix_table(results))
