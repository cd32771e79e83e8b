"""The tables of README and docs, written from the evidence files: a number in them is one that a command measured."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dagster_project.corpus import REFERENCE, SHOWN_ROWS, figure_at, unseen_markdown
from selective_autonomy.errors import SelectiveAutonomyError

# Figure of the demo -> how the table calls it, factor, unit.
DEMO_ROWS: dict[str, tuple[str, float, str]] = {
    "session_coverage": ("sessions automated end to end", 100, "%"),
    "step_coverage": ("critical steps executed", 100, "%"),
    "true_risk": ("true error among executed critical steps", 100, "%"),
    "session_risk_gated": ("sessions with a wrong executed critical step", 100, "%"),
    "session_risk": ("sessions with a wrong executed step, ungated routine ones included", 100, "%"),
    "active_seconds_human": ("operator active time a case, people alone", 1, "s"),
    "active_seconds_selective": ("operator active time a case, gated", 1, "s"),
    "active_seconds_change": ("change of active time", 100, "%"),
    "outcome_quality_difference": ("outcomes solved, difference", 100, "pp"),
}


class EvidenceMissing(SelectiveAutonomyError, FileNotFoundError):
    """A table's evidence file is not there; the message names the command that makes it."""

    code = "evidence_missing"


def fill_tables(text: str, benchmarks: Path) -> str:
    """The text with each of its blocks (`<!-- name:begin -->` … `end`) written anew from its evidence file.

    Raises:
        EvidenceMissing: an evidence file that a block needs is not there.
    """
    for name, (file, made_by, table) in TABLES.items():
        if f"<!-- {name}:begin -->" not in text:
            continue
        path = benchmarks / f"{file}.json"
        if not path.exists():
            raise EvidenceMissing(f"{path} is not there; run `make {made_by}` first")
        evidence = json.loads(path.read_text(encoding="utf-8"))
        block = f"<!-- {name}:begin -->\n{table(evidence)}\n<!-- {name}:end -->"
        text = re.sub(rf"<!-- {name}:begin -->.*?<!-- {name}:end -->", lambda _, b=block: b, text, flags=re.DOTALL)
    return text


def demo_table(evidence: Mapping[str, Any]) -> str:
    results = evidence["results"]
    lines = [f"| {results['sessions']} new cases | measured | 95 % interval |", "|---|---|---|"]
    for name, (label, factor, unit) in DEMO_ROWS.items():
        figure = results[name]
        value = "–" if figure["value"] is None else f"{factor * figure['value']:.1f} {unit}"
        lines.append(f"| {label} | {value} | {factor * figure['low']:.1f} … {factor * figure['high']:.1f} |")
    promise = results.get("promise", "wrong, as operators label them")
    promised = (
        f"Promised at delta {results['delta']}: at most {100 * results['alpha']:.0f} % of executed steps and "
        f"{100 * results['alpha_session']:.0f} % of sessions {promise}. "
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


def unseen_table(evidence: Mapping[str, Any]) -> str:
    """Certificates on what they were made without; each hold-out is a command of its own."""
    results = evidence["results"]
    sources = [_source(one) for key, one in results.get("added", {}).items() if key.startswith("certified_unseen_")]
    return unseen_markdown(results) + "\n" + (" ".join(sources) or "Not measured yet.")


def _source(evidence: Mapping[str, Any]) -> str:
    return f"`{evidence['command']}`, {evidence['seconds']:.0f} s on {evidence['machine']}, seed {evidence['seed']}."


def certify_table(evidence: Mapping[str, Any]) -> str:
    """Mean coverage of each rule, and in brackets the share of draws that broke the promise, both in %."""
    results = evidence["results"]
    cells = results["simulated"] | {f"{alpha},STAR": rules for alpha, rules in results["star"].items()}
    names = [name for name in next(iter(cells.values())) if name != "oracle"]
    lines = [f"| alpha | n | oracle | {' | '.join(name.replace('_', ' ') for name in names)} |"]
    lines.append("|---" * (3 + len(names)) + "|")
    for cell, rules in cells.items():
        alpha, n = cell.split(",")
        best = max(rules[name]["coverage"] for name in names if name != "naive")
        shown = []
        for name in names:
            value = f"{100 * rules[name]['coverage']:.1f}"
            marked = f"**{value}**" if rules[name]["coverage"] == best > 0 and name != "naive" else value
            shown.append(f"{marked} ({100 * rules[name]['violation_rate']:.0f})")
        lines.append(f"| {alpha} | {n} | {100 * rules['oracle']['coverage']:.1f} | {' | '.join(shown)} |")
    about = (
        f"Mean coverage over {results['draws']} draws at delta {results['delta']:g}, in brackets draws whose true risk "
    )
    about += "is above alpha; bold: the most of those that promise something. All in %. "
    return "\n".join([*lines, "", about + _source(evidence)])


def noise_table(corpus: str) -> Callable[[Mapping[str, Any]], str]:
    """The table of one corpus of the noise experiment: risk / what runs by itself, rule by rule."""

    def table(evidence: Mapping[str, Any]) -> str:
        grid = evidence["results"][corpus]
        runs = "session_coverage" if corpus == "desk" else "step_coverage"
        rules = ("naive", "certificate", "certificate_noise_model")
        lines = ["| corruption | rate, % | naive | certificate | certificate + noise model | probes caught, % |"]
        lines.append("|---|---|---|---|---|---|")
        for name, by_rate in grid.items():
            for rate, cell in by_rate.items():
                shown = []
                for rule in rules:
                    risk, broken = 100 * cell[rule]["promised_risk"], cell[rule]["violation_rate"] > 0
                    shown.append(
                        f"{'**' if broken else ''}{risk:.1f}{'**' if broken else ''} / {100 * cell[rule][runs]:.1f}"
                    )
                caught = cell["certificate_noise_model"].get("probes_caught")
                caught_shown = "–" if caught is None else f"{100 * caught:.0f}"
                lines.append(
                    f"| {name.replace('_', ' ')} | {100 * float(rate):.0f} | {' | '.join(shown)} | {caught_shown} |"
                )
        cell = next(iter(next(iter(grid.values())).values()))
        draws, alpha = cell["naive"]["draws"], 100 * cell["alpha"]
        what = (
            "sessions with a truly wrong executed step / worked alone" if corpus == "desk" else "wrong / executed steps"
        )
        about = f"Mean over {draws} draws: {what}, %; promised at most {alpha:g} %, bold: some draw was above. "
        return "\n".join([*lines, "", about + _source(evidence)])

    return table


def live_table(evidence: Mapping[str, Any]) -> str:
    """New cases, worked under certificates from noisy feedback, beside people alone."""
    live = evidence["results"]["live"]
    lines = [
        f"| {live['cases']['gated']} gated cases, {live['cases']['human']} by people alone, by lot | measured | 95 % |"
    ]
    lines.append("|---|---|---|")
    for name, label, factor, unit in (
        ("session_coverage", "sessions automated end to end", 100, " %"),
        ("session_risk", "sessions with a truly wrong executed step", 100, " %"),
        ("active_seconds_change", "operator active time", 100, " %"),
        ("outcome_quality_difference", "outcomes solved, difference", 100, " pp"),
    ):
        figure = live[name]
        interval = f"{factor * figure['low']:.1f} … {factor * figure['high']:.1f}"
        lines.append(f"| {label} | {factor * figure['value']:.1f}{unit} | {interval} |")
    seeds, over = len(live["session_risk_by_seed"]), live["seeds_over_alpha_significantly"]
    about = (
        f"{seeds} certificates from as many draws of feedback with {100 * live['flips']:g} % of verdicts flipped; "
        f"{live['refused']} refused, {over} refuted by its own cases (exact test at 5 %). Not worse than people by "
        f"{100 * live['outcome_margin']:g} points: {'yes' if live['outcome_not_worse'] else 'no'}; equivalent: "
        f"{'yes' if live['outcome_equivalent'] else 'no'}. "
    )
    return "\n".join([*lines, "", about + _source(evidence)])


def recertified_table(evidence: Mapping[str, Any]) -> str:
    """What runs by itself after go-live, and what it costs, by the audits that labels come from."""
    results = evidence["results"]
    lines = ["| labels | mean coverage, % | last day, % | ever above alpha, % of seeds | audits a day |"]
    lines.append("|---" * 5 + "|")
    for name, arm in results["recertified"].items():
        shares = [_with_interval(arm[key], 100) for key in ("coverage", "coverage_last_day", "broken")]
        lines.append(f"| {name} | {' | '.join(shares)} | {arm['audits_a_day']['value']:.0f} |")
    about = (
        f"Simulated critic, {results['days']} days of {results['sessions_a_day']} sessions, alpha "
        f"{results['alpha']:g}, delta {results['delta']:g}, {results['seeds']} seeds; 95 % intervals over seeds. The "
        f"oracle covers {100 * results['critic']['oracle']:.1f} %. The promise allows up to "
        f"{100 * results['broken_bar']:.1f} % of seeds above alpha (delta and two standard errors). Audits a day: of "
        "the second half. "
    )
    return "\n".join([*lines, "", about + _source(evidence)])


def forecast_table(evidence: Mapping[str, Any]) -> str:
    """How well the day of the certificate was foreseen, by kind of stream."""
    columns = ["stream", "certified", "forecasts", "name a day, %", "days ahead"]
    columns += ["error, % of days", "error, % of labels", "interval holds the day, %", "late, %"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name, cell in evidence["results"]["forecast"].items():
        days = "–" if "days" not in cell else f"{cell['days']['value']:.0f}"
        shares = [_with_interval(cell.get(key), 100) for key in ("error_of_days", "error_of_labels", "covered", "late")]
        named = _with_interval(cell["named"], 100)
        certified = f"{cell['certified']} of {cell['streams']}"
        lines.append(f"| {name} | {certified} | {cell['forecasts']} | {named} | {days} | {' | '.join(shares)} |")
    about = (
        f"Simulated streams at alpha {evidence['results']['alpha']:g}. Errors: mean absolute error of the medians that "
        "named a day, over the mean of what was left until it. The interval is nominally one of 80 %. In brackets 95 % "
        "intervals over streams; a single stream has none. "
    )
    return "\n".join([*lines, "", about + _source(evidence)])


def _with_interval(figure: Mapping[str, Any] | None, factor: float) -> str:
    if figure is None:
        return "–"
    value = f"{factor * figure['value']:.0f}"
    return value if figure["low"] is None else f"{value} ({factor * figure['low']:.0f} … {factor * figure['high']:.0f})"


Table = Callable[[Mapping[str, Any]], str]
DOCUMENTS = ("README.md", "docs/certificates.md", "docs/evaluation.md", "docs/noise.md")
# Block -> the evidence file it is written from, the make target that makes it, and how.
TABLES: dict[str, tuple[str, str, Table]] = {
    "demo": ("demo", "demo", demo_table),
    "star": ("star", "star", corpus_table),
    "abcd": ("abcd", "abcd", corpus_table),
    "star-unseen": ("star", "star", unseen_table),
    "certify": ("certify", "bench-certify", certify_table),
    "golive-recertified": ("golive", "bench-golive", recertified_table),
    "golive-forecast": ("golive", "bench-golive", forecast_table),
    "noise-desk": ("noise", "bench-noise", noise_table("desk")),
    "noise-star": ("noise", "bench-noise", noise_table("star")),
    "noise-live": ("noise", "bench-noise", live_table),
}
