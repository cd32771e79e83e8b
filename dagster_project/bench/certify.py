"""`make bench-certify`: what each threshold rule executes, and how often it breaks its promise, on the same draws."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from dagster_project.evidence import write_evidence
from selective_autonomy.certify.certify import certify
from selective_autonomy.certify.fixed_sequence import quantile_cuts
from selective_autonomy.certify.monitor import RiskMonitor
from selective_autonomy.errors import ModelError
from selective_autonomy.evaluation.simulated_critic import SimulatedCritic
from selective_autonomy.evaluation.threshold_rules import CUTS, RULES, ThresholdRule
from selective_autonomy.params import CertificateParams
from selective_autonomy.traces.whole import whole_file

if TYPE_CHECKING:
    from rich.table import Table

ALPHAS, SIZES = (0.10, 0.05, 0.02, 0.01), (500, 1000, 2000, 5000)
DELTA, SEED, DRAWS = 0.05, 20, 300
_MILLION = 1_000_000
_STEPS_A_SESSION = 10


@dataclass
class _Tally:
    """What a rule did over the draws."""

    coverage: float = 0.0
    broken: int = 0
    certified: int = 0

    def add(self, coverage: float, broken: bool) -> None:
        self.coverage += coverage
        self.broken += broken
        self.certified += 1

    def shares(self, draws: int) -> dict[str, float]:
        """`coverage`: mean, 0 where nothing was certified. `violation_rate`, `certified`: shares of all draws."""
        return {
            "coverage": self.coverage / draws,
            "violation_rate": self.broken / draws,
            "certified": self.certified / draws,
        }


def run_certify_bench(*, root: Path, console: Console, small: bool) -> dict[str, Any]:
    """Measure, and write docs/benchmarks/certify.json and its figure unless `small`.

    Raises:
        ModelError: the rival library is not installed.
    """
    started = time.monotonic()
    sizes, draws = ((500,), 20) if small else (SIZES, DRAWS)
    rules = {**RULES, **_mapie_rules()}
    critic = SimulatedCritic()
    simulated: dict[str, dict[str, Any]] = {}
    with console.status("drawing …") as status:
        for alpha in ALPHAS:
            for n in sizes:
                status.update(f"alpha {alpha:g}, n {n}: {draws} draws")
                cell = _cell(critic, rules, alpha, n, draws)
                simulated[f"{alpha:.2f},{n}"] = {"oracle": {"coverage": critic.oracle(alpha)}, **cell}
    results = {
        "critic": {"auroc": critic.auroc, "base_error": critic.base_error},
        "delta": DELTA,
        "draws": draws,
        "cuts": CUTS,
        "simulated": simulated,
        "certify_1m_seconds": _million_seconds(critic),
        "monitor_update_us": _monitor_update_us(),
    }
    if not small:
        seconds = time.monotonic() - started
        write_evidence(root, "certify", command="make bench-certify", seed=SEED, seconds=seconds, results=results)
        with whole_file(root / "docs" / "images" / "certify.png") as temporary:
            temporary.write_bytes(_picture(results))
    return results


def certify_table(results: Mapping[str, Any]) -> Table:
    """A row a cell: mean coverage of each rule, and the share of draws that broke the promise where there are any."""
    from rich.table import Table

    names = [name for name in next(iter(results["simulated"].values())) if name != "oracle"]
    table = Table(
        title=f"mean coverage in % over {results['draws']} draws at delta {results['delta']:g}; in brackets: draws "
        "whose true risk is above alpha, in %",
        title_justify="left",
    )
    for column in ("alpha", "n", "oracle", *names):
        table.add_column(column.replace("_", " "), justify="right")
    for cell, rules in results["simulated"].items():
        alpha, n = cell.split(",")
        shown = [f"{100 * rules[name]['coverage']:.1f} ({100 * rules[name]['violation_rate']:.1f})" for name in names]
        table.add_row(alpha, n, f"{100 * rules['oracle']['coverage']:.1f}", *shown)
    return table


def _cell(
    critic: SimulatedCritic, rules: Mapping[str, ThresholdRule], alpha: float, n: int, draws: int
) -> dict[str, dict[str, float]]:
    """Every rule on the same seeded draws."""
    rng = np.random.default_rng([SEED, round(1000 * alpha), n])
    tallies = {name: _Tally() for name in rules}
    for _ in range(draws):
        scores_N, wrong_N = critic.draw(n, rng)
        for name, rule in rules.items():
            threshold = rule(scores_N, wrong_N, alpha, DELTA)
            if threshold is not None:
                tallies[name].add(critic.coverage(threshold), critic.risk(threshold) > alpha)
    return {name: tally.shares(draws) for name, tally in tallies.items()}


def _mapie_rules() -> dict[str, ThresholdRule]:
    """MAPIE's control of precision over the same 20 cuts, strictest first, by two of its procedures."""
    try:
        from mapie.risk_control import BinaryClassificationController, precision
    except ImportError as err:
        raise ModelError(f"the benchmark compares with MAPIE, which is missing: {err}; pip install mapie") from err

    def by(procedure: str) -> ThresholdRule:
        def rule(scores_N: NDArray[np.float64], wrong_N: NDArray[np.bool_], alpha: float, delta: float) -> float | None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it warns where nothing can be controlled, and of every fixed sequence
                controller = BinaryClassificationController(
                    lambda scores: np.column_stack([1 - scores, scores]),
                    precision,
                    1 - alpha,
                    confidence_level=1 - delta,
                    list_predict_params=quantile_cuts(scores_N, CUTS),
                    fwer_method=procedure,
                ).calibrate(scores_N, (~wrong_N).astype(int))
            valid = np.asarray(controller.valid_predict_params)
            return float(valid.min()) if valid.size else None

        return rule

    return {"mapie_holm": by("bonferroni_holm"), "mapie_fixed_sequence": by("fixed_sequence")}


def _million_seconds(critic: SimulatedCritic) -> float:
    """Wall seconds to certify a million scored steps of 100,000 sessions for steps and sessions, best of three."""
    scores_N, wrong_N = critic.draw(_MILLION, np.random.default_rng(SEED))
    sessions = [str(n // _STEPS_A_SESSION) for n in range(_MILLION)]
    params = CertificateParams(alpha=0.05, alpha_session=0.3, delta=DELTA, cuts=CUTS)

    def once() -> float:
        started = time.perf_counter()
        certify(
            scores_N, wrong_N, sessions, params, process_id="", loss="", splits={}, policy_digest="", critic_digest=""
        )
        return time.perf_counter() - started

    return min(once() for _ in range(3))


def _monitor_update_us() -> float:
    """Median microseconds for the streaming monitor to take in one audited step, late in a long run."""
    monitor, seconds = RiskMonitor(alpha=0.10, least_propensity=0.1), []
    for n in range(20_000):
        started = time.perf_counter()
        monitor.audited(n % 13 == 0, propensity=0.5)
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds[10_000:]) * 1e6)


def _picture(results: Mapping[str, Any]) -> bytes:
    from selective_autonomy.evaluation.figures import rules_png

    return rules_png(results["simulated"], delta=results["delta"])
