"""The cheap policies: one shape, saved as plain data, legal, and each better than the one below it."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from parcel_process import PARCEL

from selective_autonomy.errors import ModelError
from selective_autonomy.params import MajorityParams, NgramParams, RegressionParams
from selective_autonomy.policy.baselines.policies import Baseline, BaselineParams
from selective_autonomy.policy.kinds import load_policy, train_policy
from selective_autonomy.process.actions import head
from selective_autonomy.process.legality import check_action
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.screen import derive_screen, steps

KINDS: list[BaselineParams] = [MajorityParams(), NgramParams(), RegressionParams()]
kinds = pytest.mark.parametrize("params", KINDS, ids=[params.kind for params in KINDS])


@kinds
def test_a_cheap_policy_is_trained_saved_and_loaded_by_its_name(
    params: BaselineParams, cases: list[Session], tmp_path: Path
) -> None:
    report = train_policy(cases, PARCEL, params, tmp_path)
    assert report.sessions == len(cases)
    policy, fitted = load_policy(tmp_path), Baseline.fit(cases, PARCEL, params)
    for case in cases[:6]:
        befores = [step.before for step in steps(case)]
        proposals = policy.replay(case)
        assert policy.propose(befores) == proposals
        assert [p.action for p in fitted.replay(case)] == [p.action for p in proposals]
        for before, proposal in zip(befores, proposals, strict=True):
            check_action(PARCEL, derive_screen(before), proposal.action)


def test_each_baseline_beats_the_one_below_it_on_cases_it_was_shown(cases: list[Session]) -> None:
    shares = []
    for params in KINDS:
        policy = Baseline.fit(cases, PARCEL, params)
        right = [
            head(proposal.action) == head(step.action)
            for case in cases
            for proposal, step in zip(policy.replay(case), steps(case), strict=True)
        ]
        shares.append(np.mean(right))
    assert shares[0] < shares[1] < shares[2]


def test_the_majority_is_that_of_the_open_procedures_and_else_of_all_cases(cases: list[Session]) -> None:
    refunds = [case.model_copy(update={"procedures": ("refund",)}) for case in cases]
    greeted = [case.model_copy(update={"procedures": ("track",), "events": case.events[:2]}) for case in cases]
    policy = Baseline.fit([*refunds, *greeted], PARCEL, MajorityParams())
    (of_track,) = policy.heads.rank_next([greeted[0].before(1)])
    (of_refund,) = policy.heads.rank_next([refunds[0].before(1)])
    (of_none_seen,) = policy.heads.rank_next([cases[0].before(1)])
    assert of_track.names[0] == "send_reply:hello"
    assert of_track.p_A[0] > of_none_seen.p_A[0] > of_refund.p_A[of_refund.names.index("send_reply:hello")]


@kinds
def test_a_damaged_folder_is_refused(params: BaselineParams, cases: list[Session], tmp_path: Path) -> None:
    train_policy(cases, PARCEL, params, tmp_path)
    for name in sorted(path.name for path in tmp_path.iterdir() if path.name != "process.yaml"):
        whole = (tmp_path / name).read_bytes()
        for broken in (b"", whole[: len(whole) // 2], b"[1]", b'{"version": 0}'):
            (tmp_path / name).write_bytes(broken)
            with pytest.raises(ModelError, match=r"train|fit"):
                load_policy(tmp_path)
        (tmp_path / name).write_bytes(whole)
    load_policy(tmp_path)


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("never"),)


def test_loading_a_regression_never_unpickles(
    cases: list[Session], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    train_policy(cases, PARCEL, RegressionParams(), tmp_path)
    with np.load(tmp_path / "regression.npz") as numbers:
        content = dict(numbers)
    np.savez(tmp_path / "regression.npz", **content | {"bias_A": np.array([Bomb()], dtype=object)}, allow_pickle=True)
    with pytest.raises(ModelError, match="train"):
        load_policy(tmp_path)
    (tmp_path / "regression.npz").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ModelError, match="train"):
        load_policy(tmp_path)
    assert not (tmp_path / "never").exists()


def test_a_regression_whose_numbers_do_not_fit_its_names_is_refused(cases: list[Session], tmp_path: Path) -> None:
    train_policy(cases, PARCEL, RegressionParams(), tmp_path)
    names = json.loads((tmp_path / "regression.json").read_text())
    (tmp_path / "regression.json").write_text(json.dumps(names | {"heads": names["heads"][1:]}))
    with pytest.raises(ModelError, match="do not fit the names"):
        load_policy(tmp_path)


def test_a_regression_on_two_heads_ranks_both_sides(cases: list[Session]) -> None:
    from selective_autonomy.policy.baselines.regression import RegressionHeads

    two = [case.model_copy(update={"events": case.events[:4]}) for case in cases]
    model = RegressionHeads.fit(two, PARCEL)
    first, second = model.rank_steps(two[1])
    assert (first.names[0], second.names[0]) == ("send_reply:hello", "submit_form:lookup")
    assert first.p_A.sum() == pytest.approx(1)
