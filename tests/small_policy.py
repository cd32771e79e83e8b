"""An untrained language model for the embedded desk, and the first sessions of the desk world's feedback to judge."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import torch
from desk_world import Judged, world

from selective_autonomy.contract import Contract
from selective_autonomy.params import CausalLMParams, GenerativeParams
from selective_autonomy.policy.causal_lm.base import make_base
from selective_autonomy.policy.causal_lm.model import PolicyModel
from selective_autonomy.policy.causal_lm.policy import CausalLMPolicy
from selective_autonomy.policy.causal_lm.training import written_texts

GENERATIVE = GenerativeParams(layers=1, epochs=2, learning_rate=3e-3, seed=1)


@cache
def untrained(seed: int = 3, *, layers: int = 2, context: int = 2048, cache_sessions: int = 8) -> CausalLMPolicy:
    """Its random weights are large, so that what it makes of a token depends on the tokens before."""
    params = CausalLMParams(
        hidden=32, layers=layers, heads=2, vocabulary=400, context=context, epochs=1, batch_tokens=1, learning_rate=1,
        warmup=0, weight_decay=0, lora_rank=0, seed=seed,
    )  # fmt: skip
    contract = Contract(world().schema)
    torch.manual_seed(seed)
    model, tokenizer = make_base(params, contract, written_texts(world().train[:20], contract))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(10)
    return CausalLMPolicy(
        world().schema, [PolicyModel(model.eval())], tokenizer, context=context, cache_sessions=cache_sessions
    )


def rows(sessions: int) -> Judged:
    """The feedback of so many sessions."""
    every = world().fit
    wanted = set(sorted(set(every.session_ids))[:sessions])
    at = [n for n, session_id in enumerate(every.session_ids) if session_id in wanted]
    return replace(
        every,
        replayed=[every.replayed[n] for n in at],
        befores=[every.befores[n] for n in at],
        proposals=[every.proposals[n] for n in at],
        accepted=every.accepted[at],
        session_ids=[every.session_ids[n] for n in at],
    )
