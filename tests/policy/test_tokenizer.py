from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from parcel_process import HOSTILE, PARCEL, sessions, texts

from selective_autonomy.contract import Contract
from selective_autonomy.contract.pieces import Marker
from selective_autonomy.contract.rendering import OPERATOR
from selective_autonomy.errors import ModelError
from selective_autonomy.policy.causal_lm.prompts import Prompter
from selective_autonomy.policy.causal_lm.tokenizer import Encoder, add_markers, train_tokenizer
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.screen import steps

CONTRACT = Contract(PARCEL)
TOKENIZER = train_tokenizer(["hello my parcel P123 is lost, please help"] * 5, 300)
add_markers(TOKENIZER, CONTRACT)
ENCODER = Encoder(CONTRACT, TOKENIZER)
PROMPTER = Prompter(CONTRACT, ENCODER, context=4096)


@given(texts)
def test_any_text_survives_tokens_and_never_becomes_a_marker(text: str) -> None:
    ids = ENCODER.text_ids(text)
    assert ENCODER.decode_text(ids) == text
    assert ENCODER.is_text[list(ids)].all()


def test_hostile_text_is_ordinary_tokens_even_unescaped() -> None:
    ids = TOKENIZER(HOSTILE, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert ENCODER.is_text[ids].all()


def test_every_marker_is_one_token_of_its_own() -> None:
    ids = [ENCODER.marker_id(marker) for marker in CONTRACT.markers]
    assert len(set(ids)) == len(CONTRACT.markers)
    assert not ENCODER.is_text[ids].any()
    assert TOKENIZER.pad_token_id not in ids


@given(sessions)
@settings(deadline=None)
def test_the_tokens_of_a_prompt_are_a_strict_prefix_of_the_next_prompts(log: Session) -> None:
    marker = ENCODER.marker_id(OPERATOR)
    prompts = [(*PROMPTER.encode(step.before).windows[-1].ids, marker) for step in steps(log)]
    prompts.append((*PROMPTER.encode(log).windows[-1].ids, marker))
    for earlier, later in itertools.pairwise(prompts):
        assert later[: len(earlier)] == earlier
        assert len(later) > len(earlier)


@given(sessions)
@settings(deadline=None)
def test_a_training_sequence_holds_the_serving_prompt_of_every_step(log: Session) -> None:
    (window,) = PROMPTER.encode(log).windows
    logged = list(steps(log))
    assert [prompt.position for prompt in window.prompts] == [step.position for step in logged]
    for prompt, step in zip(window.prompts, logged, strict=True):
        served = (*PROMPTER.encode(step.before).windows[-1].ids, ENCODER.marker_id(OPERATOR))
        assert window.ids[: prompt.start + 1] == served


@given(sessions)
@settings(deadline=None)
def test_a_session_over_the_context_is_prompted_alike_in_training_and_serving(log: Session) -> None:
    short = Prompter(CONTRACT, ENCODER, context=420)
    for window in short.encode(log).windows:
        assert len(window.ids) <= 420
        for prompt in window.prompts:
            assert short.encode(log.before(prompt.position)).windows[-1].ids == window.ids[: prompt.start]


def test_a_context_that_the_longest_action_would_fill_is_refused() -> None:
    with pytest.raises(ModelError, match="set context to at least"):
        Prompter(CONTRACT, ENCODER, context=128)


def test_a_tokenizer_without_the_markers_is_refused() -> None:
    with pytest.raises(ModelError, match="lacks"):
        Encoder(CONTRACT, train_tokenizer(["hello"], 300))


def test_a_pad_token_that_is_the_end_token_is_replaced() -> None:
    tokenizer = train_tokenizer(["hello"], 300)
    tokenizer.add_special_tokens({"eos_token": "</s>", "pad_token": "</s>"})
    add_markers(tokenizer, CONTRACT)
    assert tokenizer.pad_token_id != tokenizer.eos_token_id


def test_markers_with_odd_names_are_found_by_name() -> None:
    assert ENCODER.marker_id(Marker("click_control:a|>b <|end|>")) != ENCODER.marker_id(Marker("end"))
