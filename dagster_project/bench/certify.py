"""`make bench-certify`: what each threshold rule executes, and how often it breaks its promise, on the same draws."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
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
from selective_autonomy.evaluation.report import ScoredSteps
from selective_autonomy.evaluation.simulated_critic import SimulatedCritic
from selective_autonomy.evaluation.threshold_rules import CUTS, OWN_CUTS, RULES, ThresholdRule
from selective_autonomy.params import CertificateParams
from selective_autonomy.traces.whole import whole_file

if TYPE_CHECKING:
    from rich.status import Status
    from rich.table import Table

ALPHAS, SIZES = (0.10, 0.05, 0.02, 0.01), (500, 1000, 2000, 5000)
STAR_ALPHAS, STAR_SESSIONS = (0.20, 0.10, 0.05), 354  # as many sessions as STAR's calibrate split has
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


def run_certify_bench(*, root: Path, state: Path, console: Console, small: bool) -> dict[str, Any]:
    """Measure, and write docs/benchmarks/certify.json and its figure unless `small`.

    Raises:
        ModelError: the rival library is not installed, or STAR's pipeline has not run (not asked for by `small`).
    """
    started = time.monotonic()
    sizes, draws = ((500,), 20) if small else (SIZES, DRAWS)
    rules = {**RULES, **_mapie_rules()}
    critic = SimulatedCritic()
    simulated: dict[str, dict[str, Any]] = {}
    star = None if small else _star_scores(root, state)
    with console.status("drawing …") as status:
        for alpha in ALPHAS:
            for n in sizes:
                status.update(f"alpha {alpha:g}, n {n}: {draws} draws")
                cell = _cell(critic, rules, alpha, n, draws)
                simulated[f"{alpha:.2f},{n}"] = {"oracle": {"coverage": critic.oracle(alpha)}, **cell}
        on_star = (
            {} if star is None else {f"{alpha:.2f}": _star_cell(star, rules, alpha, status) for alpha in STAR_ALPHAS}
        )
    results = {
        "critic": {"auroc": critic.auroc, "base_error": critic.base_error},
        "delta": DELTA,
        "draws": draws,
        "cuts": CUTS,
        "own_cuts": OWN_CUTS,
        "simulated": simulated,
        "star": on_star,
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
    on_star = {f"{alpha},STAR": rules for alpha, rules in results["star"].items()}
    for cell, rules in (results["simulated"] | on_star).items():
        alpha, n = cell.split(",")
        shown = [f"{100 * rules[name]['coverage']:.1f} ({100 * rules[name]['violation_rate']:.1f})" for name in names]
        table.add_row(alpha, n, f"{100 * rules['oracle']['coverage']:.1f}", *shown)
    return table


def _cell(
    critic: SimulatedCritic, rules: Mapping[str, ThresholdRule], alpha: float, n: int, draws: int
) -> dict[str, dict[str, float]]:
    """Every rule on the same seeded draws; each step is a session of its own."""
    rng = np.random.default_rng([SEED, round(1000 * alpha), n])
    tallies = {name: _Tally() for name in rules}
    sessions = [str(step) for step in range(n)]
    for _ in range(draws):
        scores_N, wrong_N = critic.draw(n, rng)
        for name, rule in rules.items():
            threshold = rule(scores_N, wrong_N, sessions, alpha, DELTA)
            if threshold is not None:
                tallies[name].add(critic.coverage(threshold), critic.risk(threshold) > alpha)
    return {name: tally.shares(draws) for name, tally in tallies.items()}


def _star_scores(root: Path, state: Path) -> ScoredSteps:
    """The released critic's scores of STAR's calibrate and test steps, which it never saw."""
    from dagster_project.judged_steps import critical_steps
    from dagster_project.process_data import sessions_of
    from dagster_project.resources.workspace import ProcessPaths
    from selective_autonomy.critic.boosted import BoostedCritic
    from selective_autonomy.process.schema import load_process

    paths = ProcessPaths(root, state, "star")
    if not paths.feedback.exists():
        raise ModelError(f"{paths.feedback} is missing: run `make star` first, its scores are drawn from")
    judged = critical_steps(paths.feedback, load_process(paths.schema), sessions_of(paths, "calibrate", "test"))
    scores_N = BoostedCritic.load(paths.critic).p_accept([j.before for j in judged], [j.proposal for j in judged])
    return ScoredSteps(scores_N, np.array([j.wrong for j in judged]), [j.replayed.session_id for j in judged])


def _star_cell(
    star: ScoredSteps, rules: Mapping[str, ThresholdRule], alpha: float, status: Status
) -> dict[str, dict[str, float]]:
    """Every rule on the same draws of whole sessions, with replacement; all of STAR's sessions are the population."""
    rng = np.random.default_rng([SEED, round(1000 * alpha)])
    names, codes_N = np.unique(star.session_of_N, return_inverse=True)
    rows_S = np.split(np.argsort(codes_N, kind="stable"), np.cumsum(np.bincount(codes_N))[:-1])
    order = np.argsort(-star.scores_N, kind="stable")
    risk_N = np.cumsum(star.wrong_N[order]) / np.arange(1, order.size + 1)
    within = np.flatnonzero(risk_N <= alpha)
    tallies = {name: _Tally() for name in rules}
    for number in range(DRAWS):
        status.update(f"STAR, alpha {alpha:g}: draw {number} of {DRAWS}")
        drawn = rng.integers(names.size, size=STAR_SESSIONS)
        row_N = np.concatenate([rows_S[s] for s in drawn])
        sessions = [str(place) for place, s in enumerate(drawn) for _ in rows_S[s]]
        for name, rule in rules.items():
            threshold = rule(star.scores_N[row_N], star.wrong_N[row_N], sessions, alpha, DELTA)
            if threshold is not None:
                executed_N = star.scores_N >= threshold
                tallies[name].add(float(executed_N.mean()), float(star.wrong_N[executed_N].mean()) > alpha)
    oracle = float((within[-1] + 1) / order.size) if within.size else 0.0
    return {"oracle": {"coverage": oracle}, **{name: tally.shares(DRAWS) for name, tally in tallies.items()}}


def _mapie_rules() -> dict[str, ThresholdRule]:
    """MAPIE's control of precision over the same 20 cuts, strictest first, by two of its procedures."""
    try:
        from mapie.risk_control import BinaryClassificationController, precision
    except ImportError as err:
        raise ModelError(f"the benchmark compares with MAPIE, which is missing: {err}; pip install mapie") from err

    def by(procedure: str) -> ThresholdRule:
        def rule(
            scores_N: NDArray[np.float64],
            wrong_N: NDArray[np.bool_],
            session_of_N: Sequence[str],
            alpha: float,
            delta: float,
        ) -> float | None:
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
    params = CertificateParams(alpha=0.05, alpha_session=0.3, delta=DELTA, cuts=OWN_CUTS)

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

    on_star = {f"{alpha},STAR": rules for alpha, rules in results["star"].items()}
    return rules_png(results["simulated"] | on_star, delta=results["delta"])
