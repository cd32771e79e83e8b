"""`make bench-golive`: daily recertification from audits, and forecasts of time-to-autonomy, beside the truth."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from dagster_project.evidence import write_evidence
from selective_autonomy.certify.forecast import BackTest, LabelStream, back_test
from selective_autonomy.certify.slices import one_slice
from selective_autonomy.evaluation.intervals import Figure, binomial_interval, ratio_interval
from selective_autonomy.evaluation.label_stream import START, draw_stream
from selective_autonomy.evaluation.recalibration import LabelUse, RecalibratedDays, recalibrate_daily
from selective_autonomy.evaluation.simulated_critic import SimulatedCritic
from selective_autonomy.params import CertificateParams, load_params
from selective_autonomy.traces.whole import whole_file

if TYPE_CHECKING:
    from rich.table import Table

    from dagster_project.judged_steps import JudgedStep

SEED, SEEDS, DAYS, SESSIONS_A_DAY = 20, 100, 60, 40
PROMISE = CertificateParams(alpha=0.05, alpha_session=None, delta=0.05, cuts=20)
_STEADY = slice(DAYS // 2, None)  # days after which an arm's audits a day hardly change
_WORKERS = 2


@dataclass(frozen=True)
class Arm:
    """How labels of executed steps come to be, and what is made of them."""

    use: LabelUse
    audit_rate: float

    @property
    def name(self) -> str:
        return f"{self.use}, {100 * self.audit_rate:g} % audited"


ARMS = (Arm("weighted", 1.0), Arm("weighted", 0.2), Arm("weighted", 0.05), Arm("undisputed", 0.2))


@dataclass(frozen=True)
class Refused:
    """A process that is refused at first: its critic, and how its labels come in.

    `every_days`: between two forecasts. `days`: of the stream, long enough for nearly every one to be certified.
    """

    name: str
    critic: SimulatedCritic
    sessions_a_day: int
    days: int
    every_days: int
    streams: int = 8


REFUSED = (
    Refused("11.5 % wrong, 2 sessions a day", SimulatedCritic(), 2, 150, 12),
    Refused("11.5 % wrong, 6 sessions a day", SimulatedCritic(), 6, 50, 4),
    Refused("20 % wrong, 2 sessions a day", SimulatedCritic(base_error=0.2), 2, 200, 12),
    Refused("20 % wrong, 6 sessions a day", SimulatedCritic(base_error=0.2), 6, 70, 4),
)
# At no threshold that executes more than one step in ten million are 5 % or fewer wrong.
NEVER = Refused("never: AUROC 0.6, 30 % wrong", SimulatedCritic(auroc=0.6, base_error=0.3), 6, 14, 6, streams=6)
# STAR was collected in a few hours of five days, so its calendar has no rate: its sessions are a stream in their order.
STAR_SESSIONS_A_DAY, STAR_EVERY_DAYS, STAR_ALPHAS = 10, 3, (0.15, 0.10)


def run_golive_bench(*, root: Path, state: Path, console: Console, small: bool) -> dict[str, Any]:
    """Measure, and write docs/benchmarks/golive.json and its figure unless `small`.

    STAR's part is left out, and said to be, where its pipeline has not run in `state`.
    """
    started = time.monotonic()
    seeds, streams = (2, 1) if small else (SEEDS, None)
    star = () if small else _star_streams(root, state, console)
    critic = SimulatedCritic()
    with (
        console.status("sixty days after go-live …") as status,
        ProcessPoolExecutor(_WORKERS, get_context("forkserver")) as workers,
    ):
        recertified = {}
        for arm in ARMS:
            status.update(f"{arm.name}: {seeds} times {DAYS} days")
            runs = list(workers.map(_sixty_days, [arm] * seeds, range(seeds)))
            recertified[arm.name] = _arm(runs, arm, PROMISE.alpha)
        forecasts: dict[str, Any] = {}
        for refused in (*REFUSED[: 1 if small else None], NEVER):
            status.update(f"forecasts: {refused.name}")
            count = streams or refused.streams
            walked = list(workers.map(_walk, [refused] * count, range(count)))
            forecasts[refused.name] = _foreseen(walked) | {"alpha": PROMISE.alpha}
        status.update("forecasts: STAR")
        for (name, stream), tested in zip(star, workers.map(_walk_star, [one for _, one in star]), strict=True):
            forecasts[name] = _foreseen([tested]) | {"alpha": stream.params.alpha}
    results = {
        "critic": {"auroc": critic.auroc, "base_error": critic.base_error, "oracle": critic.oracle(PROMISE.alpha)},
        "alpha": PROMISE.alpha,
        "delta": PROMISE.delta,
        "cuts": PROMISE.cuts,
        "seeds": seeds,
        "days": DAYS,
        "sessions_a_day": SESSIONS_A_DAY,
        "broken_bar": PROMISE.delta + 2 * math.sqrt(PROMISE.delta * (1 - PROMISE.delta) / seeds),
        "recertified": recertified,
        "forecast": forecasts,
    }
    if not small:
        seconds = time.monotonic() - started
        write_evidence(root, "golive", command="make bench-golive", seed=SEED, seconds=seconds, results=results)
        with whole_file(root / "docs" / "images" / "golive.png") as temporary:
            temporary.write_bytes(_picture(results))
    return results


def recertified_table(results: Mapping[str, Any]) -> Table:
    """A row an arm: mean coverage, seeds that broke the promise on any day, audits a day."""
    from rich.table import Table

    table = Table(
        title=f"{results['days']} days of recertification at alpha {results['alpha']:g}, {results['seeds']} seeds; the "
        f"oracle covers {100 * results['critic']['oracle']:.1f} %",
        title_justify="left",
    )
    for column in ("labels", "mean coverage, %", "last day, %", "ever broken, %", "audits a day"):
        table.add_column(column, justify="left" if column == "labels" else "right")
    for name, arm in results["recertified"].items():
        shares = [f"{100 * arm[key]['value']:.1f}" for key in ("coverage", "coverage_last_day", "broken")]
        table.add_row(name, *shares, f"{arm['audits_a_day']['value']:.1f}")
    return table


def forecast_table(results: Mapping[str, Any]) -> Table:
    """A row a kind of stream: how far off the day was, and how well it was foreseen."""
    from rich.table import Table

    table = Table(title="forecasts of time-to-autonomy, back-tested", title_justify="left")
    columns = ("stream", "certified", "forecasts", "name a day, %", "days ahead", "error, days", "error, % of days",
               "error, % of labels", "interval holds, %", "late, %")  # fmt: skip
    for column in columns:
        table.add_column(column, justify="left" if column == "stream" else "right")
    for name, cell in results["forecast"].items():
        shown = [
            _shown(cell["named"], 100),
            _shown(cell.get("days"), 1),
            _shown(cell.get("error_days"), 1),
            *(_shown(cell.get(key), 100) for key in ("error_of_days", "error_of_labels", "covered", "late")),
        ]
        table.add_row(name, f"{cell['certified']} of {cell['streams']}", str(cell["forecasts"]), *shown)
    return table


def _shown(figure: Mapping[str, Any] | None, factor: float) -> str:
    return "–" if figure is None else f"{factor * figure['value']:.1f}"


def _sixty_days(arm: Arm, seed: int) -> RecalibratedDays:
    return recalibrate_daily(
        SimulatedCritic(),
        PROMISE,
        audit_rate=arm.audit_rate,
        seed=seed,
        use=arm.use,
        days=DAYS,
        sessions_a_day=SESSIONS_A_DAY,
    )


def _arm(runs: Sequence[RecalibratedDays], arm: Arm, alpha: float) -> dict[str, Any]:
    """`coverage`: mean over the days. `audits_a_day`: in the second half. Intervals are over seeds."""
    coverage_RD = np.array([run.coverage_D for run in runs])
    audited_RD = np.array([run.audited_D for run in runs])
    return {
        "use": arm.use,
        "audit_rate": arm.audit_rate,
        "coverage": _mean(coverage_RD.mean(axis=1)),
        "coverage_last_day": _mean(coverage_RD[:, -1]),
        "broken": binomial_interval(sum(run.is_broken(alpha) for run in runs), len(runs)).model_dump(),
        "audits_a_day": _mean(audited_RD[:, _STEADY].mean(axis=1)),
        "coverage_by_day": coverage_RD.mean(axis=0).round(4).tolist(),
    }


def _walk(refused: Refused, seed: int) -> BackTest:
    stream = draw_stream(
        refused.critic, PROMISE, days=refused.days, sessions_a_day=refused.sessions_a_day, seed=SEED + seed
    )
    return back_test(stream, seed=seed, every_days=refused.every_days)


def _walk_star(stream: LabelStream) -> BackTest:
    return back_test(stream, seed=SEED, every_days=STAR_EVERY_DAYS)


def _foreseen(tested: Sequence[BackTest]) -> dict[str, Any]:
    """What the forecasts of streams of one kind were worth; intervals are over streams, whose forecasts go together.

    `named`: share that named a day, of all streams. The rest is of streams that were certified after a forecast:
    `points` are [days it took, days foreseen or None], errors those of the forecasts that named a day.
    """
    made_S = np.array([len(one.forecasts) for one in tested], dtype=np.float64)
    named_S = np.array([sum(f.days is not None for f in one.forecasts) for one in tested], dtype=np.float64)
    cell: dict[str, Any] = {
        "streams": len(tested),
        "certified": sum(one.certified_after is not None for one in tested),
        "forecasts": int(made_S.sum()),
        "named": _over(named_S, made_S),
    }
    known = [s for s, one in enumerate(tested) if one.days_ahead]
    if not known:
        return cell
    borne_out, made_S, named_S = [tested[s] for s in known], made_S[known], named_S[known]
    days_S, off_days_S = _errors([([f.days for f in one.forecasts], one.days_ahead) for one in borne_out])
    labels_S, off_labels_S = _errors([([f.labels for f in one.forecasts], one.labels_ahead) for one in borne_out])
    return cell | {
        "days": _over(days_S, named_S),
        "error_days": _over(off_days_S, named_S),
        "error_of_days": _over(off_days_S, days_S),
        "error_of_labels": _over(off_labels_S, labels_S),
        "covered": _over(np.array([one.covered for one in borne_out]) * made_S, made_S),
        "late": _over(np.array([one.late for one in borne_out]) * made_S, made_S),
        "points": [
            [round(ahead, 2), None if f.days is None else round(f.days, 2)]
            for one in borne_out
            for f, ahead in zip(one.forecasts, one.days_ahead, strict=True)
        ],
    }


def _errors(
    streams: Sequence[tuple[Sequence[float | None], Sequence[float]]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """From (foreseen, came), one of each a forecast: sums a stream of what came, and of how far off it was foreseen."""
    named_S = [[(f, c) for f, c in zip(foreseen, came, strict=True) if f is not None] for foreseen, came in streams]
    came_S = np.array([sum(c for _, c in one) for one in named_S], dtype=np.float64)
    off_S = np.array([sum(abs(f - c) for f, c in one) for one in named_S], dtype=np.float64)
    return came_S, off_S


def _mean(of_R: NDArray[np.float64]) -> dict[str, Any]:
    return ratio_interval(of_R, np.ones_like(of_R), seed=SEED).model_dump()


def _over(part_S: NDArray[np.float64], of_S: NDArray[np.float64]) -> dict[str, Any]:
    """A ratio of sums; `n` counts streams. One stream alone has no interval."""
    figure, streams = ratio_interval(part_S, of_S, seed=SEED), int((of_S > 0).sum())
    if streams == 1:
        figure = Figure(value=figure.value, low=math.nan, high=math.nan, n=1)
    return figure.model_copy(update={"n": streams}).model_dump()


def _star_streams(root: Path, state: Path, console: Console) -> list[tuple[str, LabelStream]]:
    """STAR's calibrate sessions under the released critic, and fit's under one that learned from calibrate alone."""
    from dagster_project.judged_steps import critical_steps
    from dagster_project.process_data import sessions_of
    from dagster_project.resources.workspace import ProcessPaths
    from selective_autonomy.critic.kinds import fit_critic, load_critic
    from selective_autonomy.process.schema import load_process

    paths = ProcessPaths(root, state, "star")
    if not paths.feedback.exists():
        console.print(f"{paths.feedback} is missing: STAR's stream is left out; run `make star` first to have it")
        return []
    with console.status("STAR's labels …"):
        schema, sides = load_process(paths.schema), sessions_of(paths, "train", "fit", "calibrate")
        fit = critical_steps(paths.feedback, schema, {"fit": sides["fit"]})
        calibrate = critical_steps(paths.feedback, schema, {"calibrate": sides["calibrate"]})
        released = load_critic(paths.critic, policy=paths.policy)
        swapped = fit_critic(
            sides["train"],
            schema,
            [j.before for j in calibrate],
            [j.proposal for j in calibrate],
            [not j.wrong for j in calibrate],
            load_params(root / "params.yaml").process("star").critic,
            policy=paths.policy,
        )
        return [
            (f"STAR, {side}, alpha {alpha:.2f}", _star_stream(judged, critic, alpha))
            for side, judged, critic in (("calibrate", calibrate, released), ("fit", fit, swapped))
            for alpha in STAR_ALPHAS
        ]


def _star_stream(judged: Sequence[JudgedStep], critic: Any, alpha: float) -> LabelStream:
    done = {j.replayed.session_id: j.before.events[-1].at for j in judged}  # of its last critical step
    order = sorted(done, key=lambda session_id: (done[session_id], session_id))
    promise = PROMISE.model_copy(update={"alpha": alpha})
    return LabelStream(
        critic.p_accept([j.before for j in judged], [j.proposal for j in judged]),
        np.array([j.wrong for j in judged]),
        [j.replayed.session_id for j in judged],
        {session_id: START + timedelta(days=place / STAR_SESSIONS_A_DAY) for place, session_id in enumerate(order)},
        one_slice(alpha),
        promise,
        cuts_C=critic.cuts(promise.cuts),
    )


def _picture(results: Mapping[str, Any]) -> bytes:
    from selective_autonomy.evaluation.figures import golive_png

    return golive_png(results["recertified"], results["forecast"], oracle=results["critic"]["oracle"])
