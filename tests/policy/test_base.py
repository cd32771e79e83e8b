from __future__ import annotations

from pathlib import Path

import pytest
import torch
from parcel_process import HOSTILE, PARCEL
from transformers import GPT2Config, GPT2LMHeadModel

from selective_autonomy.contract import Contract
from selective_autonomy.errors import ModelError
from selective_autonomy.params import CausalLMParams
from selective_autonomy.policy.causal_lm.base import make_base
from selective_autonomy.policy.causal_lm.policy import CausalLMPolicy
from selective_autonomy.policy.causal_lm.tokenizer import Encoder, train_tokenizer
from selective_autonomy.policy.causal_lm.training import train_causal_lm
from selective_autonomy.process.actions import head
from selective_autonomy.process.legality import check_action
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.screen import derive_screen, steps


@pytest.fixture(scope="module")
def hub_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pretrained model as it comes from a hub: another architecture, its own tokenizer, pad == eos."""
    folder = tmp_path_factory.mktemp("hub") / "tiny-gpt2"
    tokenizer = train_tokenizer(["hello, where is my parcel?", "one moment please"] * 5, 330)
    tokenizer.add_special_tokens({"eos_token": "<|end|>", "pad_token": "<|end|>"})
    torch.manual_seed(0)
    size = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 1024, "resid_pdrop": 0.0, "embd_pdrop": 0.0}
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), attn_pdrop=0.0, **size))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _with(tiny: CausalLMParams, **changes: object) -> CausalLMParams:
    return tiny.model_copy(update=changes)


def test_any_hugging_face_model_trains_saves_and_proposes(
    hub_model: Path, cases: list[Session], tiny: CausalLMParams, tmp_path: Path
) -> None:
    params = _with(tiny, base=str(hub_model), epochs=3)
    report = train_causal_lm(cases, PARCEL, params, tmp_path)
    assert min(report.losses[-5:]) < report.losses[0] - 0.3
    policy = CausalLMPolicy.load(tmp_path)
    logged = list(steps(cases[0]))
    for proposal, step in zip(policy.replay(cases[0]), logged, strict=True):
        check_action(PARCEL, derive_screen(step.before), proposal.action)
        (alone,) = policy.propose([step.before])
        assert alone.action == proposal.action
        assert alone.p_head == pytest.approx(proposal.p_head, abs=1e-4)


def test_a_base_whose_own_markers_look_like_ours_still_reads_hostile_text_as_text(
    hub_model: Path, tiny: CausalLMParams
) -> None:
    contract = Contract(PARCEL)
    _, tokenizer = make_base(_with(tiny, base=str(hub_model)), contract, [])
    encoder = Encoder(contract, tokenizer)
    ids = encoder.text_ids(HOSTILE)
    assert encoder.decode_text(ids) == HOSTILE
    assert encoder.is_text[list(ids)].all()


def test_a_new_marker_starts_as_the_mean_of_the_words_of_its_name(hub_model: Path, tiny: CausalLMParams) -> None:
    model, tokenizer = make_base(_with(tiny, base=str(hub_model)), Contract(PARCEL), [])
    table = model.get_input_embeddings().weight
    words = tokenizer("send reply hello", add_special_tokens=False)["input_ids"]
    marker = tokenizer.convert_tokens_to_ids("<|send_reply:hello|>")
    torch.testing.assert_close(table[marker], table[words].mean(dim=0))
    assert tokenizer.pad_token_id != tokenizer.eos_token_id


def test_lora_trains_the_adapter_and_saves_a_plain_model(
    hub_model: Path, cases: list[Session], tiny: CausalLMParams, tmp_path: Path
) -> None:
    pytest.importorskip("peft", reason="LoRA needs the optional package peft")
    params = _with(tiny, base=str(hub_model), lora_rank=4, epochs=3)
    report = train_causal_lm(cases, PARCEL, params, tmp_path)
    assert min(report.losses[-5:]) < report.losses[0] - 0.1
    assert not (tmp_path / "adapter_config.json").exists()
    proposals = CausalLMPolicy.load(tmp_path).replay(cases[1])
    assert all(proposal.alternatives[0].head == head(proposal.action) for proposal in proposals)


def test_a_merged_lora_model_predicts_what_the_trained_one_did(
    hub_model: Path, cases: list[Session], tiny: CausalLMParams, tmp_path: Path
) -> None:
    pytest.importorskip("peft", reason="LoRA needs the optional package peft")
    from selective_autonomy.policy.causal_lm.base import load_model, save_model

    torch.manual_seed(1)
    model, tokenizer = make_base(_with(tiny, base=str(hub_model), lora_rank=4), Contract(PARCEL), [])
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    ids = torch.tensor([[tokenizer.convert_tokens_to_ids("<|operator|>"), 5, 6, 7]])
    with torch.no_grad():
        before = model.eval()(input_ids=ids).logits
        save_model(model, tokenizer, tmp_path)
        after = load_model(tmp_path, device="cpu")[0](input_ids=ids).logits
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base": "/no/such/model"}, "give a Hugging Face id or folder"),
        ({"hidden": 33}, "expected a multiple"),
        ({"lora_rank": 4}, "nothing to adapt"),
    ],
    ids=["missing", "odd sizes", "LoRA on scratch"],
)
def test_a_base_that_cannot_be_used_says_what_to_change(
    changes: dict[str, object], message: str, tiny: CausalLMParams
) -> None:
    with pytest.raises(ModelError, match=message):
        make_base(_with(tiny, **changes), Contract(PARCEL), ["hello"])


def test_a_base_without_a_tokenizer_is_refused(hub_model: Path, tiny: CausalLMParams, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((hub_model / name).read_bytes())
    with pytest.raises(ModelError, match="has no usable tokenizer"):
        make_base(_with(tiny, base=str(tmp_path)), Contract(PARCEL), [])


def test_a_base_with_too_short_a_context_is_refused(hub_model: Path, tiny: CausalLMParams) -> None:
    with pytest.raises(ModelError, match="reads 1024 tokens, expected at least context 4096"):
        make_base(_with(tiny, base=str(hub_model), context=4096), Contract(PARCEL), [])
