"""The README's tables, written from the evidence files: a number in it is one that a command measured."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dagster_project.corpus import REFERENCE, SHOWN_ROWS, figure_at
from selective_autonomy.errors import SelectiveAutonomyError

# Figure of the demo -> how the table calls it, factor, unit.
DEMO_ROWS: dict[str, tuple[str, float, str]] = {
    "session_coverage": ("sessions automated end to end", 100, "%"),
    "step_coverage": ("critical steps executed", 100, "%"),
    "true_risk": ("true error among executed critical steps", 100, "%"),
    "session_risk": ("sessions with a wrong executed step", 100, "%"),
    "active_seconds_human": ("operator active time a case, people alone", 1, "s"),
    "active_seconds_selective": ("operator active time a case, gated", 1, "s"),
    "active_seconds_change": ("change of active time", 100, "%"),
    "outcome_quality_difference": ("outcomes solved, difference", 100, "pp"),
}


class EvidenceMissing(SelectiveAutonomyError, FileNotFoundError):
    """A table's evidence file is not there; the message names the command that makes it."""

    code = "evidence_missing"


def fill_tables(readme: str, benchmarks: Path) -> str:
    """The README's text with the block of each evidence file (`<!-- name:begin -->` … `end`) written anew.

    Raises:
        EvidenceMissing: an evidence file is not there.
    """
    for name, table in TABLES.items():
        path = benchmarks / f"{name}.json"
        if not path.exists():
            raise EvidenceMissing(f"{path} is not there; run `make {name}` first")
        evidence = json.loads(path.read_text(encoding="utf-8"))
        block = f"<!-- {name}:begin -->\n{table(evidence)}\n<!-- {name}:end -->"
        readme = re.sub(rf"<!-- {name}:begin -->.*?<!-- {name}:end -->", lambda _, b=block: b, readme, flags=re.DOTALL)
    return readme


def demo_table(evidence: Mapping[str, Any]) -> str:
    results = evidence["results"]
    lines = [f"| {results['sessions']} new cases | measured | 95 % interval |", "|---|---|---|"]
    for name, (label, factor, unit) in DEMO_ROWS.items():
        figure = results[name]
        value = "–" if figure["value"] is None else f"{factor * figure['value']:.1f} {unit}"
        lines.append(f"| {label} | {value} | {factor * figure['low']:.1f} … {factor * figure['high']:.1f} |")
    promised = (
        f"Promised at delta {results['delta']}: at most {100 * results['alpha']:.0f} % of executed steps and "
        f"{100 * results['alpha_session']:.0f} % of sessions wrong, as operators label them. "
    )
    handover = f"A hand-over costs the operator {results['handover_seconds']:.0f} s. "
    return "\n".join([*lines, "", promised + handover + _source(evidence)])


def corpus_table(evidence: Mapping[str, Any]) -> str:
    results = evidence["results"]
    name = str(evidence["command"]).split()[-1]
    lines = [f"| {name}, {results['sessions']} test sessions | measured, % | 95 % interval | reference |"]
    lines.append("|---|---|---|---|")
    for row in SHOWN_ROWS:
        figure = figure_at(results, row)
        if figure is None:
            continue
        known = REFERENCE.get(name, {}).get(row)
        reference = "" if known is None else f"{100 * known:.1f}"
        interval = f"{100 * figure['low']:.1f} … {100 * figure['high']:.1f}"
        lines.append(f"| {row} | {100 * figure['value']:.1f} | {interval} | {reference} |")
    about = "Reference: TF-IDF + logistic regression with a boosted critic on the same split. Coverage 0: refused. "
    return "\n".join([*lines, "", about + _source(evidence)])


def _source(evidence: Mapping[str, Any]) -> str:
    return f"`{evidence['command']}`, {evidence['seconds']:.0f} s on {evidence['machine']}, seed {evidence['seed']}."


TABLES: dict[str, Callable[[Mapping[str, Any]], str]] = {"demo": demo_table, "star": corpus_table, "abcd": corpus_table}
