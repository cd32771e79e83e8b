from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from desk_world import PARAMS, world

from selective_autonomy.critic.boosted import BoostedCritic
from selective_autonomy.errors import ModelError
from selective_autonomy.evaluation.metrics import auroc, brier, ece
from selective_autonomy.params import CalibrationParams


def test_scores_lie_strictly_between_zero_and_one() -> None:
    w = world()
    p = w.critic.p_accept(w.calibrate.befores, w.calibrate.proposals)
    assert p.shape == (len(w.calibrate.befores),)
    assert np.all((p > 0) & (p < 1))


def test_no_proposals_have_no_scores() -> None:
    assert world().critic.p_accept([], []).shape == (0,)


def test_the_critic_ranks_unseen_sessions_better_than_the_policys_own_probability() -> None:
    w = world()
    p = w.critic.p_accept(w.calibrate.befores, w.calibrate.proposals)
    p_head = np.array([proposal.p_head for proposal in w.calibrate.proposals])
    right = w.calibrate.accepted
    assert auroc(p, right) > auroc(p_head, right) + 0.02
    assert brier(p, right) < brier(p_head, right)
    assert ece(p, right) < 0.12


def test_a_batch_scores_as_each_pair_alone() -> None:
    w = world()
    befores, proposals = w.calibrate.befores[:40], w.calibrate.proposals[:40]
    alone = [w.critic.p_accept([b], [p])[0] for b, p in zip(befores, proposals, strict=True)]
    np.testing.assert_array_equal(w.critic.p_accept(befores, proposals), alone)


def test_rows_that_were_read_before_score_as_their_logs_do_with_maps_by_action_too() -> None:
    w = world()
    for calibration in (PARAMS.calibration, CalibrationParams()):
        params = PARAMS.model_copy(update={"calibration": calibration})
        critic = BoostedCritic.fit_rows(
            w.evidence, w.evidence.featurise(w.fit.befores, w.fit.proposals), w.fit.session_ids, w.fit.accepted, params
        )
        p = critic.p_accept(w.calibrate.befores, w.calibrate.proposals)
        rows = w.evidence.featurise(w.calibrate.befores, w.calibrate.proposals)
        np.testing.assert_array_equal(critic.p_accept_rows(rows), p)


def test_the_same_feedback_gives_the_same_critic() -> None:
    w = world()
    again = BoostedCritic.fit(w.evidence, w.fit.befores, w.fit.proposals, w.fit.accepted, PARAMS)
    pairs = (w.calibrate.befores, w.calibrate.proposals)
    np.testing.assert_array_equal(again.p_accept(*pairs), w.critic.p_accept(*pairs))


def test_a_critic_survives_saving_without_a_pickle(tmp_path: Path) -> None:
    w = world()
    w.critic.save(tmp_path)
    again = BoostedCritic.load(tmp_path)
    pairs = (w.calibrate.befores, w.calibrate.proposals)
    np.testing.assert_array_equal(again.p_accept(*pairs), w.critic.p_accept(*pairs))
    np.testing.assert_array_equal(again.cuts(20), w.critic.cuts(20))
    assert {path.suffix for path in tmp_path.iterdir()} == {".txt", ".json"}


@pytest.mark.parametrize(
    "name", ["critic.txt", "calibrator.json", "fit_scores.json", "evidence.json", "evidence_heads.json"]
)
@pytest.mark.parametrize("damage", ["missing", "cut short"])
def test_a_critic_with_a_damaged_file_is_refused(tmp_path: Path, name: str, damage: str) -> None:
    world().critic.save(tmp_path)
    if damage == "missing":
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_text((tmp_path / name).read_text()[:20])
    with pytest.raises(ModelError):
        BoostedCritic.load(tmp_path)


def test_the_cuts_are_quantiles_of_scores_that_no_booster_had_seen() -> None:
    w = world()
    cuts = w.critic.cuts(10)
    assert np.all(np.diff(cuts) < 0)
    seen = w.critic.p_accept(w.fit.befores, w.fit.proposals)
    assert not set(cuts) & set(seen)


def test_the_gain_of_all_evidence_sums_to_one() -> None:
    assert sum(world().critic.importances().values()) == pytest.approx(1)


@pytest.mark.parametrize("accepted", [np.ones, np.zeros])
def test_feedback_of_one_class_is_refused(accepted: object) -> None:
    w = world()
    with pytest.raises(ModelError, match="both accepted and corrected"):
        BoostedCritic.fit(w.evidence, w.fit.befores, w.fit.proposals, accepted(len(w.fit.befores)), PARAMS)  # type: ignore[operator]


@pytest.mark.parametrize("bad", [np.nan, 2.0, -1.0, 0.5])
def test_a_label_that_is_no_label_is_refused(bad: float) -> None:
    w = world()
    labels = w.fit.accepted.astype(float)
    labels[3] = bad
    with pytest.raises(ModelError, match="label 3"):
        BoostedCritic.fit(w.evidence, w.fit.befores, w.fit.proposals, labels, PARAMS)


def test_labels_and_proposals_must_be_equally_many() -> None:
    w = world()
    with pytest.raises(ModelError, match="one label a proposal"):
        BoostedCritic.fit(w.evidence, w.fit.befores, w.fit.proposals, w.fit.accepted[:-1], PARAMS)
    with pytest.raises(ModelError, match="one log a proposal"):
        BoostedCritic.fit(w.evidence, w.fit.befores, w.fit.proposals[:-1], w.fit.accepted, PARAMS)


def test_feedback_of_one_session_is_refused() -> None:
    w = world()
    own = [i for i, s in enumerate(w.fit.session_ids) if s == w.fit.session_ids[0]]
    with pytest.raises(ModelError, match="at least 2"):
        BoostedCritic.fit(
            w.evidence, [w.fit.befores[i] for i in own], [w.fit.proposals[i] for i in own], w.fit.accepted[own], PARAMS
        )


def test_a_critic_that_may_not_know_who_is_asked_does_not() -> None:
    w = world()
    params = PARAMS.model_copy(update={"operator_habits": False})
    blind = BoostedCritic.fit(w.evidence, w.fit.befores, w.fit.proposals, w.fit.accepted, params)
    others = [before.model_copy(update={"operator_id": "somebody else"}) for before in w.calibrate.befores]
    np.testing.assert_array_equal(
        blind.p_accept(w.calibrate.befores, w.calibrate.proposals), blind.p_accept(others, w.calibrate.proposals)
    )
    assert np.any(
        w.critic.p_accept(w.calibrate.befores, w.calibrate.proposals)
        != w.critic.p_accept(others, w.calibrate.proposals)
    )
