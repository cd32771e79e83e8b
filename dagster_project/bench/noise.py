"""`make bench-noise`: does noisy or biased feedback break the promise, on a desk whose truth is known and on STAR?"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from dagster_project.evidence import write_evidence
from dagster_project.judged_steps import JudgedStep, judged_in, read_judged
from dagster_project.process_data import sessions_of
from dagster_project.resources.workspace import ProcessPaths
from selective_autonomy.critic.evidence import Evidence
from selective_autonomy.desk.simulate import on_duty
from selective_autonomy.errors import ModelError
from selective_autonomy.evaluation.corruptions import CORRUPTIONS, Verdicts, random_flips
from selective_autonomy.evaluation.live import Worked, compare_arms
from selective_autonomy.evaluation.noise import RULES, Done, Draw, Learned, Pool, corrupted, learn, run_cell
from selective_autonomy.gate import Stage
from selective_autonomy.params import CertificateParams, EvidenceParams, NoiseParams, ProcessParams, load_params
from selective_autonomy.process.actions import ACTION_TYPES
from selective_autonomy.process.schema import ProcessSchema, load_process
from selective_autonomy.runtime.engine import HANDOVER_SECONDS, work_cases
from selective_autonomy.traces.whole import whole_file

if TYPE_CHECKING:
    from rich.table import Table

    from selective_autonomy.bundle import DecisionBundle
    from selective_autonomy.desk.judged import JudgedDesk
    from selective_autonomy.runtime.desk_operator import DeskOperator

SEED = 20  # the desk's
_WORKERS = 2
_CUTS = 100
_FIRST_LIVE = 200_000  # numbers of new cases from here on are worked live; those before it in the copilot stage
_EQUIVALENCE_MARGIN = 0.03  # a loss of this much of the solved cases would matter

_shared: dict[str, tuple[Pool, CertificateParams, ProcessParams, int]] = {}  # what workers inherit when they are forked


def run_noise_bench(*, root: Path, state: Path, console: Console, small: bool) -> dict[str, Any]:
    """Measure, and write docs/benchmarks/noise.json and its figure unless `small`. What is trained is kept in `state`.

    Raises:
        ModelError: STAR's pipeline has not run (not asked for by `small`).
    """
    started = time.monotonic()
    params = load_params(root / "params.yaml")
    setting = params.noise["small" if small else "full"]
    paths = ProcessPaths(root, state, "star")
    if not small and not paths.feedback.exists():
        raise ModelError(f"{paths.feedback} is missing: run `make star` first, its replayed feedback is corrupted here")
    desk = params.process("broadband")
    folder = state / "bench" / "noise" / ("small" if small else "full")
    promise = CertificateParams(
        alpha=setting.alpha, alpha_session=setting.alpha_session, delta=setting.delta, cuts=_CUTS
    )
    with console.status("the desk's policy and its feedback …"):
        pool, policy = desk_pool(folder, desk, setting)
    results: dict[str, Any] = {"delta": setting.delta, "probes": setting.probes}
    draws = [_draw(pool, setting, seed) for seed in range(setting.seeds)]
    with console.status("new cases, gated by certificates from noisy feedback …"):
        results["live"] = _live(pool, policy, promise, desk, setting, folder)
    _shared["desk"] = (pool, promise, desk, setting.probes)
    results["desk"] = _grid("desk", draws, console, rates=1 if small else None)
    if not small:
        star = params.process("star")
        star_pool, star_draw = _star(paths, star)
        _shared["star"] = (star_pool, promise.model_copy(update={"alpha_session": None}), star, setting.probes)
        results["star"] = _grid("star", [star_draw] * setting.star_seeds, console, rates=None)
    if not small:
        seconds = time.monotonic() - started
        write_evidence(root, "noise", command="make bench-noise", seed=SEED, seconds=seconds, results=results)
        with whole_file(root / "docs" / "images" / "noise.png") as temporary:
            temporary.write_bytes(_picture(results))
    return results


def noise_table(results: Mapping[str, Any]) -> Table:
    """A row a corruption and rate of the desk: session risk and sessions worked alone, rule by rule."""
    from rich.table import Table

    alpha = next(iter(next(iter(results["desk"].values())).values()))["alpha"]
    table = Table(title=f"the desk: sessions with a truly wrong executed step (promised {100 * alpha:g} %) / worked "
                  "alone, %", title_justify="left")  # fmt: skip
    for column in ("corruption", "rate", *RULES):
        table.add_column(column.replace("_", " "), justify="left" if column == "corruption" else "right")
    for name, by_rate in results["desk"].items():
        for rate, cell in by_rate.items():
            shown = [f"{100 * cell[r]['promised_risk']:.1f} / {100 * cell[r]['session_coverage']:.1f}" for r in RULES]
            table.add_row(name.replace("_", " "), rate, *shown)
    return table


def desk_pool(folder: Path, desk: ProcessParams, setting: NoiseParams) -> tuple[Pool, Path]:
    """The copilot stage of the embedded desk with its truth, and the policy's folder, which is trained once.

    First come the logged cases, which the policy learns from; then, on later days, cases in which people judge what it
    proposes and what they accept is done. A critic and a certificate are made from these.
    """
    from selective_autonomy.desk.embedded import EmbeddedDesk
    from selective_autonomy.desk.simulate import simulate_sessions
    from selective_autonomy.params import CausalLMParams
    from selective_autonomy.policy.kinds import train_policy

    assert isinstance(desk.policy, CausalLMParams)
    schema = EmbeddedDesk(SEED).schema
    logged = simulate_sessions(SEED, setting.train)
    settings = desk.policy.model_copy(update={"epochs": setting.epochs})
    key = hashlib.sha256(json.dumps([settings.model_dump(mode="json"), setting.train]).encode()).hexdigest()[:12]
    policy = folder / f"policy-{key}"
    if not (policy / "policy.json").exists():
        train_policy(logged, schema, settings, policy)
    parts = np.array_split([f"new-{number:06d}" for number in range(setting.pool)], _WORKERS)
    with _workers() as workers:
        judged = [one for part in workers.map(_copilot_stage, [policy] * _WORKERS, parts) for one in part]
    truth = [bool(one.judgement.truly_wrong) for one in judged]
    return _pool(judged, [one.wrong for one in judged], truth, Evidence.fit(logged, schema), schema), policy


def _workers() -> ProcessPoolExecutor:
    """Processes for what asks the policy: started afresh, for torch does not outlive a fork; one thread each."""
    return ProcessPoolExecutor(_WORKERS, get_context("forkserver"), initializer=_one_thread)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _copilot_stage(policy: Path, case_ids: Sequence[str]) -> list[JudgedStep]:
    """The judged steps of these cases, worked by the desk's crew with the policy's proposals before them."""
    from selective_autonomy.policy.kinds import load_policy
    from selective_autonomy.runtime.copilot import Copilot

    desk, operator_for = _desk_and_crew()
    copilot = Copilot(load_policy(policy), desk.embedded.schema)
    worked = work_cases(desk, [str(one) for one in case_ids], copilot, operator_for, stage="copilot")
    return [one for case in worked for one in judged_in(case, "calibrate")]


def _desk_and_crew() -> tuple[JudgedDesk, Callable[[str], DeskOperator]]:
    """A fresh desk, and who is on duty for a case."""
    from selective_autonomy.desk.embedded import EmbeddedDesk
    from selective_autonomy.desk.judged import JudgedDesk
    from selective_autonomy.desk.operators import SimulatedOperator, draw_crew
    from selective_autonomy.runtime.desk_operator import DeskOperator

    desk = JudgedDesk(EmbeddedDesk(SEED))
    crew = {name: SimulatedOperator(one, SEED) for name, one in draw_crew(SEED).items()}
    return desk, lambda case_id: DeskOperator(desk.embedded, crew[on_duty(SEED, case_id, sorted(crew))])


def _star(paths: ProcessPaths, star: ProcessParams) -> tuple[Pool, Draw]:
    """STAR's replayed feedback: what the operator did is the truth, and the verdicts are as good as they can be."""
    schema = load_process(paths.schema)
    sessions = sessions_of(paths, "train", "fit", "calibrate", "test")
    judged = read_judged(paths.feedback, {split: sessions[split] for split in ("fit", "calibrate", "test")})
    wrong = [one.wrong for one in judged]
    pool = _pool(judged, wrong, wrong, Evidence.fit(sessions["train"], schema), schema)
    fit, calibrate, test = (frozenset(s.session_id for s in sessions[k]) for k in ("fit", "calibrate", "test"))
    return pool, Draw(fit, calibrate, test)


def _pool(
    judged: Sequence[JudgedStep], rejected: Sequence[bool], wrong: Sequence[bool], evidence: Evidence,
    schema: ProcessSchema,
) -> Pool:  # fmt: skip
    human: dict[str, float] = {}
    for one in judged:
        human[one.replayed.session_id] = human.get(one.replayed.session_id, 0.0) + (one.replayed.step.seconds or 0.0)
    rows = [n for n, one in enumerate(judged) if schema.tier(one.proposal.action.type).tier == "critical"]
    chosen = [judged[n] for n in rows]
    _, operator_N = np.unique([one.before.operator_id for one in chosen], return_inverse=True)
    return Pool(
        evidence=evidence,
        x_NF=evidence.featurise([one.before for one in chosen], [one.proposal for one in chosen]),
        verdicts=Verdicts(
            rejected_N=np.array([rejected[n] for n in rows], dtype=bool),
            wrong_N=np.array([wrong[n] for n in rows], dtype=bool),
            operator_N=operator_N,
            shift_N=_shifts(chosen),
            kind_N=np.array([ACTION_TYPES.index(one.proposal.action.type) for one in chosen]),
        ),
        session_of_N=np.array([one.replayed.session_id for one in chosen]),
        seconds_N=np.array([one.replayed.step.seconds or 0.0 for one in chosen]),
        human_seconds=human,
        handover_seconds=HANDOVER_SECONDS,
    )


def _shifts(judged: Sequence[JudgedStep]) -> np.ndarray:
    """How far into a shift of twenty sessions of its operator each step stands, in [0, 1]."""
    places: dict[str, int] = {}
    worked: dict[str, int] = {}
    for one in judged:
        if one.replayed.session_id not in places:
            operator = one.before.operator_id
            places[one.replayed.session_id] = worked.get(operator, 0)
            worked[operator] = worked.get(operator, 0) + 1
    return np.array([(places[one.replayed.session_id] % 20) / 19 for one in judged])


def _draw(pool: Pool, setting: NoiseParams, seed: int) -> Draw:
    order = np.random.default_rng([SEED, seed]).permutation(np.unique(pool.session_of_N)).tolist()
    first, second = setting.fit, setting.fit + setting.calibrate
    return Draw(
        frozenset(order[:first]), frozenset(order[first:second]), frozenset(order[second : second + setting.test])
    )


def _grid(corpus: str, draws: Sequence[Draw], console: Console, *, rates: int | None) -> dict[str, dict[str, Any]]:
    """Every corruption at every rate, each on every draw, in worker processes."""
    from rich.progress import Progress

    cells = [(name, rate) for name, (_, all_rates) in CORRUPTIONS.items() for rate in all_rates[:rates]]
    jobs = [(corpus, name, rate, draw, seed) for name, rate in cells for seed, draw in enumerate(draws)]
    grid: dict[str, dict[str, Any]] = {}
    with Progress(console=console, transient=True) as bars, ProcessPoolExecutor(_WORKERS, get_context("fork")) as pool:
        bar = bars.add_task(f"{corpus}: corrupted feedback", total=len(jobs))
        found: dict[tuple[str, float], list[dict[str, dict[str, Any]]]] = {}
        for job, done in zip(jobs, pool.map(_work, jobs), strict=True):
            found.setdefault((job[1], job[2]), []).append(done)
            bars.advance(bar)
    promise = _shared[corpus][1]
    for (name, rate), runs in found.items():
        promised = "session_risk" if promise.alpha_session is not None else "true_risk"
        alpha = promise.alpha_session if promise.alpha_session is not None else promise.alpha
        grid.setdefault(name, {})[f"{rate:.2f}"] = {
            "alpha": alpha,
            **{rule: _summary([run[rule] for run in runs], promised, alpha) for rule in RULES},
        }
    return grid


def _work(job: tuple[str, str, float, Draw, int]) -> dict[str, dict[str, Any]]:
    corpus, name, rate, draw, seed = job
    pool, promise, process, probes = _shared[corpus]
    critic = _evidence_params(process)
    cell = run_cell(pool, draw, CORRUPTIONS[name][0], rate, promise, critic, probes=probes, seed=seed)
    return {rule: _facts(*cell[rule]) for rule in RULES}


def _evidence_params(process: ProcessParams) -> EvidenceParams:
    """The process's critic: the same rows are learned again with other labels, which only that of evidence can do."""
    if isinstance(process.critic, EvidenceParams):
        return process.critic
    raise ModelError(f"got a critic of kind {process.critic.kind!r} in params.yaml, expected 'evidence' for this bench")


def _facts(learned: Learned | None, done: Done) -> dict[str, Any]:
    sensitivity = learned.sensitivity if learned else None
    caught = sensitivity.caught / sensitivity.planted if sensitivity and sensitivity.planted else None
    certified = learned is not None and learned.threshold is not None
    return {
        **vars(done),
        "certified": certified,
        "adjudicated": learned.adjudicated if learned else 0,
        "caught": caught,
    }


def _summary(runs: Sequence[Mapping[str, Any]], promised: str, alpha: float) -> dict[str, Any]:
    """Means over the draws; `violation_rate`: draws whose true risk is above alpha."""
    names = ("step_coverage", "session_coverage", "true_risk", "session_risk", "active_seconds_change", "certified",
             "adjudicated")  # fmt: skip
    means = {name: float(np.mean([run[name] for run in runs])) for name in names}
    caught = [run["caught"] for run in runs if run["caught"] is not None]
    if caught:
        means["probes_caught"] = float(np.mean(caught))
    risks = [run[promised] for run in runs]
    return {
        **means,
        "promised_risk": float(np.mean(risks)),
        "highest_risk": float(np.max(risks)),
        "violation_rate": float(np.mean([risk > alpha for risk in risks])),
        "draws": len(runs),
    }


def _live(
    pool: Pool, policy: Path, promise: CertificateParams, desk: ProcessParams, setting: NoiseParams, folder: Path
) -> dict[str, Any]:
    """New cases, half of them by people alone, by lot: certificates from feedback with random flips."""
    one_draw = partial(_live_draw, pool, policy, promise, desk, setting, folder)
    with _workers() as workers:
        thresholds, gated, human = zip(*workers.map(one_draw, range(setting.live_seeds)), strict=True)
    return {
        **compare_arms(gated, human, alpha_session=promise.alpha_session or 0.0, margin=_EQUIVALENCE_MARGIN, seed=SEED),
        "flips": setting.live_flips,
        "thresholds": list(thresholds),
        "refused": sum(threshold is None for threshold in thresholds),
    }


def _live_draw(
    pool: Pool,
    policy: Path,
    promise: CertificateParams,
    desk: ProcessParams,
    setting: NoiseParams,
    folder: Path,
    seed: int,
) -> tuple[float | None, list[Worked], list[Worked]]:
    """One certificate's threshold, and the cases it worked beside those of people alone."""
    draw = _draw(pool, setting, 1000 + seed)
    draw = replace(draw, calibrate=draw.calibrate | draw.test)  # new cases are the test
    noisy = corrupted(pool, random_flips, setting.live_flips, seed)
    critic = _evidence_params(desk)
    learned = learn(noisy, draw, "certificate_noise_model", promise, critic, probes=setting.probes, seed=seed)
    chance = np.random.default_rng([SEED, 2000 + seed]).permutation(2 * setting.new_cases)
    ids = [f"new-{_FIRST_LIVE + seed * 1000 + int(number):06d}" for number in chance]
    gated = _worked(ids[: setting.new_cases], learned, policy, folder)
    return learned.threshold, gated, _worked(ids[setting.new_cases :], None, policy, folder)


def _worked(case_ids: Sequence[str], learned: Learned | None, policy: Path, folder: Path) -> list[Worked]:
    """Cases worked through a sealed bundle (or by people alone), with the desk's truth about them."""
    from dagster_project.demo import judged_case

    desk, operator_for = _desk_and_crew()
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        decider = None if learned is None else _decider(learned, policy, Path(temporary), desk)
        stage: Stage = "logging" if decider is None else "selective"
        worked = work_cases(desk, case_ids, decider, operator_for, stage=stage)
    return [Worked(judged_case(case, desk), operator_for(case.case_id).operator_id) for case in worked]


def _decider(learned: Learned, policy: Path, folder: Path, judged: JudgedDesk) -> DecisionBundle | None:
    """A sealed and loaded decision bundle with this critic and certificate; None where none was issued."""
    from selective_autonomy.bundle import DecisionBundle, build_bundle
    from selective_autonomy.bundle_files import folder_digest
    from selective_autonomy.desk.simulate import simulate_sessions

    if learned.certificate is None:
        return None
    schema = judged.embedded.schema
    learned.critic.save(folder / "critic")
    made_for = {"policy_digest": folder_digest(policy), "critic_digest": folder_digest(folder / "critic")}
    build_bundle(
        folder / "bundle",
        schema=schema,
        policy_dir=policy,
        critic_dir=folder / "critic",
        certificate=learned.certificate.model_copy(update={"process_id": schema.id, **made_for}),
        golden=[simulate_sessions(SEED, 1)[0].before(1)],
        created=datetime.now(UTC),
    )
    return DecisionBundle.load(folder / "bundle")


def _picture(results: Mapping[str, Any]) -> bytes:
    from selective_autonomy.evaluation.figures import noise_png

    return noise_png(results["desk"], results["star"])
