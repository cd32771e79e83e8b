from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from parcel_process import PARCEL, do, say, session

from selective_autonomy.contract import Contract
from selective_autonomy.errors import ModelError, SplitError
from selective_autonomy.params import CausalLMParams
from selective_autonomy.policy.causal_lm.base import make_base
from selective_autonomy.policy.causal_lm.checkpoint import load_checkpoint
from selective_autonomy.policy.causal_lm.examples import make_batch, make_examples, plan_epoch
from selective_autonomy.policy.causal_lm.model import PolicyModel
from selective_autonomy.policy.causal_lm.optimisers import Optimisers
from selective_autonomy.policy.causal_lm.policy import CausalLMPolicy
from selective_autonomy.policy.causal_lm.prompts import Prompter
from selective_autonomy.policy.causal_lm.tokenizer import Encoder
from selective_autonomy.policy.causal_lm.training import learning_rate, train_causal_lm
from selective_autonomy.policy.training import TrainingProgress
from selective_autonomy.process.actions import ClickControl, Wait
from selective_autonomy.traces.schema import Session


class _Killed(BaseException):
    """The process went away."""


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def test_a_killed_run_resumes_to_the_very_same_policy(
    cases: list[Session], tiny: CausalLMParams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("selective_autonomy.policy.causal_lm.training._CHECKPOINT_STEPS", 3)
    whole = train_causal_lm(cases, PARCEL, tiny, tmp_path / "whole")

    def killed_after_five(progress: TrainingProgress) -> None:
        if progress.step == 5:
            raise _Killed

    with pytest.raises(_Killed):
        train_causal_lm(cases, PARCEL, tiny, tmp_path / "killed", on_step=killed_after_five)
    assert not (tmp_path / "killed" / "policy.json").exists()
    resumed = train_causal_lm(cases, PARCEL, tiny, tmp_path / "killed")
    assert resumed.resumed_at == 3
    assert resumed.losses == whole.losses
    assert resumed.tokens == whole.tokens
    one, two = _weights(tmp_path / "whole"), _weights(tmp_path / "killed")
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not (tmp_path / "killed" / "checkpoint.pt").exists()


_TRAIN = """
import sys, time
from pathlib import Path
from parcel_process import PARCEL
from conftest import case
from selective_autonomy.params import CausalLMParams
from selective_autonomy.policy.causal_lm.training import train_causal_lm

def then_wait(at):
    if at.step == 104:
        print("here", flush=True)
        time.sleep(600)

train_causal_lm([case(number) for number in range(24)], PARCEL, CausalLMParams.model_validate_json(sys.argv[1]),
                Path(sys.argv[2]), on_step=then_wait)
"""


def test_a_run_that_was_killed_outright_resumes_to_the_very_same_policy(
    cases: list[Session], tiny: CausalLMParams, tmp_path: Path
) -> None:
    params = tiny.model_copy(update={"epochs": 5, "hidden": 16, "layers": 1, "batch_tokens": 1})
    here = Path(__file__).parent
    paths = os.pathsep.join([str(here), str(here.parent / "contract"), str(here.parents[1])])
    process = subprocess.Popen(
        [sys.executable, "-c", _TRAIN, params.model_dump_json(), str(tmp_path / "killed")],
        env={**os.environ, "PYTHONPATH": f"{paths}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == "here\n"
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "policy.json").exists()
    resumed = train_causal_lm(cases, PARCEL, params, tmp_path / "killed")
    whole = train_causal_lm(cases, PARCEL, params, tmp_path / "whole")
    assert resumed.resumed_at == 100
    assert resumed.losses == whole.losses
    one, two = _weights(tmp_path / "whole"), _weights(tmp_path / "killed")
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_checkpoint_of_another_run_is_never_continued(
    cases: list[Session], tiny: CausalLMParams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("selective_autonomy.policy.causal_lm.training._CHECKPOINT_STEPS", 1)

    def killed(progress: TrainingProgress) -> None:
        raise _Killed

    with pytest.raises(_Killed):
        train_causal_lm(cases, PARCEL, tiny, tmp_path, on_step=killed)
    fresh = train_causal_lm(cases[:-1], PARCEL, tiny.model_copy(update={"epochs": 1}), tmp_path)
    assert fresh.resumed_at == 0


def test_a_loss_that_is_not_finite_stops_training_and_keeps_the_last_good_checkpoint(
    cases: list[Session], tiny: CausalLMParams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("selective_autonomy.policy.causal_lm.training._CHECKPOINT_STEPS", 1)
    wild = tiny.model_copy(update={"learning_rate": 1e30, "epochs": 20})
    seen: list[float] = []
    with pytest.raises(ModelError, match=r"expected a finite number; checkpoint of step \d+ kept") as failure:
        train_causal_lm(cases, PARCEL, wild, tmp_path, on_step=lambda p: seen.append(p.loss))
    assert f"step {len(seen)} kept" in str(failure.value)
    kept = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert kept["losses"] == seen
    assert not (tmp_path / "policy.json").exists()


def test_a_broken_checkpoint_is_named_not_ignored(cases: list[Session], tiny: CausalLMParams, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(ModelError, match="delete it to train from the start"):
        train_causal_lm(cases, PARCEL, tiny, tmp_path)
    assert load_checkpoint(tmp_path / "none.pt", run="x") is None


@pytest.mark.parametrize("train", [[], [session(say("hello"))]], ids=["no session", "no operator action"])
def test_an_empty_train_split_is_refused(train: list[Session], tiny: CausalLMParams, tmp_path: Path) -> None:
    with pytest.raises(SplitError, match="no operator action to learn from"):
        train_causal_lm(train, PARCEL, tiny, tmp_path)


def test_progress_and_report_say_what_happened(cases: list[Session], tiny: CausalLMParams, tmp_path: Path) -> None:
    seen: list[TrainingProgress] = []
    report = train_causal_lm(cases, PARCEL, tiny, tmp_path, on_step=seen.append)
    assert [p.step for p in seen] == list(range(1, report.steps + 1))
    assert {p.total for p in seen} == {report.steps}
    assert tuple(p.loss for p in seen) == report.losses
    assert min(report.losses[-5:]) < report.losses[0] - 0.3
    assert (report.sessions, report.truncated_sessions, report.examples) == (24, 0, 24)
    card = json.loads((tmp_path / "policy.json").read_text())
    assert card["contract_fingerprint"] == Contract(PARCEL).fingerprint
    assert card["training"]["steps"] == report.steps


def test_a_session_over_the_context_is_counted_as_truncated(tiny: CausalLMParams, tmp_path: Path) -> None:
    long = session(*(event for i in range(60) for event in (say(f"again and again, number {i}"), do(Wait()))))
    params = tiny.model_copy(update={"context": 512, "epochs": 1})
    report = train_causal_lm([long], PARCEL, params, tmp_path)
    assert report.truncated_sessions == 1
    assert report.examples > 1
    assert report.learned_tokens == 60 * 2


def _prepared(cases: Sequence[Session], tiny: CausalLMParams):
    torch.manual_seed(0)
    contract = Contract(PARCEL)
    model, tokenizer = make_base(tiny, contract, ["hello my parcel is lost"])
    encoder = Encoder(contract, tokenizer)
    made = make_examples(cases, Prompter(contract, encoder, context=1024), context=1024)
    return contract, model.eval(), tokenizer, encoder, made.examples


def test_only_operator_actions_are_learned(cases: list[Session], tiny: CausalLMParams) -> None:
    contract, _, tokenizer, _, examples = _prepared(cases, tiny)
    for case, example in zip(cases, examples, strict=True):
        learned = tokenizer.decode([example.ids[position] for position in example.learned])
        actions = "".join(contract.action_text(e.action) for e in case.events if e.kind == "operator_action")
        assert learned == actions


def test_an_action_that_the_process_does_not_know_is_context_only(tiny: CausalLMParams) -> None:
    strange = session(do(ClickControl(control="gone")), do(Wait()))
    _, _, tokenizer, _, (example,) = _prepared([strange], tiny)
    assert tokenizer.decode([example.ids[position] for position in example.learned]) == "<|wait|><|end|>"


def test_actions_that_the_process_does_not_know_are_counted_and_named(tiny: CausalLMParams, tmp_path: Path) -> None:
    strange = session(do(ClickControl(control="gone")), do(ClickControl(control="lost")), session_id="strange")
    with pytest.raises(SplitError, match="2 of actions that process 'parcel' does not know"):
        train_causal_lm([strange], PARCEL, tiny, tmp_path)
    mixed = session(say("hello"), do(Wait()))
    report = train_causal_lm([strange, mixed], PARCEL, tiny.model_copy(update={"epochs": 1}), tmp_path)
    assert (report.unknown_actions, report.examples, report.learned_tokens) == (2, 1, 2)
    card = json.loads((tmp_path / "policy.json").read_text())
    assert card["training"]["unknown_actions"] == 2


def test_actions_that_the_screen_did_not_allow_are_counted_where_heads_are_scored(
    tiny: CausalLMParams, tmp_path: Path
) -> None:
    log = session(say("hello"), do(ClickControl(control="open map")), do(Wait()), procedures=("refund",))
    params = tiny.model_copy(update={"epochs": 1, "score_heads": "schema"})
    report = train_causal_lm([log], PARCEL, params, tmp_path / "schema")
    assert (report.illegal_actions, report.unknown_actions, report.examples) == (1, 0, 1)
    by_markers = train_causal_lm([log], PARCEL, tiny.model_copy(update={"epochs": 1}), tmp_path / "markers")
    assert by_markers.illegal_actions == 0  # there every action teaches


def test_padding_changes_no_prediction(cases: list[Session], tiny: CausalLMParams) -> None:
    _, model, tokenizer, _, examples = _prepared([cases[0], session(do(Wait())), cases[5]], tiny)

    def logits(group: Sequence[object]) -> torch.Tensor:
        batch = make_batch(group, pad_id=tokenizer.pad_token_id, device="cpu")
        with torch.no_grad():
            out, _ = PolicyModel(model).read(
                batch.ids, logits_at_BT=batch.rows, states_at_BT=batch.head_rows, use_cache=False
            )
        assert len(out) == len(batch.targets)
        return out

    together = logits(examples)
    alone = torch.cat([logits([example]) for example in examples])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_an_epoch_reads_every_example_once_within_the_batch_size() -> None:
    lengths = [50, 10, 10, 200, 30, 30, 30, 10]
    plan = plan_epoch(lengths, batch_tokens=100, seed=1, epoch=0)
    assert sorted(i for batch in plan for i in batch) == list(range(8))
    assert all(len(batch) == 1 or max(lengths[i] for i in batch) * len(batch) <= 100 for batch in plan)
    assert plan == plan_epoch(lengths, batch_tokens=100, seed=1, epoch=0)
    assert plan != plan_epoch(lengths, batch_tokens=100, seed=1, epoch=1)


def test_the_learning_rate_warms_up_and_falls(tiny: CausalLMParams) -> None:
    rates = [learning_rate(step, 100, tiny) for step in range(100)]
    assert max(rates) == rates[9] == pytest.approx(tiny.learning_rate)
    assert rates[0] < rates[5] < rates[9]
    assert rates[-1] < 0.06 * tiny.learning_rate


def test_training_leaves_the_floating_point_mode_as_it_was(
    cases: list[Session], tiny: CausalLMParams, tmp_path: Path
) -> None:
    train_causal_lm(cases[:4], PARCEL, tiny.model_copy(update={"epochs": 1}), tmp_path)
    assert sys.float_info.min / 2 > 0


def test_training_again_gives_the_same_policy(cases: list[Session], tiny: CausalLMParams, tmp_path: Path) -> None:
    short = tiny.model_copy(update={"epochs": 1})
    one = train_causal_lm(cases, PARCEL, short, tmp_path / "one")
    two = train_causal_lm(cases, PARCEL, short, tmp_path / "two", resume=False)
    assert one.losses == two.losses


def test_a_trained_policy_does_what_the_operators_did(
    cases: list[Session], tiny: CausalLMParams, tmp_path: Path
) -> None:
    learned = tiny.model_copy(update={"epochs": 25, "learning_rate": 5e-3, "hidden": 48})
    train_causal_lm(cases, PARCEL, learned, tmp_path)
    proposals = CausalLMPolicy.load(tmp_path).replay(cases[4])
    logged = [e.action for e in cases[4].events if e.kind == "operator_action"]
    assert [p.action.type for p in proposals] == [a.type for a in logged]
    assert proposals[2].action == logged[2]
    assert proposals[2].p_head > 0.8


def test_muon_moves_hidden_matrices_of_a_scratch_model_only(tiny: CausalLMParams) -> None:
    model, _ = make_base(tiny, Contract(PARCEL), ["hello"])
    kinds = {
        from_scratch: [
            (type(o).__name__, sum(p.numel() for group in o.param_groups for p in group["params"]))
            for o in Optimisers(model, learning_rate=1e-3, weight_decay=0.1, from_scratch=from_scratch)._all
        ]
        for from_scratch in (True, False)
    }
    total = sum(p.numel() for p in model.parameters())
    hidden = sum(p.numel() for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name)
    assert kinds == {True: [("AdamW", total - hidden), ("Muon", hidden)], False: [("AdamW", total)]}
