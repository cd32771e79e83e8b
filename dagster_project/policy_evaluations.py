"""Evaluations as they are asked for on the command line: measured, written to files, logged, put into evidence."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

from dagster_project.evidence import add_evidence
from dagster_project.measurement import SEED
from dagster_project.policy_bench import PolicyBench
from dagster_project.policy_reports import curve_evidence, log_report, pictures_of, report_evidence, write_report
from dagster_project.registry.tracking import Dataset, Tracking
from selective_autonomy.errors import ProcessError
from selective_autonomy.evaluation.curves import LearningCurve
from selective_autonomy.evaluation.holdouts import HeldOut, HoldoutName
from selective_autonomy.evaluation.policy_figures import comparison_png, learning_curve_png
from selective_autonomy.evaluation.policy_report import PolicyReport, comparison_markdown
from selective_autonomy.traces.schema import Session


def compare_policies(
    bench: PolicyBench,
    names: Sequence[str],
    holdout: HoldoutName,
    tracking: Tracking,
    *,
    at_most: int | None = None,
    evidence: bool = False,
) -> tuple[list[PolicyReport], Path]:
    """Measure policies on one hold-out: a folder and an MLflow run each, and a table and figure of all.

    Args:
        at_most: sessions to measure on; None: all. evidence: into docs/benchmarks too.

    Returns:
        The reports, in the order of the names, and the folder they are in.

    Raises:
        ProcessError, SplitError, ModelError: see `PolicyBench`.
    """
    started, process_id = time.monotonic(), bench.paths.process_id
    held = bench.held_out(holdout, at_most=at_most)
    folder = bench.folder / holdout
    inputs = held_out_inputs(bench, held)
    reports = []
    for name in names:
        report = bench.measure(name, held)
        pictures = pictures_of(report)
        write_report(report, pictures, folder / name)
        tags = {"policy": name, "kind": report.kind, "holdout": holdout}
        with tracking.run(process_id, "policy_evaluation", tags) as run:
            run.params({**bench.params.policy_named(name).model_dump(), "measured_sessions": report.sessions})
            run.datasets(inputs)
            log_report(run, report, pictures, folder / name)
        reports.append(report)
    (folder / "comparison.md").write_text(comparison_markdown(reports), encoding="utf-8")
    (folder / "comparison.png").write_bytes(comparison_png(reports))
    if evidence:
        add_evidence(
            bench.paths.root,
            process_id,
            command=f"{_command('policy', bench, names)} --holdout {holdout} --evidence",
            seed=SEED,
            seconds=time.monotonic() - started,
            results={key: value for report in reports for key, value in report_evidence(report).items()},
        )
    return reports, folder


def draw_curve(
    bench: PolicyBench,
    names: Sequence[str],
    procedure: str,
    tracking: Tracking,
    *,
    beside: Sequence[bool],
    evidence: bool = False,
) -> tuple[LearningCurve, Path]:
    """The learning curves of policies for one procedure, after the sizes of params.yaml: files, figure, MLflow run.

    Raises:
        ProcessError: params.yaml has no `curves` for the process. SplitError, ModelError: see `PolicyBench`.
    """
    started, process_id, asked = time.monotonic(), bench.paths.process_id, bench.params.curves
    if asked is None:
        raise ProcessError(f"params.yaml has no curves for {process_id}; name their procedures and sizes there")
    curve = bench.curve(names, procedure, asked.sizes, beside=beside)
    folder = bench.folder / "curves" / procedure
    folder.mkdir(parents=True, exist_ok=True)
    picture = learning_curve_png(curve)
    (folder / "curve.json").write_text(curve.model_dump_json(indent=1), encoding="utf-8")
    (folder / "curve.md").write_text(curve.markdown(), encoding="utf-8")
    (folder / "curve.png").write_bytes(picture)
    with tracking.run(process_id, "learning_curve", {"procedure": procedure, "policies": ", ".join(names)}) as run:
        for name in names:
            for others in sorted({point.others for point in curve.points}):
                points = {p.own: p for p in curve.points if (p.policy, p.others) == (name, others)}
                part = "beside" if others else "alone"
                for figure in ("tool", "strict"):
                    values = {own: point.figures[figure].value for own, point in points.items()}
                    run.points(f"{name}.{part}.{figure}", values)
        for suffix in ("json", "md"):
            run.file(folder / f"curve.{suffix}")
        run.picture(picture, "learning_curve")
    if evidence:
        add_evidence(
            bench.paths.root,
            process_id,
            command=f"{_command('curve', bench, names)} --procedure {procedure} --evidence",
            seed=SEED,
            seconds=time.monotonic() - started,
            results=curve_evidence(curve),
        )
    return curve, folder


def _command(what: str, bench: PolicyBench, names: Sequence[str]) -> str:
    return " ".join([f"selective-autonomy evaluate {what} {bench.paths.process_id}", *(f"--policy {n}" for n in names)])


def held_out_inputs(bench: PolicyBench, held: HeldOut) -> list[Dataset]:
    """Both sides of a hold-out as MLflow inputs."""
    return [_dataset(bench, f"{held.name}-train", held.train), _dataset(bench, f"{held.name}-measured", held.test)]


def _dataset(bench: PolicyBench, side: str, sessions: Sequence[Session]) -> Dataset:
    """Sessions of a hold-out as an MLflow input; the digest is the sha256 of their sorted ids, as for splits."""
    ids = "\n".join(sorted(session.session_id for session in sessions))
    digest = hashlib.sha256(ids.encode()).hexdigest()
    return Dataset(f"{bench.paths.process_id}:{side}", digest, bench.source, side)
