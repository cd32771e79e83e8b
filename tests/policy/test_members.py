"""Policies whose heads are scored by their schema, several seeds of them averaged: trained, resumed, served."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from parcel_process import PARCEL, do, say, session, sessions
from safetensors.torch import load_file

from selective_autonomy.errors import IllegalAction, ModelError
from selective_autonomy.params import CausalLMParams, PreferenceParams
from selective_autonomy.policy.card import read_card
from selective_autonomy.policy.causal_lm.policy import CausalLMPolicy
from selective_autonomy.policy.causal_lm.preferences import optimise_preferences
from selective_autonomy.policy.causal_lm.training import train_causal_lm
from selective_autonomy.policy.protocol import Proposal
from selective_autonomy.policy.training import TrainingProgress, TrainingReport
from selective_autonomy.process.actions import ClickControl, SendReply, SendTextToChat, SubmitForm
from selective_autonomy.process.legality import check_action
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.screen import derive_screen, steps

_FILES = ("model.safetensors", "scorer.safetensors")


class _Killed(BaseException):
    """The process went away."""


@pytest.fixture(scope="module")
def by_schema(tiny: CausalLMParams) -> CausalLMParams:
    return tiny.model_copy(
        update={"score_heads": "schema", "members": 2, "unnamed": 0.3, "dropout": 0.1, "epochs": 1, "batch_tokens": 800}
    )


@pytest.fixture(scope="module")
def whole(by_schema: CausalLMParams, cases: list[Session], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("members") / "policy"
    train_causal_lm(cases, PARCEL, by_schema, out)
    return out


@pytest.fixture(scope="module")
def policy(whole: Path) -> CausalLMPolicy:
    return CausalLMPolicy.load(whole, cache_sessions=0)


def _report(folder: Path) -> TrainingReport:
    return TrainingReport.model_validate(read_card(folder)["training"])


def _assert_equal_models(one: Path, two: Path) -> None:
    for file in _FILES:
        first, second = load_file(one / file), load_file(two / file)
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first), file


def _assert_same(one: Proposal, two: Proposal) -> None:
    assert one.action == two.action
    assert [a.head for a in one.alternatives] == [a.head for a in two.alternatives]
    assert [a.p for a in one.alternatives] == pytest.approx([a.p for a in two.alternatives], abs=1e-4)
    assert one.log_prob == pytest.approx(two.log_prob, abs=1e-3)
    assert [a.p for a in one.arguments] == pytest.approx([a.p for a in two.arguments], abs=1e-4)


@pytest.mark.parametrize("member", [0, 1])
def test_a_killed_run_resumes_to_the_very_same_policy_whichever_member_was_trained(
    member: int,
    cases: list[Session],
    by_schema: CausalLMParams,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("selective_autonomy.policy.causal_lm.training._CHECKPOINT_STEPS", 2)
    each = _report(whole).steps // 2

    def killed(progress: TrainingProgress) -> None:
        if progress.step == member * each + 3:
            raise _Killed

    with pytest.raises(_Killed):
        train_causal_lm(cases, PARCEL, by_schema, tmp_path, on_step=killed)
    assert not (tmp_path / "policy.json").exists()
    assert (tmp_path / "member.json").exists() == (member == 1)
    went_on: list[TrainingProgress] = []
    resumed = train_causal_lm(cases, PARCEL, by_schema, tmp_path, on_step=went_on.append)
    assert [progress.step for progress in went_on] == list(range(member * each + 3, 2 * each + 1))
    assert {progress.total for progress in went_on} == {2 * each}
    assert resumed.losses == _report(whole).losses
    _assert_equal_models(tmp_path, whole)
    _assert_equal_models(tmp_path / "member-1", whole / "member-1")
    assert not list(tmp_path.rglob("member.json"))
    assert not list(tmp_path.rglob("checkpoint.pt"))


def test_a_finished_member_of_another_run_is_trained_again(
    cases: list[Session], by_schema: CausalLMParams, whole: Path, tmp_path: Path
) -> None:
    each = _report(whole).steps // 2

    def killed(progress: TrainingProgress) -> None:
        if progress.step > each:
            raise _Killed

    with pytest.raises(_Killed):
        train_causal_lm(cases[:-1], PARCEL, by_schema, tmp_path, on_step=killed)
    assert (tmp_path / "member.json").exists()
    train_causal_lm(cases, PARCEL, by_schema, tmp_path)
    _assert_equal_models(tmp_path, whole)


def test_each_member_is_the_policy_that_its_seed_alone_would_give(
    cases: list[Session], by_schema: CausalLMParams, whole: Path, policy: CausalLMPolicy, tmp_path: Path
) -> None:
    reports, alone = [], []
    for member, folder in enumerate((whole, whole / "member-1")):
        out = tmp_path / str(member)
        params = by_schema.model_copy(update={"members": 1, "seed": by_schema.seed + member})
        reports.append(train_causal_lm(cases, PARCEL, params, out))
        _assert_equal_models(out, folder)
        alone.append(CausalLMPolicy.load(out))
    together = _report(whole)
    assert together.losses == tuple(loss for report in reports for loss in report.losses)
    for what in ("steps", "tokens", "parameters"):
        assert getattr(together, what) == sum(getattr(report, what) for report in reports)
    assert (together.sessions, together.examples) == (reports[0].sessions, reports[0].examples)
    before = session(say("Hi, my parcel P123 is lost!"), do(SendReply(template="hello")), say("thanks"))
    (proposal,), *single = (one.propose([before]) for one in (policy, *alone))
    p = [{a.head: a.p for a in proposals[0].alternatives} for proposals in single]
    both = [a for a in proposal.alternatives if all(a.head in one for one in p)]
    assert len(both) > 3
    for alternative in both:
        assert alternative.p == pytest.approx(sum(one[alternative.head] for one in p) / 2, abs=1e-5)


@given(sessions)
@settings(deadline=None, max_examples=12)
def test_replay_gives_what_propose_gives_before_every_step(policy: CausalLMPolicy, log: Session) -> None:
    logged = list(steps(log))
    for proposal, step in zip(policy.replay(log), logged, strict=True):
        _assert_same(proposal, policy.propose([step.before])[0])


def test_a_batch_gives_what_each_session_gives_alone(policy: CausalLMPolicy, cases: list[Session]) -> None:
    logs = [cases[0].before(3), cases[1].before(5), session(), cases[2].before(1)]
    for together, log in zip(policy.propose(logs), logs, strict=True):
        _assert_same(together, policy.propose([log])[0])


def test_a_cached_log_that_grows_gives_what_no_cache_gives_free_text_included(
    whole: Path, cases: list[Session], by_schema: CausalLMParams, tmp_path: Path
) -> None:
    """Of two logs in turn, so that each meets the layers that another one's proposal was written into."""
    talk = [
        session(
            *(event for i in range(4) for event in (say(f"well, {name} {i}"), do(SendTextToChat(text="Done, sorry!")))),
            session_id=name,
        )
        for name in ("Ann", "Bob")
    ]
    train_causal_lm(talk * 4, PARCEL, by_schema.model_copy(update={"epochs": 3}), tmp_path)
    for folder, logs in ((tmp_path, talk), (whole, cases[:2])):
        cached, plain = CausalLMPolicy.load(folder, cache_sessions=2), CausalLMPolicy.load(folder, cache_sessions=0)
        texts = 0
        for length in range(len(logs[0].events)):
            for log in logs:
                (proposal,) = cached.propose([log.before(length)])
                _assert_same(proposal, plain.propose([log.before(length)])[0])
                texts += proposal.action.type == "send_text_to_chat"
        assert folder is whole or texts > 4


@pytest.fixture(scope="module")
def tracker(by_schema: CausalLMParams, tmp_path_factory: pytest.TempPathFactory) -> CausalLMPolicy:
    """A policy that never saw a refund."""
    out = tmp_path_factory.mktemp("tracker")
    train = [
        session(
            say(f"where is P{100 + number}?"),
            do(SendReply(template="hello")),
            do(ClickControl(control="open map")),
            do(SendReply(template="found", slots={"place": "Oslo"})),
            session_id=f"track-{number}",
            procedures=("track",),
        )
        for number in range(8)
    ]
    train_causal_lm(train, PARCEL, by_schema, out)
    return CausalLMPolicy.load(out, cache_sessions=0)


@given(sessions)
@settings(deadline=None, max_examples=12)
def test_a_procedure_that_was_never_trained_on_gets_legal_actions(tracker: CausalLMPolicy, log: Session) -> None:
    events = tuple(e for e in log.events if e.kind != "operator_action")
    unseen = log.model_copy(update={"procedures": ("refund",), "events": events})
    (proposal,) = tracker.propose([unseen])
    check_action(PARCEL, derive_screen(unseen), proposal.action)


def test_a_procedure_is_known_by_what_training_saw_of_it(tracker: CausalLMPolicy, policy: CausalLMPolicy) -> None:
    assert tracker._knows(("track",))
    assert not tracker._knows(("refund",))
    assert policy._knows(("refund",))
    assert not policy._knows(("track", "refund"))  # nobody in its logs did what is done for a track alone


def test_where_no_head_can_be_filled_there_is_no_proposal(tiny: CausalLMParams, tmp_path: Path) -> None:
    only_forms = PARCEL.model_copy(update={"actions": {"submit_form": PARCEL.tier("submit_form")}})
    params = tiny.model_copy(update={"score_heads": "schema", "values": "ranked", "trees": 5, "epochs": 1})
    train = [
        session(
            say(f"P{100 + number}"),
            do(SubmitForm(form="lookup", values={"number": f"P{100 + number}"})),
            session_id=f"s{number}",
            procedures=("track",),
        )
        for number in range(6)
    ]
    train_causal_lm(train, only_forms, params, tmp_path)
    policy = CausalLMPolicy.load(tmp_path)
    (proposal,) = policy.propose([session(say("P123"), procedures=("track",))])
    assert proposal.action == SubmitForm(form="lookup", values={"number": "P123"})
    with pytest.raises(IllegalAction, match="none of its 1 legal heads can be filled"):
        policy.propose([session(say("hello"), procedures=("track",))])


def test_preferences_are_not_learned_by_a_policy_without_a_token_a_head(whole: Path, tmp_path: Path) -> None:
    params = PreferenceParams(loss="sigmoid", learning_rate=1e-4, seed=1)
    with pytest.raises(ModelError, match="expected markers and one"):
        optimise_preferences(whole, [], params, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_policy_that_lacks_a_member_is_refused(whole: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(whole, tmp_path / "copy")
    shutil.rmtree(copy / "member-1")
    with pytest.raises(ModelError, match="member-1"):
        CausalLMPolicy.load(copy)
