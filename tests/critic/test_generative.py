from __future__ import annotations

import numpy as np
import pytest
import torch
from small_policy import GENERATIVE, rows, untrained

from selective_autonomy.critic.cross_fitting import session_folds
from selective_autonomy.critic.generative import fit_verdict, judge
from selective_autonomy.critic.verdict_training import readings
from selective_autonomy.critic.verdicts import Branch, Verdict
from selective_autonomy.errors import ModelError
from selective_autonomy.evaluation.metrics import auroc
from selective_autonomy.policy.causal_lm.policy import CausalLMPolicy
from selective_autonomy.process.actions import Wait

CLOSE = 2e-4  # float32 sums in another order


def verdict(policy: CausalLMPolicy, layers: int = 1) -> Verdict:
    """As training begins, with rows large enough to be sure of something."""
    with policy.shared() as shared:
        made = Verdict.begin(shared.lm, layers, seed=0)
    made.rows_2d.mul_(50)
    return made


def alone(policy: CausalLMPolicy, made: Verdict, sessions: int = 4) -> np.ndarray:
    asked = rows(sessions)
    return np.array([judge(policy, made, [b], [p])[0] for b, p in zip(asked.befores, asked.proposals, strict=True)])


def test_a_batch_is_judged_as_each_proposal_alone() -> None:
    policy, asked = untrained(cache_sessions=0), rows(4)
    made = verdict(policy)
    together = judge(policy, made, asked.befores, asked.proposals)
    assert np.std(together) > 0.1
    np.testing.assert_allclose(together, alone(policy, made), atol=CLOSE)


def test_with_the_sessions_cache_it_judges_as_without() -> None:
    asked = rows(4)
    fresh, caching = untrained(cache_sessions=0), untrained(cache_sessions=8)
    made = verdict(fresh)
    cached = []
    for before, proposal in zip(asked.befores, asked.proposals, strict=True):
        caching.propose([before])  # as at serving: the policy reads the log first
        with caching.shared() as shared:
            log_T = readings(shared.prompter, [before], [proposal])[0].ids_T
            assert shared.cache.peek(log_T) is not None
        cached.append(judge(caching, made, [before], [proposal])[0])
    np.testing.assert_allclose(cached, alone(fresh, made), atol=CLOSE)


def test_judging_leaves_the_policy_and_its_cache_as_they_were() -> None:
    asked = rows(3)
    undisturbed, judged = untrained(cache_sessions=6), untrained(cache_sessions=7)
    made = verdict(judged)
    for before, proposal in zip(asked.befores, asked.proposals, strict=True):
        expected = undisturbed.propose([before])
        assert judged.propose([before]) == expected
        judge(judged, made, [before], [proposal])


def test_windows_of_a_session_that_does_not_fit_are_judged_as_each_proposal_alone() -> None:
    policy, asked = untrained(context=400, cache_sessions=0), rows(4)
    with policy.shared() as shared:
        assert len(readings(shared.prompter, asked.befores, asked.proposals)) > 4
    made = verdict(policy)
    np.testing.assert_allclose(judge(policy, made, asked.befores, asked.proposals), alone(policy, made), atol=CLOSE)


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_before_training_a_branch_is_read_as_the_policy_reads_it(layers: int) -> None:
    policy, asked = untrained(cache_sessions=0), rows(1)
    made = verdict(policy, layers)
    with policy.shared() as shared, torch.no_grad():
        reading = readings(shared.prompter, asked.befores[:1], asked.proposals[:1])[0]
        ids = torch.tensor([[*reading.ids_T.tolist(), *reading.branches[0].ids]])
        state = shared.lm.base_model(input_ids=ids).last_hidden_state[0, -1]
        expected = float((made.rows_2d[0] - made.rows_2d[1]) @ state)
        got = float(made.log_odds(shared.lm, shared.keys(reading.ids_T), reading.branches)[0])
    assert got == pytest.approx(expected, abs=CLOSE)


def test_a_branch_sees_neither_its_neighbours_nor_what_comes_after_its_cut() -> None:
    policy, asked = untrained(cache_sessions=0), rows(1)
    made = verdict(policy)
    with policy.shared() as shared, torch.no_grad():
        reading = readings(shared.prompter, asked.befores, asked.proposals)[0]
        other = reading.ids_T.copy()
        cut = len(other) // 2
        other[cut:] = other[0]
        branches = [Branch(cut, reading.branches[0].ids), Branch(len(other), reading.branches[-1].ids)]
        first, second = (made.log_odds(shared.lm, shared.keys(ids), branches) for ids in (reading.ids_T, other))
        assert float(first[0]) == pytest.approx(float(second[0]), abs=CLOSE)
        assert abs(float(first[1] - second[1])) > CLOSE


def test_the_verdict_learns_what_is_accepted_from_the_action_that_it_reads() -> None:
    fit, policy = rows(24), untrained(cache_sessions=0)
    longer = GENERATIVE.model_copy(update={"epochs": 12, "learning_rate": 1e-2})
    accepted = np.array([proposal.action.type == "submit_form" for proposal in fit.proposals])
    fold = session_folds(fit.session_ids, seed=0)
    _, raw = fit_verdict(policy, fit.befores, fit.proposals, accepted, fold, longer)
    assert auroc(raw, accepted) > 0.9  # of sessions that the scoring verdict had not seen


def test_the_policys_weights_are_not_trained() -> None:
    policy, fit = untrained(cache_sessions=0), rows(6)
    with policy.shared() as shared:
        before = {name: p.detach().clone() for name, p in shared.lm.named_parameters()}
    made, _ = fit_verdict(
        policy, fit.befores, fit.proposals, fit.accepted, session_folds(fit.session_ids, 0), GENERATIVE
    )
    with policy.shared() as shared:
        assert all(torch.equal(p, before[name]) and p.grad is None for name, p in shared.lm.named_parameters())
        assert any(not torch.equal(own, before[f"model.{name}"]) for name, own in made.own.items())
        assert not any("layers.0" in name or "embed" in name for name in made.own)


def test_more_layers_than_the_policy_has_are_refused() -> None:
    with untrained().shared() as shared, pytest.raises(ModelError, match="at most the policy's 2"):
        Verdict.begin(shared.lm, 3, seed=0)


def test_logs_and_proposals_must_be_equally_many() -> None:
    policy, asked = untrained(), rows(1)
    with pytest.raises(ModelError, match="one log a proposal"):
        judge(policy, verdict(policy), asked.befores, asked.proposals[:-1])


def test_a_log_without_any_event_is_judged() -> None:
    policy, asked = untrained(cache_sessions=0), rows(1)
    empty = asked.befores[0].model_copy(update={"events": ()})
    proposal = asked.proposals[0].model_copy(update={"action": Wait()})
    assert np.isfinite(judge(policy, verdict(policy), [empty], [proposal])[0])
