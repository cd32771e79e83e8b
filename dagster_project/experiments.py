"""Experiments as Dagster jobs: what `selective-autonomy bench` measures, started and watched in the UI."""

import dagster as dg

from dagster_project.resources.workspace import Workspace


class NoiseExperiment(dg.Config):
    """`small`: a quick look with a tiny policy that writes no evidence; else about an hour, after `make star`."""

    small: bool = False


@dg.op(description="True risk, automation and time saved under corrupted feedback, with and without the noise model.")
def noisy_feedback(context: dg.OpExecutionContext, config: NoiseExperiment, workspace: Workspace) -> None:
    from pathlib import Path

    from rich.console import Console

    from dagster_project.bench.noise import run_noise_bench

    results = run_noise_bench(
        root=Path(workspace.root), state=Path(workspace.state), console=Console(quiet=True), small=config.small
    )
    live = results["live"]
    context.add_output_metadata(
        {
            "session_coverage": live["session_coverage"]["value"],
            "session_risk": live["session_risk"]["value"],
            "active_seconds_change": live["active_seconds_change"]["value"],
            "outcome_quality_difference": live["outcome_quality_difference"]["value"],
            "certificates_refused": live["refused"],
            "desk": dg.MetadataValue.json(results["desk"]),
        }
    )


@dg.job(description="Feedback corrupted on purpose (`make bench-noise`).")
def noise_experiment() -> None:
    noisy_feedback()
