"""Second reviews and probes on the embedded desk, put into the label report."""

from __future__ import annotations

import pandas as pd
import pytest

from dagster_project.judged_steps import JudgedStep
from dagster_project.label_quality import desk_reviews
from selective_autonomy.desk.feedback import DeskFeedback
from selective_autonomy.desk.process import load_desk_process
from selective_autonomy.desk.simulate import simulate_sessions
from selective_autonomy.evaluation.replay import ReplayedStep
from selective_autonomy.params import LabelParams
from selective_autonomy.policy.protocol import Alternative, Proposal
from selective_autonomy.process.actions import head
from selective_autonomy.traces.screen import steps

SEED = 20
PARAMS = LabelParams(second_review_rate=0.3, probe_rate=0.3)


@pytest.fixture(scope="module")
def judged() -> list[JudgedStep]:
    """What a policy that does as the operators did was told."""
    source, found = DeskFeedback(SEED), []
    for session in simulate_sessions(SEED, 25):
        replayed = [
            ReplayedStep(step, Proposal(action=step.action, log_prob=-0.1, entropy=0.1, legal_count=9,
                                        alternatives=(Alternative(head=head(step.action), p=0.9),)))
            for step in steps(session)
        ]  # fmt: skip
        judgements = source.judge(session, [one.proposal for one in replayed])
        found += [JudgedStep(one, said, "fit") for one, said in zip(replayed, judgements, strict=True)]
    return found


@pytest.fixture(scope="module")
def reviews(judged: list[JudgedStep]) -> pd.DataFrame:
    return desk_reviews(judged, load_desk_process(), SEED, PARAMS)


def test_every_second_reviewed_proposal_has_three_verdicts_of_three_operators(reviews: pd.DataFrame) -> None:
    shared = reviews[reviews["kind"] != "probe"].groupby("item")
    assert (shared["operator_id"].nunique() == 3).all()
    assert (shared["kind"].agg(lambda kinds: sorted(kinds) == ["first", "second", "second"])).all()
    assert (shared["truly_wrong"].nunique() == 1).all()
    assert (shared["action"].nunique() == 1).all()


def test_probes_are_of_both_truths_and_mostly_answered_rightly(reviews: pd.DataFrame) -> None:
    probes = reviews[reviews["kind"] == "probe"]
    assert not probes["item"].duplicated().any()
    wrong = probes[probes["truly_wrong"].astype(bool)]
    assert 10 < len(wrong) < len(probes)
    assert wrong["says_wrong"].mean() > 0.7


def test_the_share_drawn_is_near_its_rate_and_kept_beside_each_row(
    judged: list[JudgedStep], reviews: pd.DataFrame
) -> None:
    schema = load_desk_process()
    critical = sum(schema.tier(one.proposal.action.type).tier == "critical" for one in judged)
    for kind in ("first", "probe"):
        assert (reviews["kind"] == kind).sum() / critical == pytest.approx(0.3, abs=0.1)
    assert set(reviews["probability"]) == {0.3}


def test_asking_again_gives_the_same_answers(judged: list[JudgedStep], reviews: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(desk_reviews(judged, load_desk_process(), SEED, PARAMS), reviews)
