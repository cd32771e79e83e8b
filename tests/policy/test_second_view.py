"""A regression that joins the language model: how the two are put together, and where the second one keeps out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from parcel_process import PARCEL, do, say, session

from selective_autonomy.errors import ModelError
from selective_autonomy.params import CausalLMParams, SecondViewParams
from selective_autonomy.policy.baselines.regression import RegressionHeads
from selective_autonomy.policy.causal_lm.policy import CausalLMPolicy
from selective_autonomy.policy.causal_lm.training import train_causal_lm
from selective_autonomy.policy.second_view import SecondView
from selective_autonomy.process.actions import ClickControl, SendReply, SendTextToChat
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.screen import Choice, steps


@pytest.fixture(scope="module")
def params(tiny: CausalLMParams) -> CausalLMParams:
    update = {"score_heads": "schema", "epochs": 1, "second_view": SecondViewParams(weight=0.4, rounds=20)}
    return tiny.model_copy(update=update)


@pytest.fixture(scope="module")
def known(cases: list[Session]) -> list[Session]:
    """With steps of every procedure, so that all are known."""
    looked = session(say("where is it?"), do(SendReply(template="hello")), do(ClickControl(control="open map")))
    return [*cases, *(looked.model_copy(update={"session_id": f"looked-{i}"}) for i in range(4))]


@pytest.fixture(scope="module")
def folder(params: CausalLMParams, known: list[Session], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("second_view")
    train_causal_lm(known, PARCEL, params, out / "with")
    train_causal_lm(known, PARCEL, params.model_copy(update={"second_view": None}), out / "without")
    return out


def test_a_proposal_has_the_weighted_mean_of_both_views(folder: Path, cases: list[Session]) -> None:
    both, first = (CausalLMPolicy.load(folder / name, cache_sessions=0) for name in ("with", "without"))
    second = RegressionHeads.load(folder / "with", PARCEL)
    for step in steps(cases[0]):
        (joined,), (alone,), (ranked,) = (
            both.propose([step.before]),
            first.propose([step.before]),
            second.rank_next([step.before]),
        )
        p_first = {a.head: a.p for a in alone.alternatives}
        p_second = dict(zip(ranked.names, ranked.p_A, strict=True))
        shared = [a for a in joined.alternatives if a.head in p_first]
        assert len(shared) > 2
        for a in shared:
            assert a.p == pytest.approx(0.6 * p_first[a.head] + 0.4 * p_second[a.head], abs=1e-5)


def test_replay_cached_and_batched_proposals_are_one(folder: Path, cases: list[Session]) -> None:
    plain, cached = (CausalLMPolicy.load(folder / "with", cache_sessions=size) for size in (0, 4))
    befores = [step.before for step in steps(cases[1])]
    ways = [
        plain.replay(cases[1]),
        plain.propose(befores),
        [cached.propose([before])[0] for before in befores],
    ]
    for proposals in zip(*ways, strict=True):
        assert len({proposal.action.model_dump_json() for proposal in proposals}) == 1
        assert [proposal.p_head for proposal in proposals] == pytest.approx([proposals[0].p_head] * 3, abs=1e-5)


def test_it_says_nothing_where_a_procedure_is_unknown(folder: Path, cases: list[Session]) -> None:
    second = SecondView(RegressionHeads.load(folder / "with", PARCEL), 0.4)
    befores = [step.before for step in steps(cases[0])][:2]
    legal = [ranked.names for ranked in second.heads.rank_next(befores)]
    p_NK = np.full((2, max(map(len, legal)) + 1), 0.25)
    joined = second.join(befores, legal, p_NK, np.array([True, False]))
    assert joined[1].tolist() == p_NK[1].tolist()
    assert joined[0, : len(legal[0])].tolist() != p_NK[0, : len(legal[0])].tolist()
    assert joined[0, len(legal[0]) :].tolist() == p_NK[0, len(legal[0]) :].tolist()
    assert second.join(befores, legal, p_NK, np.array([False, False])).tolist() == p_NK.tolist()


def test_it_learns_the_chosen_steps_alone(params: CausalLMParams, tmp_path: Path) -> None:
    talk = [
        session(
            say(f"hello {number}"),
            do(SendReply(template="hello")),
            say("and now"),
            do(SendTextToChat(text="Done, sorry!") if number % 2 else ClickControl(control="open map")),
            session_id=f"s{number}",
        )
        for number in range(8)
    ]
    last: Choice = {log.session_id: frozenset({3}) for log in talk}
    train_causal_lm(talk, PARCEL, params, tmp_path, choice=last)
    (ranked,) = RegressionHeads.load(tmp_path, PARCEL).rank_next([talk[0].before(1)])
    assert dict(zip(ranked.names, ranked.p_A, strict=True))["send_reply:hello"] < 1e-6


def test_a_policy_without_its_second_view_is_refused(
    params: CausalLMParams, cases: list[Session], tmp_path: Path
) -> None:
    train_causal_lm(cases, PARCEL, params, tmp_path)
    (tmp_path / "regression.npz").unlink()
    with pytest.raises(ModelError, match="regression"):
        CausalLMPolicy.load(tmp_path)
