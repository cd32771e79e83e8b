"""Train a process's policy in several processes at once, one a GPU, with the parameters of `params.yaml`:

    torchrun --nproc-per-node 2 -m dagster_project.train broadband --out policy

The traces have to be validated and split before (`selective-autonomy pipeline run` does). Started without torchrun it
is an ordinary run of one process. A killed run goes on from its last checkpoint when the same command is given again,
also with another number of processes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dagster_project.cli.pipeline import Process, Root, State
from selective_autonomy.errors import ModelError, SelectiveAutonomyError

if TYPE_CHECKING:
    from selective_autonomy.policy.causal_lm.team import Team
    from selective_autonomy.policy.training import TrainingProgress

app = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)


@app.command()
def train(
    process: Process,
    out: Annotated[Path, typer.Option(help="Folder of the policy; every process has to see it.")],
    root: Root = Path(),
    state: State = None,
) -> None:
    """Train the policy of a process; torchrun says how many processes share each batch."""
    from dagster_project.process_data import sessions_of
    from dagster_project.resources.workspace import ProcessPaths
    from selective_autonomy.params import CausalLMParams, load_params
    from selective_autonomy.policy.causal_lm.training import train_causal_lm
    from selective_autonomy.process.schema import load_process

    def show(at: TrainingProgress) -> None:
        if at.step % 10 == 0 or at.step == at.total:
            typer.echo(f"step {at.step} of {at.total}, loss {at.loss:.3f}, {at.tokens_per_second:.0f} tokens/s")

    params = load_params(root / "params.yaml").process(process).policy
    if not isinstance(params, CausalLMParams):
        raise ModelError(
            f"the policy of process {process!r} is of kind {params.kind!r}, expected 'causal_lm': other kinds train in "
            "one process; run the pipeline"
        )
    paths = ProcessPaths(root, state or root / ".state", process)
    with torchrun_team() as (team, device):
        report = train_causal_lm(
            sessions_of(paths, "train")["train"],
            load_process(paths.schema),
            params,
            out,
            on_step=show if team.rank == 0 else None,
            device=device,
            team=team,
        )
    if team.rank == 0:
        typer.echo(f"{out}: {report.steps} steps by {team.size} processes in {report.seconds:.0f} s")


@contextmanager
def torchrun_team() -> Iterator[tuple[Team, str]]:
    """The team that torchrun's environment describes, and this process's device; one process alone without it."""
    import torch

    from selective_autonomy.policy.causal_lm.team import Alone, ProcessGroup

    has_gpu = torch.cuda.is_available()
    device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if has_gpu else "cpu"
    if "WORLD_SIZE" not in os.environ:
        yield Alone(), device
        return
    if has_gpu:
        torch.cuda.set_device(device)
    torch.distributed.init_process_group("nccl" if has_gpu else "gloo")
    try:
        yield ProcessGroup(), device
    finally:
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    try:
        app()
    except SelectiveAutonomyError as err:
        sys.exit(f"{err.code}: {err}")
