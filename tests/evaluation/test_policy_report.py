"""The report of a policy: what it holds, what it says it cost, and the tables and figures made of it."""

from __future__ import annotations

import io

import pytest
from desk_world import world
from hand_made import HELLO, TABLE, TEXT, replayed, schema, session
from matplotlib.image import imread

from selective_autonomy.errors import SplitError
from selective_autonomy.evaluation.curves import CurvePoint, LearningCurve
from selective_autonomy.evaluation.policy_figures import comparison_png, learning_curve_png, parts_png
from selective_autonomy.evaluation.policy_report import PolicyReport, comparison_markdown, report_policy
from selective_autonomy.evaluation.replay import ReplayCost, replay
from selective_autonomy.policy.protocol import Proposal
from selective_autonomy.traces.schema import Session


def desk_report(**more: object) -> PolicyReport:
    w = world()
    return report_policy(w.calibrate.replayed, w.schema, policy="counts", kind="ngram", seed=0, **more)


def test_a_report_survives_json() -> None:
    made = desk_report(train_sessions=120, train_seconds=0.5)
    assert PolicyReport.model_validate_json(made.model_dump_json()) == made


def test_a_report_without_a_single_right_form_survives_json_too() -> None:
    made = report_policy(replayed(session("a", [HELLO]), TABLE), schema(), policy="p", kind="ngram", seed=0)
    assert PolicyReport.model_validate_json(made.model_dump_json()) == made
    assert made.fields == {}


def test_the_tables_name_every_figure_and_every_part() -> None:
    made = desk_report(train_sessions=120, train_seconds=0.5)
    table = made.markdown()
    for name in (*made.figures, *made.by_action, *made.by_procedure, *made.by_trigger):
        assert f"\n| {name} | " in table
    assert "trained on 120 sessions in 0 s" in table


def test_the_order_tolerant_figure_never_stands_without_the_plain_one() -> None:
    rows = comparison_markdown([desk_report()]).splitlines()
    named = [row.split("|")[1].strip() for row in rows]
    assert named.index("order_tolerant_tool") == named.index("tool") + 1
    assert {"strict", "order_tolerant_strict"} <= set(named)


def test_steps_of_an_unseen_procedure_are_told_apart_from_those_of_known_ones_beside_it() -> None:
    steps = replayed(session("a", [HELLO, TABLE, TABLE], procedures=("eat", "sleep")), HELLO, TABLE, HELLO)
    made = report_policy(steps, schema(), policy="p", kind="ngram", holdout="processes", unseen=("eat",), seed=0)
    assert made.of_unseen is not None
    assert (made.of_unseen.tool.value, made.of_unseen.tool.n) == (0.5, 2)
    assert made.figures["tool"].n == 3
    assert "steps of unseen procedures only" in made.markdown()
    assert desk_report().of_unseen is None


def test_the_fields_with_most_errors_are_shown_first() -> None:
    made = desk_report()
    shown = [line.split(" | ")[0].strip("| ") for line in made.markdown().splitlines()]
    listed = [name for name in shown if name in made.fields]
    errors = [made.fields[name].n * (1 - made.fields[name].value) for name in listed]
    assert errors == sorted(errors, reverse=True)
    assert errors


class Timed:
    """A policy that takes three seconds a session on the test's clock and reads 20 tokens of it."""

    def __init__(self) -> None:
        self.now = 0.0

    def propose(self, sessions: list[Session]) -> list[Proposal]:
        return world().policy.propose(sessions)

    def replay(self, session: Session) -> list[Proposal]:
        self.now += 3.0
        return world().policy.replay(session)


class Reading(Timed):
    def tokens_read(self, session: Session) -> int:
        return 20


def test_a_replay_tells_what_a_step_cost() -> None:
    policy, sessions = Reading(), world().train[:4]
    steps = replay(policy, sessions, clock=lambda: policy.now)
    cost = ReplayCost.of(steps)
    assert cost.seconds_a_step == pytest.approx(3.0 * 4 / len(steps))
    assert cost.tokens_a_step == pytest.approx(20 * 4 / len(steps))


def test_a_policy_that_reads_no_tokens_claims_none() -> None:
    assert ReplayCost.of(replay(Timed(), world().train[:2])).tokens_a_step is None


def test_a_cost_that_only_some_steps_know_is_no_cost_of_all() -> None:
    known, unknown = replay(Reading(), world().train[:1]), replayed(session("a", [HELLO]), HELLO)
    assert ReplayCost.of([*known, *unknown]) == ReplayCost()
    assert ReplayCost.of([]) == ReplayCost()


def test_what_was_measured_elsewhere_takes_the_place_of_the_steps_own_cost() -> None:
    assert desk_report(cost=ReplayCost(seconds_a_step=0.25)).cost.seconds_a_step == 0.25


def test_without_steps_there_is_no_report() -> None:
    with pytest.raises(SplitError, match="non-empty split"):
        report_policy([], schema(), policy="p", kind="ngram", seed=0)


def test_operators_are_shown_as_a_spread_once_enough_of_them_have_enough_steps() -> None:
    def report_of(operators: int) -> str:
        steps = []
        for i in range(operators):
            log = session(f"s{i}", [HELLO, TEXT] * 25, operator=f"op {i}")
            steps += replayed(log, *([HELLO, TEXT] * 25 if i else [HELLO, TABLE] * 25))
        return report_policy(steps, schema(), policy="p", kind="ngram", seed=0).markdown()

    assert "Operators (3 of 3" in report_of(3)
    assert "10th percentile 60.0, median 100.0, 90th 100.0" in report_of(3)
    assert "Operators" not in report_of(2)


def learning_curve() -> LearningCurve:
    figures = desk_report().figures
    points = [
        CurvePoint(policy=p, own=n, others=o, figures=figures) for p in "ab" for o in (0, 9) for n in (25, 50, 99)
    ]
    return LearningCurve(process_id="inn", procedure="eat", sessions=5, steps=50, points=tuple(points))


@pytest.mark.parametrize(
    "draw",
    [
        lambda: parts_png(desk_report().by_procedure, title="by procedure"),
        lambda: comparison_png([desk_report(), desk_report().model_copy(update={"policy": "again"})]),
        lambda: learning_curve_png(learning_curve()),
    ],
    ids=["parts", "comparison", "learning curve"],
)
def test_a_figure_is_a_picture_with_ink_on_it_and_the_same_bytes_every_time(draw: object) -> None:
    drawn = draw()  # type: ignore[operator]
    picture = imread(io.BytesIO(drawn), format="png")
    assert min(picture.shape[:2]) > 400
    assert 0.005 < (picture[..., :3].min(axis=2) < 0.9).mean() < 0.5
    assert draw() == drawn  # type: ignore[operator]


def test_nothing_cannot_be_drawn() -> None:
    with pytest.raises(SplitError, match="nothing to draw"):
        parts_png({}, title="")
    with pytest.raises(SplitError, match="nothing to draw"):
        comparison_png([])
