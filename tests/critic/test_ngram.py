from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from desk_world import world

from selective_autonomy.errors import ModelError
from selective_autonomy.policy.baselines.ngram import HeadNgram, Situation, situation_of
from selective_autonomy.policy.baselines.policies import Baseline
from selective_autonomy.process.actions import CloseChat
from selective_autonomy.process.legality import check_action
from selective_autonomy.traces.schema import CopilotFeedback, ProposalShown
from selective_autonomy.traces.screen import derive_screen, steps


def small() -> HeadNgram:
    return HeadNgram.fit(world().train[:20])


def test_every_distribution_sums_to_one_and_rules_nothing_out() -> None:
    ngram = small()
    for session in world().train[:5]:
        for step in steps(session):
            p = ngram.distribution(situation_of(step.before))
            assert p.sum() == pytest.approx(1)
            assert p.min() > 0


def test_a_situation_that_train_never_saw_backs_off_to_what_is_usual() -> None:
    ngram = small()
    p = ngram.distribution(Situation(("no such procedure",), "operator", ("no such head", "nor this")))
    counts = np.array([ngram.count(head) for head in ngram.heads])
    assert np.argmax(p) == np.argmax(counts)


def test_asking_in_another_order_gives_the_same_distributions() -> None:
    situations = [situation_of(s.before) for session in world().train[:10] for s in steps(session)]
    there, back = small(), small()
    forward = [there.distribution(s) for s in situations]
    backward = [back.distribution(s) for s in reversed(situations)][::-1]
    np.testing.assert_array_equal(forward, backward)


def test_proposals_and_feedback_in_the_log_change_nothing() -> None:
    session = next(steps(world().train[0])).before
    at = datetime(2030, 1, 1, tzinfo=UTC)
    shown = ProposalShown(at=at, proposal_id="1", action=CloseChat())
    answered = session.with_events(shown, CopilotFeedback(at=at, proposal_id="1", verdict="correct"))
    assert situation_of(answered) == situation_of(session)


def test_counts_survive_saving(tmp_path: Path) -> None:
    ngram = small()
    ngram.save(tmp_path / "heads.json")
    again = HeadNgram.load(tmp_path / "heads.json")
    assert again.counts == ngram.counts
    assert again.heads == ngram.heads


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 9, "counts": {}}', '{"counts": {}}'])
def test_a_damaged_file_of_counts_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "heads.json").write_text(text)
    with pytest.raises(ModelError, match="fit"):
        HeadNgram.load(tmp_path / "heads.json")


def test_sessions_without_a_step_cannot_be_counted() -> None:
    with pytest.raises(ModelError, match="no operator action"):
        HeadNgram.fit([world().train[0].before(0)])


def test_the_policy_of_counts_proposes_only_what_the_screen_allows() -> None:
    w = world()
    for before, proposal in zip(w.fit.befores, w.fit.proposals, strict=True):
        check_action(w.schema, derive_screen(before), proposal.action)


def test_the_policy_of_counts_beats_always_doing_the_commonest_thing() -> None:
    w = world()
    heads = [r.step.action for r in w.fit.replayed]
    commonest = max(heads.count(action) for action in heads) / len(heads)
    assert w.fit.accepted.mean() > max(0.35, commonest)


def test_replaying_equals_proposing_before_every_step() -> None:
    policy, session = world().policy, world().calibrate.replayed[0].step.session
    assert policy.replay(session) == policy.propose([step.before for step in steps(session)])


def test_the_policy_of_counts_survives_saving(tmp_path: Path) -> None:
    w = world()
    w.policy.save(tmp_path)
    assert Baseline.load(tmp_path).propose(w.fit.befores[:40]) == w.fit.proposals[:40]
    (tmp_path / "values.json").write_text(json.dumps([1]))
    with pytest.raises(ModelError, match="values"):
        Baseline.load(tmp_path)
