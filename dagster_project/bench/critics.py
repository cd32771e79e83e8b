"""`selective-autonomy bench critics`: critics of every kind on one process's feedback, without its test split."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from rich.console import Console

from dagster_project.evidence import add_evidence
from dagster_project.judged_steps import JudgedStep, critical_steps
from dagster_project.process_data import sessions_of
from dagster_project.resources.workspace import ProcessPaths
from selective_autonomy.errors import ModelError
from selective_autonomy.evaluation.critics import (
    Feedback,
    calibrations,
    certified_across,
    rank_and_calibration,
    score_critics,
)
from selective_autonomy.params import EvidenceParams, load_params
from selective_autonomy.process.comparison import same_action
from selective_autonomy.process.schema import load_process
from selective_autonomy.traces.schema import Session

if TYPE_CHECKING:
    from rich.table import Table

    from selective_autonomy.params import ProcessParams

ALPHAS = (0.10, 0.20)
SEED = 7
Loss = Literal["own", "tool", "strict"]


def run_critics_bench(
    process_id: str, *, root: Path, state: Path, loss: Loss, console: Console, sessions: int | None = None
) -> dict[str, Any]:
    """Measure, and add the figures to docs/benchmarks/critics.json.

    Args:
        loss: what counts as right: "own" as the process's certificate has it; "tool" or "strict" against the log.
        sessions: as many sessions of fit, evenly spaced in their file; a generative critic of all of STAR's takes six
            minutes of one core. None: all.

    Raises:
        ModelError: the process's loop has not run, its policy is no language model, or params.yaml has no `critics`.
    """
    from selective_autonomy.critic.evidence import Evidence
    from selective_autonomy.critic.generative import causal_lm

    started, params = time.monotonic(), load_params(root / "params.yaml")
    paths, process = ProcessPaths(root, state, process_id), params.process(process_id)
    if not paths.feedback.exists():
        raise ModelError(f"{paths.feedback} is missing: run the process's loop first, its feedback is learned from")
    if params.critics is None:
        raise ModelError("params.yaml has no `critics`, which says how the compared critics are trained; add it")
    schema, by_split = load_process(paths.schema), sessions_of(paths, "train", "fit", "calibrate")
    by_split["fit"] = _evenly(by_split["fit"], sessions)
    judged = critical_steps(paths.feedback, schema, {split: by_split[split] for split in ("fit", "calibrate")})
    fit, calibrate = (_feedback(judged, split, loss, process) for split in ("fit", "calibrate"))
    with console.status(f"{process_id}: critics are fitted on {fit.accepted_N.size} judged steps …"):
        # The trees are the process's own, whatever it allows them to know.
        own = {"evidence": process.critic} if isinstance(process.critic, EvidenceParams) else {}
        setting = params.critics.model_copy(update=own)
        scores = score_critics(causal_lm(paths.policy), Evidence.fit(by_split["train"], schema), fit, setting)
    with console.status(f"{process_id}: measured …"):
        results: dict[str, Any] = {
            "sessions": len(set(fit.sessions)),
            "steps": int(fit.accepted_N.size),
            "right": float(fit.accepted_N.mean()),
            "calibrate_sessions": len(set(calibrate.sessions)),
            "kinds": {
                kind: {name: figure.model_dump() for name, figure in figures.items()}
                for kind, figures in rank_and_calibration(scores, seed=SEED).items()
            },
            "calibrations": calibrations(scores),
            "chosen": {kind: critic.calibration for kind, critic in scores.critics.items()},
            "certified": {
                kind: _plain(certified_across(critic, calibrate, ALPHAS, process.certificate, seed=SEED))
                for kind, critic in scores.critics.items()
            },
        }
    capped = "" if sessions is None else f" --sessions {sessions}"
    add_evidence(
        root,
        "critics",
        command=f"selective-autonomy bench critics {process_id} --loss {loss}{capped}",
        seed=SEED,
        seconds=time.monotonic() - started,
        results={f"{process_id}.{loss}": results},
    )
    return results


def critics_table(results: Mapping[str, Any]) -> Table:
    """A row a kind: ranking, calibration and the gate at even odds."""
    from rich.table import Table

    names = (
        "auroc",
        "auroc_over_evidence",
        "aurc",
        "augrc",
        "ece",
        "brier",
        "gate_precision",
        "gate_recall",
        "gate_f1",
    )
    table = Table(title=f"{results['steps']} steps of fit, {100 * results['right']:.1f} % right", title_justify="left")
    for column in ("critic", *names):
        table.add_column(column.replace("_", " "), justify="left" if column == "critic" else "right")
    for kind, figures in results["kinds"].items():
        table.add_row(kind.replace("_", " "), *(f"{figures[name]['value']:.3f}" for name in names))
    return table


def certified_table(results: Mapping[str, Any]) -> Table:
    """A row a kind: coverage / risk of step certificates, in percent, on the sessions left out."""
    from rich.table import Table

    table = Table(title="certified on four fifths of calibrate, measured on the fifth: coverage / risk, %",
                  title_justify="left")  # fmt: skip
    alphas = list(next(iter(results["certified"].values())))
    for column in ("critic", *alphas, "calibration"):
        table.add_column(column)
    for kind, by_alpha in results["certified"].items():
        shown = [f"{_percent(one['coverage'])} / {_percent(one['risk'])}" for one in by_alpha.values()]
        table.add_row(kind.replace("_", " "), *shown, results["chosen"][kind])
    return table


def _feedback(judged: Sequence[JudgedStep], split: str, loss: Loss, process: ProcessParams) -> Feedback:
    chosen = [one for one in judged if one.split == split]
    right = [_right(one, loss, process) for one in chosen]
    return Feedback([one.before for one in chosen], [one.proposal for one in chosen], np.array(right, dtype=bool))


def _evenly(sessions: Sequence[Session], most: int | None) -> list[Session]:
    if most is None or most >= len(sessions):
        return list(sessions)
    return [sessions[at * len(sessions) // most] for at in range(most)]


def _right(one: JudgedStep, loss: Loss, process: ProcessParams) -> bool:
    if loss == "own":
        return not one.counts_as_wrong(adjudicated=process.certificate.adjudicated)
    return same_action(one.proposal.action, one.replayed.step.action, loss)


def _plain(certified: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        alpha: {name: one if isinstance(one, int) else one.model_dump() for name, one in figures.items()}
        for alpha, figures in certified.items()
    }


def _percent(figure: Mapping[str, float]) -> str:
    return "–" if np.isnan(figure["value"]) else f"{100 * figure['value']:.1f}"
