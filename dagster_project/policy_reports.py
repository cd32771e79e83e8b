"""A policy's report on disk, in MLflow and in evidence files: the same files and names whoever made it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster_project.evidence import figures_as_evidence
from selective_autonomy.evaluation.accuracy import LevelFigures
from selective_autonomy.evaluation.curves import LearningCurve
from selective_autonomy.evaluation.outcomes import LEVELS
from selective_autonomy.evaluation.policy_report import PolicyReport
from selective_autonomy.params import DEFAULT_POLICY

if TYPE_CHECKING:
    from dagster_project.registry.tracking import StageRun

CURVE_FIGURES = ("tool", "strict", "form_exact")
# Hold-out -> where evidence files put what was measured on it; the test split's figures stand at the top.
EVIDENCE_KEYS = {"operators": "unseen_operators", "processes": "unseen_processes", "published": "published_split"}


def pictures_of(report: PolicyReport) -> dict[str, bytes]:
    """Name -> PNG: accuracy by action type and by procedure."""
    from selective_autonomy.evaluation.policy_figures import parts_png

    return {
        "by_action": parts_png(report.by_action, title=f"{report.title}: by action"),
        "by_procedure": parts_png(report.by_procedure, title=f"{report.title}: by procedure"),
    }


def flat_figures(report: PolicyReport) -> dict[str, float]:
    """The report as flat numbers, for MLflow and Dagster: figures, tool accuracy by what was answered to, cost."""
    flat = {name: figure.value for name, figure in report.figures.items()}
    flat |= {f"tool_after_{name}": figures.tool.value for name, figures in report.by_trigger.items()}
    if report.of_unseen is not None:
        flat |= {f"{level}_of_unseen": getattr(report.of_unseen, level).value for level in LEVELS}
    cost = {**report.cost.model_dump(), "train_seconds": report.train_seconds}
    return flat | {name: float(value) for name, value in cost.items() if value is not None}


def write_report(report: PolicyReport, pictures: Mapping[str, bytes], folder: Path) -> list[Path]:
    """`report.json`, `report.md` and a PNG a picture; returns them."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / "report.json", folder / "report.md"]
    written[0].write_text(report.model_dump_json(indent=1), encoding="utf-8")
    written[1].write_text(report.markdown(), encoding="utf-8")
    for name, png in pictures.items():
        written.append(folder / f"{name}.png")
        written[-1].write_bytes(png)
    return written


def log_report(run: StageRun, report: PolicyReport, pictures: Mapping[str, bytes], folder: Path) -> None:
    """The report's numbers, files and pictures into an open MLflow run."""
    run.metrics(flat_figures(report))
    for name in ("report.json", "report.md"):
        run.file(folder / name)
    for name, png in pictures.items():
        run.picture(png, name)


def report_evidence(report: PolicyReport) -> dict[str, Any]:
    """Evidence key -> what stands there: `policy` or `baselines.<name>`, then the hold-out."""
    top = "policy" if report.policy == DEFAULT_POLICY else f"baselines.{report.policy}"
    key = f"{top}.{EVIDENCE_KEYS[report.holdout]}" if report.holdout in EVIDENCE_KEYS else top
    content = {
        "kind": report.kind,
        "sessions": report.sessions,
        "steps": report.steps,
        "train_sessions": report.train_sessions,
        "train_seconds": report.train_seconds,
        **report.cost.model_dump(),
        **figures_as_evidence({name: figure.model_dump() for name, figure in report.figures.items()}),
        **({"of_unseen": _numbers(report.of_unseen)} if report.of_unseen else {}),
        "by_trigger": {name: _numbers(one) for name, one in report.by_trigger.items()},
        "by_procedure": {name: _numbers(one) for name, one in report.by_procedure.items()},
    }
    return {key: content}


def curve_evidence(curve: LearningCurve) -> dict[str, Any]:
    """Evidence key -> the points of one policy's learning curve for the procedure."""
    points: dict[str, list[dict[str, Any]]] = {}
    for point in curve.points:
        shown = {name: point.figures[name].model_dump() for name in CURVE_FIGURES if name in point.figures}
        facts = {"own": point.own, "others": point.others, "train_seconds": point.train_seconds}
        own = {"own_steps": _numbers(point.own_steps)} if point.own_steps else {}
        points.setdefault(point.policy, []).append({**facts, **own, **figures_as_evidence(shown)})
    return {f"learning_curves.{curve.procedure}.{policy}": rows for policy, rows in points.items()}


def _numbers(figures: LevelFigures) -> dict[str, float]:
    return {"n": figures.tool.n, "tool": figures.tool.value, "action_strict": figures.strict.value}
