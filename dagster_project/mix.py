"""`make bench-mix`: the table of the mixing experiment on STAR, and its evidence file."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from dagster_project.conventions import code_version
from dagster_project.corpus import fetch_corpus
from dagster_project.evidence import write_evidence
from selective_autonomy.errors import ProcessError
from selective_autonomy.params import load_params

if TYPE_CHECKING:
    from rich.table import Table

PROCESS = "star"
CODE = (
    "selective_autonomy/policy",
    "selective_autonomy/contract",
    "selective_autonomy/process",
    "selective_autonomy/traces",
)
SMALL = "small"  # the setting that is no evidence
SEED = 0  # of the bootstrap


def run_mix(*, root: Path, state: Path, console: Console, source: Path | None, setting: str) -> dict[str, Any]:
    """Train and measure every row; write docs/benchmarks/mix.json, unless the setting is "small".

    Rows that are done by the same code and parameters are not done again; their seconds are counted all the same.

    Returns:
        The evidence file's results.

    Raises:
        TraceError: the corpus is not to be had or differs from the committed manifest.
        ProcessError: params.yaml has no such setting.
    """
    from selective_autonomy.evaluation.mix import Mix
    from selective_autonomy.evaluation.mix_sessions import part_sessions
    from selective_autonomy.traces.importers.manifest import read_manifest
    from selective_autonomy.traces.importers.star import import_star
    from selective_autonomy.traces.splits import assign_splits

    started = time.monotonic()
    params = load_params(root / "params.yaml")
    if setting not in params.mix:
        raise ProcessError(f"params.yaml has no mix setting {setting!r}; expected one of {sorted(params.mix)}")
    mix = params.mix[setting]
    fetch_corpus(PROCESS, root / "data", source, console)
    manifest = read_manifest(root / "data" / "manifests" / f"{PROCESS}.sha256")
    traces = import_star(root / "data" / "raw" / PROCESS, manifest=manifest)
    split_of = assign_splits(traces.sessions, params.process(PROCESS).split)
    train, test = ([s for s in traces.sessions if split_of.get(s.session_id) == side] for side in ("train", "test"))
    sessions = part_sessions(train, test, mix)
    out = state / "bench" / "mix" / setting

    def say(what: str) -> None:
        console.print(f"  [dim]{time.monotonic() - started:5.0f} s[/] {what}")

    figures = Mix(sessions, traces.schema, mix, out, code=code_version(CODE)).run(say=say, seed=SEED)
    results = {
        "split": "test",
        "sessions": {name: len(getattr(sessions, name)) for name in ("few", "many", "later", "held_out")},
        "setting": mix.model_dump(mode="json"),
        "rows": {row.name: row.model_dump(mode="json", exclude={"name"}) for row in figures},
    }
    if setting != SMALL:
        seconds = sum(row.spent_seconds for row in figures)
        write_evidence(root, "mix", command="make bench-mix", seed=mix.policy.seed, seconds=seconds, results=results)
    return results


def mix_table(results: Mapping[str, Any]) -> Table:
    """A row a policy: what it learned from, and its accuracy on the log set and the rejected-hard set."""
    from rich.table import Table

    table = Table(
        title=f"{results['sessions']['held_out']} held-out sessions ({results['split']}), % with 95 % intervals",
        title_justify="left",
    )
    for column in ("trained on", "log steps", "corrections", "log: tool", "strict", "rejected-hard: tool", "strict"):
        table.add_column(column, justify="left" if column == "trained on" else "right")
    for name, row in results["rows"].items():
        cells = [_percent(row[part][level]) for part in ("log", "rejected_hard") for level in ("tool", "strict")]
        table.add_row(name, str(row["log_steps"]), str(row["corrections"]), *cells)
    return table


def _percent(figure: Mapping[str, float]) -> str:
    return f"{100 * figure['value']:.1f} ({100 * figure['low']:.1f} … {100 * figure['high']:.1f})"
