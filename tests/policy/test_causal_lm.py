from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from parcel_process import PARCEL, do, say, session, sessions

from selective_autonomy.contract import Contract
from selective_autonomy.errors import ContractError, IllegalAction, ModelError
from selective_autonomy.params import CausalLMParams
from selective_autonomy.policy.causal_lm.base import make_base
from selective_autonomy.policy.causal_lm.model import PolicyModel
from selective_autonomy.policy.causal_lm.policy import CausalLMPolicy
from selective_autonomy.policy.causal_lm.training import train_causal_lm
from selective_autonomy.policy.protocol import CountsTokens, Proposal
from selective_autonomy.process.actions import CloseChat, Wait, head
from selective_autonomy.process.legality import check_action, legal_heads
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.screen import derive_screen, steps

_CONTRACT = Contract(PARCEL)


def _random_policy(seed: int, *, cache_sessions: int = 8, context: int = 1024) -> CausalLMPolicy:
    """An untrained model with large random weights: sure of itself, and wrong in every way."""
    params = CausalLMParams(
        hidden=16, layers=1, heads=2, vocabulary=300, context=context, epochs=1, batch_tokens=1, learning_rate=1,
        warmup=0, weight_decay=0, lora_rank=0, seed=seed,
    )  # fmt: skip
    torch.manual_seed(seed)
    model, tokenizer = make_base(params, _CONTRACT, ["hello my parcel P123 is lost"])
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(50)
    return CausalLMPolicy(
        PARCEL, [PolicyModel(model.eval())], tokenizer, context=context, cache_sessions=cache_sessions
    )


_RANDOM = [_random_policy(seed) for seed in range(6)]


def _assert_same(one: Proposal, two: Proposal) -> None:
    assert one.action == two.action
    assert [a.head for a in one.alternatives] == [a.head for a in two.alternatives]
    assert [a.p for a in one.alternatives] == pytest.approx([a.p for a in two.alternatives], abs=1e-4)
    assert one.log_prob == pytest.approx(two.log_prob, abs=1e-3)
    assert one.entropy == pytest.approx(two.entropy, abs=1e-3)
    assert one.legal_count == two.legal_count
    assert [(a.field, a.copied) for a in one.arguments] == [(a.field, a.copied) for a in two.arguments]
    assert [a.p for a in one.arguments] == pytest.approx([a.p for a in two.arguments], abs=1e-4)


@given(sessions, st.sampled_from(_RANDOM))
@settings(deadline=None, max_examples=60)
def test_an_untrained_model_proposes_legal_actions_only(log: Session, policy: CausalLMPolicy) -> None:
    (proposal,) = policy.propose([log])
    screen = derive_screen(log)
    check_action(PARCEL, screen, proposal.action)
    legal = legal_heads(PARCEL, screen)
    assert {a.head for a in proposal.alternatives} <= set(legal)
    assert proposal.alternatives[0].head == head(proposal.action)
    assert proposal.legal_count <= len(legal)
    assert len(proposal.alternatives) == min(8, proposal.legal_count)
    assert sum(a.p for a in proposal.alternatives) <= 1 + 1e-9
    assert [a.p for a in proposal.alternatives] == sorted((a.p for a in proposal.alternatives), reverse=True)


@given(sessions, st.sampled_from(_RANDOM))
@settings(deadline=None, max_examples=25)
def test_replay_gives_what_propose_gives_before_every_step(log: Session, policy: CausalLMPolicy) -> None:
    logged = list(steps(log))
    replayed = policy.replay(log)
    assert len(replayed) == len(logged)
    for proposal, step in zip(replayed, logged, strict=True):
        _assert_same(proposal, policy.propose([step.before])[0])


def test_replay_gives_what_propose_gives_when_the_context_is_exceeded() -> None:
    policy = _random_policy(1, context=420)
    log = session(*(event for i in range(40) for event in (say(f"again, number {i} P{100 + i}"), do(Wait()))))
    for proposal, step in zip(policy.replay(log), steps(log), strict=True):
        _assert_same(proposal, policy.propose([step.before])[0])


@given(st.lists(sessions, min_size=2, max_size=4), st.sampled_from(_RANDOM))
@settings(deadline=None, max_examples=20)
def test_a_batch_gives_what_each_session_gives_alone(logs: list[Session], policy: CausalLMPolicy) -> None:
    for together, log in zip(policy.propose(logs), logs, strict=True):
        _assert_same(together, policy.propose([log])[0])


def test_an_empty_batch_proposes_nothing() -> None:
    assert _RANDOM[0].propose([]) == []


@given(sessions)
@settings(deadline=None, max_examples=20)
def test_a_cached_log_that_grows_gives_what_no_cache_gives(log: Session) -> None:
    cached, plain = _random_policy(2, cache_sessions=2), _random_policy(2, cache_sessions=0)
    for length in range(len(log.events) + 1):
        before = log.before(length)
        _assert_same(cached.propose([before])[0], plain.propose([before])[0])
    _assert_same(cached.propose([log.before(1)])[0], plain.propose([log.before(1)])[0])


def test_a_growing_log_pays_for_new_tokens_only() -> None:
    policy = _random_policy(3)
    read: list[int] = []
    policy._model.lm.get_input_embeddings().register_forward_hook(lambda _, args, __: read.append(args[0].numel()))
    log = session(*(say("hello, where is my parcel P123?") for _ in range(10)))
    policy.propose([log.before(9)])
    first = read[0]
    read.clear()
    policy.propose([log])
    assert read[0] < first / 5


def test_the_tokens_read_are_those_of_one_pass_up_to_the_last_step() -> None:
    policy, log = _RANDOM[0], session(say("hello"), do(Wait()), say("is it lost?"), do(Wait()), say("thanks"))
    last = list(steps(log))[-1]
    assert isinstance(policy, CountsTokens)
    read = policy.tokens_read(log)
    assert read == policy.tokens_read(last.before.with_events(log.events[last.position]))
    assert policy.tokens_read(last.before) < read
    assert policy.tokens_read(log.before(1)) == 0


def test_the_cache_holds_a_bounded_number_of_sessions() -> None:
    policy = _random_policy(4, cache_sessions=3)
    for number in range(6):
        policy.propose([session(say(f"hello {number}"))])
    assert len(policy._cache) == 3


def test_threads_get_what_one_caller_gets() -> None:
    policy = _random_policy(5, cache_sessions=2)
    logs = [session(say(f"hello {number}, P12{number}")) for number in range(6)]
    expected = [policy.propose([log])[0] for log in logs]
    got: dict[int, Proposal] = {}
    threads = [
        threading.Thread(target=lambda i=i: got.update({i: policy.propose([logs[i]])[0]})) for i in range(len(logs))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, proposal in enumerate(expected):
        _assert_same(got[number], proposal)


def test_a_form_whose_required_field_has_no_value_is_not_among_the_alternatives() -> None:
    policy = _RANDOM[0]
    without, with_number = session(say("hello")), session(say("hello P123"))
    assert policy.propose([with_number])[0].legal_count == policy.propose([without])[0].legal_count + 1


def test_a_closed_case_allows_no_proposal() -> None:
    with pytest.raises(IllegalAction, match="a closed case"):
        _RANDOM[0].propose([session(say("hello"), do(CloseChat(timer=True)))])


def test_an_unknown_procedure_allows_no_proposal() -> None:
    with pytest.raises(IllegalAction, match="no procedure"):
        _RANDOM[0].propose([session(say("hello"), procedures=("paint",))])


def test_a_session_of_another_process_is_refused() -> None:
    with pytest.raises(ContractError, match="is of process"):
        _RANDOM[0].propose([session(say("hello")).model_copy(update={"process_id": "desk"})])


def test_a_saved_policy_is_self_contained_and_bound_to_its_contract(
    cases: list[Session], tiny: CausalLMParams, tmp_path: Path
) -> None:
    out = tmp_path / "policy"
    train_causal_lm(cases[:6], PARCEL, tiny.model_copy(update={"epochs": 1}), out)
    moved = out.rename(tmp_path / "moved")
    first = CausalLMPolicy.load(moved).replay(cases[7])
    again = CausalLMPolicy.load(moved).replay(cases[7])
    assert first == again

    card = json.loads((moved / "policy.json").read_text())
    (moved / "policy.json").write_text(json.dumps({**card, "contract_fingerprint": "0" * 64}))
    with pytest.raises(ContractError, match="train it again"):
        CausalLMPolicy.load(moved)
    (moved / "policy.json").write_text(json.dumps(card))
    schema = moved / "process.yaml"
    schema.write_text(schema.read_text().replace("second line", "third line"))
    with pytest.raises(ContractError, match="train it again"):
        CausalLMPolicy.load(moved)


def test_a_folder_without_a_policy_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no trained policy"):
        CausalLMPolicy.load(tmp_path)
