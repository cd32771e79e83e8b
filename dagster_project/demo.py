"""`make demo`: the whole loop on the embedded desk, then new cases against the service it ends in."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from dagster_project.evidence import write_evidence
from dagster_project.jobs import RELEASE
from dagster_project.pipeline import PipelineResult, run_pipeline
from dagster_project.registry.approval import approval_of
from dagster_project.registry.tracking import Tracking, tracking_from
from dagster_project.release import approve_version
from dagster_project.services import decision_service
from selective_autonomy.errors import SelectiveAutonomyError
from selective_autonomy.params import ProcessParams, load_params

if TYPE_CHECKING:
    from selective_autonomy.desk.judged import JudgedDesk
    from selective_autonomy.evaluation.gated_run import ArmCase, GatedRunSummary
    from selective_autonomy.runtime.worked import WorkedCase, WorkedStep

PROCESS = "broadband"


class LoopStopped(SelectiveAutonomyError, RuntimeError):
    """An asset failed or a blocking check stopped the loop; the lines above say which and why."""

    code = "loop_stopped"


@dataclass(frozen=True)
class DemoResult:
    """`facts` are the metadata of the release's assets; `summary` compares the arms on the new cases."""

    summary: GatedRunSummary
    pipeline: PipelineResult
    version: int
    bento: str
    approved_by: str
    seconds: float


def run_demo(*, root: Path, state: Path, console: Console, approver: str) -> DemoResult:
    """Bring the embedded desk's process from nothing to a served, approved bundle and let it work new cases.

    Stages that are up to date are skipped; the new cases are always worked.

    Raises:
        LoopStopped: the pipeline or the release failed.
        ServerFailed: the bento did not come up.
    """
    started = time.monotonic()
    params = load_params(root / "params.yaml").process(PROCESS)
    tracking = tracking_from(os.environ, state)
    console.rule("[bold]1 · traces → policy → critic → certificate → candidate", align="left")
    pipeline = completed(run_pipeline(PROCESS, root=root, state=state, console=console, tracking=tracking))
    version = int(pipeline.facts["decision_bundle"]["version"])
    console.rule("[bold]2 · approval by a named person, then the bento", align="left")
    approved_by = _approved(version, approver, pipeline.facts["certificate"], state, tracking, console)
    release = completed(
        run_pipeline(PROCESS, root=root, state=state, console=console, tracking=tracking, selection=RELEASE)
    )
    bento = str(release.facts["serving_bento"]["bento"])
    console.rule("[bold]3 · new cases, worked by the gated system and by people alone", align="left")
    summary = work_new_cases(bento, params, state=state, console=console)
    seconds = time.monotonic() - started
    write_evidence(
        root,
        "demo",
        command="make demo",
        seed=params.seed,
        seconds=seconds,
        results=demo_figures(summary, params, pipeline.facts),
    )
    return DemoResult(summary, pipeline, version, bento, approved_by, seconds)


def work_new_cases(bento: str, params: ProcessParams, *, state: Path, console: Console) -> GatedRunSummary:
    """Work `params.new_cases` cases that nobody has seen, once by people alone and once gated by the booted bento."""
    from rich.progress import Progress

    from selective_autonomy.desk.embedded import EmbeddedDesk
    from selective_autonomy.desk.judged import JudgedDesk
    from selective_autonomy.desk.operators import SimulatedOperator, draw_crew
    from selective_autonomy.desk.simulate import on_duty
    from selective_autonomy.evaluation.gated_run import summarise
    from selective_autonomy.gate import Stage
    from selective_autonomy.runtime.client import DecisionClient
    from selective_autonomy.runtime.desk_operator import DeskOperator
    from selective_autonomy.runtime.engine import work_cases

    case_ids = [f"new-{number:06d}" for number in range(params.new_cases)]
    crew = {name: SimulatedOperator(one, params.seed) for name, one in draw_crew(params.seed).items()}

    with Progress(console=console, transient=True) as bars:

        def arm(name: str, client: DecisionClient | None, stage: Stage) -> list[ArmCase]:
            desk = JudgedDesk(EmbeddedDesk(params.seed))

            def on_duty_for(case_id: str) -> DeskOperator:
                return DeskOperator(desk.embedded, crew[on_duty(params.seed, case_id, sorted(crew))])

            bar = bars.add_task(name, total=len(case_ids))
            began = time.monotonic()
            worked = work_cases(
                desk,
                case_ids,
                client,
                on_duty_for,
                stage=stage,
                on_case=lambda _: bars.advance(bar),
                on_feedback=client.feedback if client else None,
            )
            console.print(f"  [green]✓[/] {name:<18} {time.monotonic() - began:7.1f} s")
            return [judged_case(case, desk) for case in worked]

        human = arm("people alone", None, "logging")
        token = secrets.token_urlsafe(24)
        with (
            decision_service(state, bento, token=token) as service,
            DecisionClient(service.url, token=token) as client,
        ):
            selective = arm("gated system", client, "selective")
    return summarise(human, selective, seed=params.seed)


def judged_case(case: WorkedCase, desk: JudgedDesk) -> ArmCase:
    """A worked case with the desk's truth about it."""
    from selective_autonomy.evaluation.gated_run import ArmCase

    verdicts = desk.verdicts[case.case_id]
    routine = [step for step in case.steps if step.by == "autonomy" and not step.critical]

    def wrong(steps: Iterable[WorkedStep]) -> int:
        return sum(verdicts[step.state_digest].standing == "wrong" for step in steps)

    return ArmCase(
        case_id=case.case_id,
        critical_steps=sum(step.critical for step in case.steps),
        executed_steps=len(case.executed),
        wrong_executed=wrong(case.executed),
        routine_executed=len(routine),
        routine_wrong=wrong(routine),
        touched=case.touched,
        active_seconds=case.active_seconds,
        solved=desk.outcome(case.case_id).answers.get("solved", False),
    )


def demo_figures(
    summary: GatedRunSummary, params: ProcessParams, facts: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """The keys that other documents rely on, and what the gate promised."""
    from selective_autonomy.runtime.engine import HANDOVER_SECONDS

    figures = summary.model_dump()
    return {
        **figures,
        "alpha": params.certificate.alpha,
        "alpha_session": params.certificate.alpha_session,
        "delta": params.certificate.delta,
        "promise": "truly wrong" if params.certificate.adjudicated else "wrong, as operators label them",
        "threshold": facts["certificate"].get("threshold"),
        "handover_seconds": HANDOVER_SECONDS,
    }


def _approved(
    version: int, approver: str, certificate: Mapping[str, Any], state: Path, tracking: Tracking, console: Console
) -> str:
    """Approve unless this version is approved already; who did."""
    there = approval_of(tracking, PROCESS, version)
    if there is None:
        there = approve_version(
            PROCESS,
            version,
            approved_by=approver,
            reason=f"demo: certificate {certificate.get('certificate_id')}, threshold {certificate.get('threshold')}",
            state=state,
            tracking=tracking,
            at=datetime.now(UTC),
        )
    console.print(f"  [green]✓[/] version {version} approved by {there.approved_by}: [dim]{there.reason}[/]")
    return there.approved_by


def completed(result: PipelineResult) -> PipelineResult:
    """The result itself if the run went through.

    Raises:
        LoopStopped: it did not.
    """
    if not result.success:
        failed = "; ".join(f"{step}: {why}" for step, why in result.errors.items()) or "a blocking check failed"
        raise LoopStopped(f"{result.process_id} stopped: {failed}; mend the cause and run the same command again")
    return result
