"""Corrections: found in logs, learned at their own steps alone, and turned into preference pairs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from parcel_process import HOSTILE, PARCEL, START, do, say, session

from selective_autonomy.contract import Contract
from selective_autonomy.errors import ContractError, ModelError, SplitError
from selective_autonomy.params import CausalLMParams, NgramParams, PreferenceParams
from selective_autonomy.policy.causal_lm.base import load_model, make_base
from selective_autonomy.policy.causal_lm.examples import make_batch, make_examples
from selective_autonomy.policy.causal_lm.loss import StepLoss
from selective_autonomy.policy.causal_lm.policy import CausalLMPolicy
from selective_autonomy.policy.causal_lm.preferences import Pair, make_pairs, optimise_preferences
from selective_autonomy.policy.causal_lm.prompts import Prompter
from selective_autonomy.policy.causal_lm.tokenizer import Encoder
from selective_autonomy.policy.causal_lm.training import train_causal_lm
from selective_autonomy.policy.corrections import (
    Correction,
    corrected_steps,
    logged_corrections,
    replayed_corrections,
)
from selective_autonomy.policy.kinds import train_policy
from selective_autonomy.policy.scripted import certain
from selective_autonomy.policy.training import TrainingProgress
from selective_autonomy.process.actions import SendReply, SendTextToChat, SubmitForm, UIAction, Wait
from selective_autonomy.traces.schema import CopilotFeedback, ProposalShown, Session, Verdict
from selective_autonomy.traces.screen import steps

HELLO = SendReply(template="hello")
PREFER = PreferenceParams(loss="sigmoid", learning_rate=2e-3, epochs=4, batch_pairs=4, seed=5)


class _Killed(BaseException):
    """The process went away."""


def _positions(log: Session) -> list[int]:
    return [step.position for step in steps(log)]


def _corrections(cases: list[Session], rejected: UIAction, index: int) -> list[Correction]:
    """A made-up rejection at the same step of every case."""
    return [Correction(list(steps(case))[index], rejected) for case in cases]


def _prompter(tiny: CausalLMParams) -> Prompter:
    torch.manual_seed(0)
    contract = Contract(PARCEL)
    _, tokenizer = make_base(tiny, contract, ["hello my parcel is lost"])
    return Prompter(contract, Encoder(contract, tokenizer), context=tiny.context)


def test_steps_where_the_operator_did_something_else_are_corrections(cases: list[Session]) -> None:
    said = [HELLO, Wait(), SubmitForm(form="refund", values={}), SendTextToChat(text="Hm.")]
    early = [certain(action) for action in said]
    found = list(replayed_corrections(cases[2], early))
    assert [correction.step.index for correction in found] == [1, 2]
    assert [correction.step.action.type for correction in found] == ["submit_form", "submit_form"]
    assert found[0].rejected == Wait()
    tool = list(replayed_corrections(cases[2], early, "tool"))
    assert [correction.step.index for correction in tool] == [1]


def test_a_replay_of_another_session_is_no_evidence(cases: list[Session]) -> None:
    with pytest.raises(ContractError, match="one a step"):
        list(replayed_corrections(cases[2], [certain(HELLO)] * 3))


def _copilot_log(verdict: Verdict) -> Session:
    proposal = ProposalShown(at=START, proposal_id="p1", action=Wait())
    answer = CopilotFeedback(at=START, proposal_id="p1", verdict=verdict)
    return session(say("hello"), proposal, answer, do(HELLO), say("and?"), do(Wait()))


def test_a_copilot_log_holds_its_corrections() -> None:
    (correction,) = logged_corrections(_copilot_log("correct"))
    assert (correction.step.position, correction.step.action, correction.rejected) == (3, HELLO, Wait())
    assert list(logged_corrections(_copilot_log("accept"))) == []


def test_only_corrected_steps_have_loss(cases: list[Session], tiny: CausalLMParams) -> None:
    prompter = _prompter(tiny)
    logs, mixed = cases[:2], cases[2]
    choice = corrected_steps(_corrections([mixed], Wait(), 1))
    examples = make_examples([*logs, mixed], prompter, context=1024, choice=choice).examples
    decode = prompter.encoder.tokenizer.decode
    learned = [decode([example.ids[position] for position in example.learned]) for example in examples]
    actions = [[prompter.contract.action_text(step.action) for step in steps(case)] for case in [*logs, mixed]]
    assert learned == ["".join(actions[0]), "".join(actions[1]), actions[2][1]]


def test_a_session_without_a_corrected_step_is_left_out(cases: list[Session], tiny: CausalLMParams) -> None:
    choice = {cases[0].session_id: frozenset[int]()}
    examples = make_examples(cases[:2], _prompter(tiny), context=1024, choice=choice).examples
    assert len(examples) == 1


def test_what_is_usual_and_copied_is_learned_from_chosen_steps_only(
    cases: list[Session], tiny: CausalLMParams, tmp_path: Path
) -> None:
    short = tiny.model_copy(update={"epochs": 1})
    train_causal_lm(cases, PARCEL, short, tmp_path / "all")
    first = {case.session_id: frozenset(_positions(case)[:1]) for case in cases}
    train_causal_lm(cases, PARCEL, short, tmp_path / "first", choice=first)
    habits = [(tmp_path / name / "copy_habits.json").read_text() for name in ("all", "first")]
    assert "lookup number" in habits[0]
    assert habits[1] == "{}"


def test_a_killed_run_on_a_mix_resumes_to_the_same_policy_and_no_other_mix_continues_it(
    cases: list[Session], tiny: CausalLMParams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("selective_autonomy.policy.causal_lm.training._CHECKPOINT_STEPS", 2)
    choice = corrected_steps(_corrections(cases[12:], Wait(), 2))
    whole = train_causal_lm(cases, PARCEL, tiny, tmp_path / "whole", choice=choice)

    def killed_after_three(progress: TrainingProgress) -> None:
        if progress.step == 3:
            raise _Killed

    for name in ("same", "other"):
        with pytest.raises(_Killed):
            train_causal_lm(cases, PARCEL, tiny, tmp_path / name, choice=choice, on_step=killed_after_three)
    resumed = train_causal_lm(cases, PARCEL, tiny, tmp_path / "same", choice=choice)
    assert (resumed.resumed_at, resumed.losses) == (2, whole.losses)
    assert train_causal_lm(cases, PARCEL, tiny, tmp_path / "other").resumed_at == 0


def test_the_loss_is_a_plain_sum_unless_it_is_told_otherwise() -> None:
    logits, targets = torch.randn(7, 11), torch.arange(7)
    loss = StepLoss(torch.tensor([1, 3]))(logits, targets, torch.ones(7))
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(logits, targets, reduction="sum"))


def test_smoothing_prefers_a_spread_over_heads_and_leaves_arguments_alone() -> None:
    heads = torch.tensor([0, 1])
    smoothed, plain = StepLoss(heads, smoothing=0.2), StepLoss(heads)
    sure = torch.tensor([[9.0, 0.0, 0.0, 0.0]])
    shared = torch.tensor([[3.0, 1.0, -9.0, -9.0]])
    elsewhere = torch.tensor([[3.0, -9.0, 1.0, -9.0]])
    one = torch.ones(1)
    head, argument = torch.tensor([0]), torch.tensor([2])
    assert smoothed(shared, head, one) < smoothed(sure, head, one)
    assert smoothed(shared, head, one) < smoothed(elsewhere, head, one)
    torch.testing.assert_close(smoothed(sure, argument, one), plain(sure, argument, one))


def test_action_types_count_by_their_weight(cases: list[Session], tiny: CausalLMParams) -> None:
    prompter = _prompter(tiny)
    (example,) = make_examples([cases[0]], prompter, context=1024, action_weights={"submit_form": 3.0}).examples
    by_token = dict(zip(example.learned, example.weights, strict=True))
    (window,) = prompter.encode(cases[0]).windows
    for prompt, step in zip(window.prompts, steps(cases[0]), strict=True):
        expected = 3.0 if step.action.type == "submit_form" else 1.0
        assert {by_token[position] for position in range(prompt.start + 1, prompt.end)} == {expected}
    batch = make_batch([example], pad_id=0, device="cpu")
    logits = torch.randn(len(batch.targets), 400)
    weighted = StepLoss(torch.tensor([0]))(logits, batch.targets, batch.weights)
    per_token = torch.nn.functional.cross_entropy(logits, batch.targets, reduction="none")
    torch.testing.assert_close(weighted, (per_token * batch.weights).sum())


def test_a_pair_has_the_prompt_of_training_and_markers_stay_markers(cases: list[Session], tiny: CausalLMParams) -> None:
    prompter = _prompter(tiny)
    hostile = next(case for case in cases if HOSTILE in {getattr(event, "text", "") for event in case.events})
    (pair,) = make_pairs(_corrections([hostile], Wait(), 3), prompter, context=1024)
    step = list(steps(hostile))[3]
    open_log = prompter.encode(step.before).windows[-1].ids
    assert pair.prompt_ids == (*open_log, prompter.operator_id)
    decode = prompter.encoder.tokenizer.decode
    assert decode(list(pair.chosen_ids)) == prompter.contract.action_text(step.action)
    assert decode(list(pair.rejected_ids)) == "<|wait|><|end|>"
    operators = [i for i in pair.prompt_ids if i == prompter.operator_id]
    assert len(operators) == 4  # the customer's text that looks like one is no marker


def test_actions_that_differ_in_nothing_the_context_keeps_are_no_pair(
    cases: list[Session], tiny: CausalLMParams
) -> None:
    same = next(iter(steps(cases[0]))).action
    assert make_pairs(_corrections([cases[0]], same, 0), _prompter(tiny), context=1024) == []


def _log_p(folder: Path, pair: Pair) -> tuple[float, float]:
    """Nats of the chosen and of the rejected action after the prompt."""
    model, _ = load_model(folder, device="cpu")
    found = []
    for action in (pair.chosen_ids, pair.rejected_ids):
        ids = torch.tensor([[*pair.prompt_ids, *action]])
        with torch.no_grad():
            log_p = model(input_ids=ids[:, :-1]).logits[0].log_softmax(-1)
        rows = log_p[len(pair.prompt_ids) - 1 :]
        found.append(float(rows.gather(1, torch.tensor(action)[:, None]).sum()))
    return found[0], found[1]


@pytest.fixture(scope="module")
def trained(cases: list[Session], tiny: CausalLMParams, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    train_causal_lm(cases, PARCEL, tiny, folder)
    return folder


@pytest.mark.parametrize("loss", ["sigmoid", "apo_zero"])
def test_preferences_raise_what_operators_did_over_what_they_rejected(
    loss: str, trained: Path, cases: list[Session], tmp_path: Path
) -> None:
    pytest.importorskip("trl")
    corrections = _corrections(cases, SendTextToChat(text="Done, sorry!"), 1)
    params = PREFER.model_copy(update={"loss": loss})
    report = optimise_preferences(trained, corrections, params, tmp_path / "preferred")
    assert report.examples == len(cases)
    assert report.steps == 4 * len(cases) // 4
    prompter = Prompter(Contract(PARCEL), Encoder(Contract(PARCEL), load_model(trained, device="cpu")[1]), context=1024)
    pairs = make_pairs(corrections, prompter, context=1024)[:6]
    margins = [[chosen - rejected for chosen, rejected in (_log_p(folder, p) for p in pairs)] for folder in (
        trained, tmp_path / "preferred")]  # fmt: skip
    assert min(after - before for before, after in zip(*margins, strict=True)) > 0.5
    policy = CausalLMPolicy.load(tmp_path / "preferred")
    assert len(policy.replay(cases[0])) == 4


def test_preferences_give_the_same_policy_again(trained: Path, cases: list[Session], tmp_path: Path) -> None:
    pytest.importorskip("trl")
    corrections = _corrections(cases[:8], Wait(), 1)
    reports = [optimise_preferences(trained, corrections, PREFER, tmp_path / name) for name in ("one", "two")]
    assert reports[0].losses == reports[1].losses
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two")]
    assert weights[0] == weights[1]


def test_preferences_without_a_pair_are_refused(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(SplitError, match="no pair to learn from"):
        optimise_preferences(trained, [], PREFER, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_preferences_are_for_a_policy_that_writes_tokens(cases: list[Session], tmp_path: Path) -> None:
    train_policy(cases, PARCEL, NgramParams(), tmp_path)
    with pytest.raises(ModelError, match="kind 'ngram', expected 'causal_lm'"):
        optimise_preferences(tmp_path, [], PREFER, tmp_path / "out")
