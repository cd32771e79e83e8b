"""`make bench-mix`: the table of the mixing experiment on STAR, and its evidence file."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from dagster_project.conventions import code_version
from dagster_project.corpus import fetch_corpus
from dagster_project.evidence import write_evidence
from selective_autonomy.errors import ProcessError
from selective_autonomy.params import MixParams, ProcessParams, load_params
from selective_autonomy.traces.whole import whole_file

if TYPE_CHECKING:
    from rich.table import Table

    from selective_autonomy.evaluation.mix import MixFigures
    from selective_autonomy.evaluation.mix_sessions import MixSessions
    from selective_autonomy.process.schema import ProcessSchema

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
    """Train and measure every row; write docs/benchmarks/mix.json and its figure, unless the setting is "small".

    Rows that are done by the same code and parameters are not done again; their seconds are counted all the same.

    Returns:
        The evidence file's results.

    Raises:
        TraceError: the corpus is not to be had or differs from the committed manifest.
        ProcessError: params.yaml has no such setting.
    """
    from selective_autonomy.evaluation.mix import Mix

    started = time.monotonic()
    params = load_params(root / "params.yaml")
    if setting not in params.mix:
        raise ProcessError(f"params.yaml has no mix setting {setting!r}; expected one of {sorted(params.mix)}")
    mix = params.mix[setting]
    fetch_corpus(PROCESS, root / "data", source, console)
    sessions, schema = _corpus(root, params.process(PROCESS), mix)

    def say(what: str) -> None:
        console.print(f"  [dim]{time.monotonic() - started:5.0f} s[/] {what}")

    out = state / "bench" / "mix" / setting
    figures = Mix(sessions, schema, mix, out, code=code_version(CODE)).run(say=say, seed=SEED)
    results = {
        "split": "test",
        "sessions": {name: len(getattr(sessions, name)) for name in ("few", "many", "later", "held_out")},
        "setting": {"name": setting, **mix.model_dump(mode="json")},
        "rows": {row.name: row.model_dump(mode="json", exclude={"name"}) for row in figures},
    }
    if setting != SMALL:
        _write_evidence(root, figures, results, seed=mix.policy.seed)
    return results


def _corpus(root: Path, params: ProcessParams, mix: MixParams) -> tuple[MixSessions, ProcessSchema]:
    """The parts of STAR's train and test splits, and its process schema."""
    from selective_autonomy.evaluation.mix_sessions import part_sessions
    from selective_autonomy.traces.importers.manifest import read_manifest
    from selective_autonomy.traces.importers.star import import_star
    from selective_autonomy.traces.splits import assign_splits

    manifest = read_manifest(root / "data" / "manifests" / f"{PROCESS}.sha256")
    traces = import_star(root / "data" / "raw" / PROCESS, manifest=manifest)
    split_of = assign_splits(traces.sessions, params.split)
    train, test = ([s for s in traces.sessions if split_of.get(s.session_id) == side] for side in ("train", "test"))
    return part_sessions(train, test, mix), traces.schema


def _write_evidence(root: Path, figures: Sequence[MixFigures], results: dict[str, Any], *, seed: int) -> None:
    from selective_autonomy.evaluation.figures import trade_off_png

    setting = results["setting"]["name"]
    command = "make bench-mix" if setting == "full" else f"selective-autonomy bench mix --setting {setting}"
    seconds = sum(row.spent_seconds for row in figures)
    write_evidence(root, "mix", command=command, seed=seed, seconds=seconds, results=results)
    picture = trade_off_png(
        {row.name: (row.log["tool"], row.rejected_hard["tool"]) for row in figures},
        x="tool accuracy on the log set, %",
        y="on the rejected-hard set, %",
        title="Corrections back into training",
    )
    with whole_file(root / "docs" / "images" / "mix.png") as temporary:
        temporary.write_bytes(picture)


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
