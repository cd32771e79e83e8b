"""All-human traces of the embedded desk: what the logging stage would have recorded."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from selective_autonomy.desk.embedded import EmbeddedDesk
from selective_autonomy.desk.operators import SimulatedOperator, draw_crew
from selective_autonomy.desk.process import DATA_DIR, DESK_VERSION
from selective_autonomy.desk.truth import judge
from selective_autonomy.traces.schema import Session


def simulate_sessions(
    seed: int, cases: int, on_case: Callable[[], None] | None = None, *, data_dir: Path = DATA_DIR
) -> list[Session]:
    """Work the cases `case-000000` ... by the crew and return their logs, in order of case number.

    Same seed, same logs, whatever `cases` is. `on_case` is called after each, for progress.
    """
    desk = EmbeddedDesk(seed, data_dir=data_dir)
    crew = {name: SimulatedOperator(operator, seed) for name, operator in draw_crew(seed).items()}
    sessions = []
    for number in range(cases):
        case_id = f"case-{number:06d}"
        operator = crew[on_duty(seed, case_id, sorted(crew))]
        sessions.append(work_case_by_hand(desk, case_id, operator))
        if on_case is not None:
            on_case()
    return sessions


def on_duty(seed: int, case_id: str, crew: list[str]) -> str:
    """Who works a case by hand."""
    return random.Random(f"desk {DESK_VERSION}|{seed}|{case_id}|duty").choice(crew)


def work_case_by_hand(desk: EmbeddedDesk, case_id: str, operator: SimulatedOperator) -> Session:
    """One case from the first message to its end, all steps by one operator."""
    case = desk.new_case(case_id)
    while not case.closed:
        action, seconds = operator.choose(case)
        case.apply(action, seconds, "operator", right=judge(case, action).standing != "wrong")
    return case.session.model_copy(
        update={
            "operator_id": operator.operator.id,
            "labels": {
                "stratum": case.facts.wishes[0],
                "case": case_id,
                "desk_version": DESK_VERSION,
                "desk_seed": str(desk.seed),
            },
            "outcome": case.outcome,
        }
    )
