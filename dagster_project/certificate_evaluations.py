"""Certificates where nobody was trained, fitted or certified: on unseen operators, and on unseen processes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from dagster_project.corpus import promise_evidence, unseen_markdown
from dagster_project.evidence import add_evidence
from dagster_project.judged_steps import JudgedStep
from dagster_project.measurement import SEED, LogLoss, Measured, figures_of, measure_log_loss
from dagster_project.policy_bench import PolicyBench
from dagster_project.policy_evaluations import held_out_inputs
from dagster_project.registry.tracking import Tracking
from selective_autonomy.evaluation.copilot import LoggedFeedback
from selective_autonomy.evaluation.holdouts import HeldOut
from selective_autonomy.evaluation.replay import ReplayedStep
from selective_autonomy.evaluation.report import evaluate_threshold
from selective_autonomy.params import DEFAULT_POLICY
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.splits import Split

Unseen = Literal["operators", "processes"]
LOSSES: tuple[LogLoss, ...] = ("tool", "strict")
EVIDENCE_ALPHAS = ("0.10", "0.20")


def evaluate_certificates(
    bench: PolicyBench, holdout: Unseen, tracking: Tracking, *, evidence: bool = False
) -> tuple[dict[str, Any], Path]:
    """Train, fit and certify without what is held out, and measure on it: a folder, an MLflow run, evidence.

    The policy sees the hold-out's train sessions. The critic sees what is not held out of fit, the certificates what is
    not held out of calibrate, each with the log's word on the policy's proposals; the held-out sessions are measured.

    Returns:
        What evidence files hold of it, see `certificate_evidence`, and the folder of the reports.

    Raises:
        ProcessError, SplitError, ModelError: see `PolicyBench`.
    """
    started, process_id = time.monotonic(), bench.paths.process_id
    held = bench.held_out(holdout)
    measured = _measured(bench, held)
    found, key = certificate_evidence(measured), f"certified_unseen_{holdout}"
    folder = bench.folder / holdout / "certificate"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.md").write_text(unseen_markdown({key: found}), encoding="utf-8")
    with tracking.run(process_id, "certificate_evaluation", {"policy": DEFAULT_POLICY, "holdout": holdout}) as run:
        run.params({**bench.params.certificate.model_dump(), "measured_sessions": len(held.test)})
        run.datasets(held_out_inputs(bench, held))
        for loss, one in measured.items():
            run.metrics({f"{loss}.{name}": value for name, value in figures_of(one.report).items()})
            (folder / f"{loss}.json").write_text(one.report.model_dump_json(indent=1), encoding="utf-8")
            run.file(folder / f"{loss}.json")
        run.file(folder / "report.md")
    if evidence:
        add_evidence(
            bench.paths.root,
            process_id,
            command=f"selective-autonomy evaluate certificate {process_id} --holdout {holdout} --evidence",
            seed=SEED,
            seconds=time.monotonic() - started,
            results={key: found},
        )
    return found, folder


def certificate_evidence(measured: Mapping[LogLoss, Measured]) -> dict[str, Any]:
    """Loss -> alpha -> coverage, risk and session risk, as the gate decides.

    `any_procedure`: the same if the gate did not ask which procedures are open; not there where nothing was certified.
    """
    reports = {loss: one.report for loss, one in measured.items()}
    found: dict[str, Any] = {
        "sessions": reports["tool"].sessions,
        "steps": reports["tool"].steps,
        "auroc": {loss: report.critic["auroc"].model_dump() for loss, report in reports.items()},
    }
    for loss, one in measured.items():
        anywhere = replace(one.test, procedures_N=None)
        found[loss] = {}
        for alpha in EVIDENCE_ALPHAS:
            got = one.report.certified[alpha]
            cell = promise_evidence(got.model_dump(), "risk")
            if got.threshold is not None and got.session_risk is not None:
                figures = evaluate_threshold(anywhere, got.threshold, seed=SEED)
                names = ("coverage", "risk", "session_risk")
                cell["session_risk"] = got.session_risk.model_dump()
                cell["any_procedure"] = {n: figure.model_dump() for n, figure in zip(names, figures, strict=True)}
            found[loss][alpha] = cell
    return found


def _measured(bench: PolicyBench, held: HeldOut) -> dict[LogLoss, Measured]:
    trained = bench.trained(DEFAULT_POLICY, held.train)
    judged = [
        one
        for split, sessions in _sides(bench, held).items()
        for one in _judged(bench.replay(f"{split} sessions", trained, sessions), split)
    ]
    return {
        loss: measure_log_loss(loss, judged, held.train, bench.schema, bench.params, policy=trained.folder)
        for loss in LOSSES
    }


def _sides(bench: PolicyBench, held: HeldOut) -> dict[Split, list[Session]]:
    """What is not held out of fit and calibrate; what is measured takes the place of test, whichever split it is in."""
    apart = {session.session_id for session in held.test}
    rest = [session for session in bench.sessions if session.session_id not in apart]
    sides: tuple[Split, ...] = ("fit", "calibrate")
    kept = {side: [s for s in rest if bench.splits.get(s.session_id) == side] for side in sides}
    return {**kept, "test": held.test}


def _judged(replayed: Sequence[ReplayedStep], split: Split) -> list[JudgedStep]:
    source, judged = LoggedFeedback("strict"), []
    for _, group in groupby(replayed, key=lambda one: one.session_id):
        steps = list(group)
        said = source.judge(steps[0].step.session, [one.proposal for one in steps])
        judged += [JudgedStep(step, judgement, split) for step, judgement in zip(steps, said, strict=True)]
    return judged
