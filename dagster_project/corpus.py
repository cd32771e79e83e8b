"""`make star`, `make abcd`: the loop on real operators' traces, and its figures beside the reference numbers."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from dagster_project.demo import completed
from dagster_project.evidence import figures_as_evidence, write_evidence
from dagster_project.pipeline import PipelineResult, run_pipeline
from dagster_project.resources.workspace import ProcessPaths
from selective_autonomy.params import load_params

if TYPE_CHECKING:
    from rich.table import Table

# A TF-IDF + logistic regression policy with a gradient boosted critic and 20 quantile cuts, on the same splits of
# the public corpora (STAR: `strat` test, 710 sessions; ABCD: the next button on its official test).
REFERENCE: dict[str, dict[str, float]] = {
    "star": {
        "policy.tool": 0.667,
        "policy.action_loose": 0.580,
        "policy.action_strict": 0.549,
        "policy.form_exact": 0.520,
        "policy.unseen_operators.tool": 0.662,
        "policy.unseen_processes.tool": 0.294,
        "critic.auroc": 0.818,
        "critic.auroc_policy_probability": 0.775,
        "critic.ece": 0.009,
        "certified.tool.0.20.coverage": 0.636,
        "certified.tool.0.20.risk": 0.169,
        "certified.tool.0.10.coverage": 0.382,
        "certified.tool.0.10.risk": 0.092,
        "certified.strict.0.20.coverage": 0.445,
        "certified.strict.0.20.risk": 0.155,
        "certified.strict.0.10.coverage": 0.176,
        "certified.strict.0.10.risk": 0.069,
        "certified.session.0.10.coverage": 0.113,
        "certified.session.0.10.risk": 0.030,
    },
    "abcd": {"policy.tool": 0.818},
}
SHOWN_ROWS = (
    *("policy.tool", "policy.action_loose", "policy.action_strict", "policy.form_exact"),
    *("policy.unseen_operators.tool", "policy.unseen_processes.tool"),
    *("policy.published_split.tool", "policy.published_split.action_strict"),
    *("critic.auroc", "critic.auroc_policy_probability", "critic.ece"),
    *(
        f"certified.{loss}.{alpha}.{what}"
        for loss in ("tool", "strict", "session")
        for alpha in ("0.10", "0.20")
        for what in ("coverage", "risk")
    ),
)


def run_corpus(
    name: str, *, root: Path, state: Path, console: Console, source: Path | None
) -> tuple[dict[str, Any], PipelineResult]:
    """Fetch the corpus unless it is there, run the loop up to a registered candidate, write the evidence file.

    Args:
        source: a folder with the corpus; None: what is in data/raw already, else its public home.

    Returns:
        The evidence file's results, and how the pipeline went.

    Raises:
        TraceError: the corpus is not to be had or differs from the committed manifest.
        LoopStopped: an asset or a blocking check failed.
    """
    started = time.monotonic()
    params = load_params(root / "params.yaml").process(name)
    fetch_corpus(name, root / "data", source, console)
    pipeline = completed(run_pipeline(name, root=root, state=state, console=console))
    reports = json.loads(ProcessPaths(root, state, name).evaluation.read_text(encoding="utf-8"))
    results = corpus_figures(reports)
    write_evidence(
        root,
        name,
        command=f"make {name}",
        seed=params.policy.seed,
        seconds=time.monotonic() - started,
        results=results | {"made": list(pipeline.ran), "stage_seconds": dict(pipeline.seconds)},
    )
    return results, pipeline


def fetch_corpus(name: str, data: Path, source: Path | None, console: Console) -> None:
    """Put the corpus into data/raw, verified, unless it is there and no other source is given."""
    from selective_autonomy.traces.fetch import fetch_abcd, fetch_star
    from selective_autonomy.traces.importers.manifest import read_manifest

    out = data / "raw" / name
    if out.exists() and source is None:
        return
    with console.status(f"fetching and verifying {name} …"):
        manifest = read_manifest(data / "manifests" / f"{name}.sha256")
        if name == "star":
            fetch_star(out, source, manifest=manifest)
        else:
            fetch_abcd(out, source, manifest=manifest)
    console.print(f"  [green]✓[/] {out}: every part verified by sha256")


def corpus_figures(reports: Mapping[str, Any]) -> dict[str, Any]:
    """The evidence file's keys from the replay evaluation's reports (loss "tool" and loss "strict")."""
    tool, strict = reports["tool"], reports["strict"]
    return {
        "sessions": tool["sessions"],
        "steps": tool["steps"],
        "policy": figures_as_evidence(tool["policy"]),
        "critic": tool["critic"],
        "critic_strict": strict["critic"],
        "certified": {
            "tool": {alpha: promise_evidence(got, "risk") for alpha, got in tool["certified"].items()},
            "strict": {alpha: promise_evidence(got, "risk") for alpha, got in strict["certified"].items()},
            "session": {
                alpha: promise_evidence(got, "session_risk") for alpha, got in tool["certified_sessions"].items()
            },
        },
        "reference": REFERENCE,
    }


def corpus_table(name: str, results: Mapping[str, Any]) -> Table:
    """What was measured on test, beside the reference."""
    from rich.table import Table

    table = Table(
        title=f"{name}: {results['sessions']} test sessions, {results['steps']} steps (all in %)", title_justify="left"
    )
    for column in ("", "measured", "95 % interval", "reference"):
        table.add_column(column, justify="left" if not column else "right")
    for row in SHOWN_ROWS:
        figure = figure_at(results, row)
        if figure is None:
            continue
        known = REFERENCE.get(name, {}).get(row)
        table.add_row(
            row,
            f"{100 * figure['value']:.1f}",
            f"{100 * figure['low']:.1f} … {100 * figure['high']:.1f}",
            "" if known is None else f"{100 * known:.1f}",
        )
    return table


def promise_evidence(got: Mapping[str, Any], risk: str) -> dict[str, Any]:
    """Coverage and risk on test of one certified threshold; coverage 0 and the reason where it was refused."""
    if got["coverage"] is None:
        nothing = {"value": 0.0, "low": 0.0, "high": 0.0, "n": 0}
        missing = got["labels_missing"]
        return {"coverage": nothing, "risk": None, "refusal": got["refusal"], "labels_missing": missing}
    return {"coverage": got["coverage"], "risk": got[risk], "threshold": got["threshold"]}


def unseen_markdown(results: Mapping[str, Any]) -> str:
    """Certificates on unseen operators and processes as a table of GitHub's Markdown, in %, as far as there are any."""
    lines = ["| unseen | loss | alpha | coverage | risk | session risk | any procedure: coverage | risk |"]
    lines.append("|---" * 8 + "|")
    for key in ("certified_unseen_operators", "certified_unseen_processes"):
        found = results.get(key, {})
        for loss in ("tool", "strict"):
            for alpha, cell in found.get(loss, {}).items():
                figures = [cell.get("coverage"), cell.get("risk"), cell.get("session_risk")]
                figures += [cell.get("any_procedure", {}).get(name) for name in ("coverage", "risk")]
                shown = ["refused"] if "refusal" in cell else []
                shown += [_percent(figure) for figure in figures[len(shown) :]]
                auroc = f"{loss}, AUROC {found['auroc'][loss]['value']:.3f}"
                lines.append(f"| {key.rpartition('_')[2]} | {auroc} | {alpha} | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


def _percent(figure: Mapping[str, float] | None) -> str:
    """A figure with its interval; a dash for none, and for a share of nothing."""
    if figure is None or not figure["n"]:
        return "–"
    return f"{100 * figure['value']:.1f} ({100 * figure['low']:.1f} … {100 * figure['high']:.1f})"


def figure_at(results: Mapping[str, Any], path: str) -> Mapping[str, float] | None:
    """The figure at a dotted path; alphas hold a dot themselves, so they are put together again."""
    head, *rest = path.split(".")
    keys = [head, *rest] if head != "certified" else [head, rest[0], ".".join(rest[1:3]), rest[3]]
    found: Any = results
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found
