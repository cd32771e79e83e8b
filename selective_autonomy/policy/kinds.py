"""Every kind of policy by its name in `params.yaml`: train one, load one. A new kind is one branch in each function.

Whatever the kind, a trained policy is a folder whose `policy.json`, written last, names it; without it there is none.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from selective_autonomy.errors import ModelError
from selective_autonomy.params import (
    CausalLMParams,
    MajorityParams,
    NgramParams,
    PolicyParams,
    PromptingParams,
    RegressionParams,
)
from selective_autonomy.policy.card import read_card
from selective_autonomy.policy.prompting.endpoint import Endpoint
from selective_autonomy.policy.protocol import Policy
from selective_autonomy.policy.training import OnStep, TrainingReport
from selective_autonomy.process.schema import ProcessSchema
from selective_autonomy.traces.schema import Session


def train_policy(
    train: Sequence[Session],
    schema: ProcessSchema,
    params: PolicyParams,
    out: Path,
    *,
    on_step: OnStep | None = None,
    resume: bool = True,
    device: str = "cpu",
    converted: Path | None = None,
) -> TrainingReport:
    """Train a policy of the kind that `params` asks for on the train split, and save it in the folder `out`.

    The same arguments give the same policy. Kinds that learn in steps go on from their last checkpoint in `out` unless
    `resume` is False.

    Args:
        converted: the folder that keeps the converted weights of bases that are packages; None: beside `out`.

    Raises:
        SplitError, ModelError: as the kind's own training says.
    """
    # Imported here: a policy of counts loads no torch.
    converted = converted or out.parent / "base_models"
    match params:
        case CausalLMParams():
            from selective_autonomy.policy.causal_lm.training import train_causal_lm

            return train_causal_lm(
                train, schema, params, out, on_step=on_step, resume=resume, device=device, converted=converted
            )
        case MajorityParams() | NgramParams() | RegressionParams():
            from selective_autonomy.policy.baselines.policies import Baseline

            started = time.monotonic()
            Baseline.fit(train, schema, params).save(out)
            return TrainingReport(sessions=len(train), seconds=time.monotonic() - started)
        case PromptingParams():
            from selective_autonomy.policy.prompting.policies import prepare_prompting

            started = time.monotonic()
            prepare_prompting(train, schema, params, out, converted=converted)
            return TrainingReport(sessions=len(train), seconds=time.monotonic() - started)
    raise ModelError(f"got a policy of kind {params.kind!r}, which nothing here trains")


def load_policy(
    path: Path, *, device: str = "cpu", cache_sessions: int = 32, endpoint: Endpoint | None = None
) -> Policy:
    """The policy that `train_policy` saved in a folder. Reads no network.

    Args:
        cache_sessions: how many growing logs a policy may remember to answer faster; 0 for a replay.
        endpoint: whom a prompting policy asks that has no model of its own.

    Raises:
        ModelError: the folder holds no policy, or one of a kind that this version does not know.
        ContractError: it was trained under another contract.
    """
    kind = read_card(path)["kind"]
    match kind:
        case "causal_lm":
            from selective_autonomy.policy.causal_lm.policy import CausalLMPolicy

            return CausalLMPolicy.load(path, device=device, cache_sessions=cache_sessions)
        case "majority" | "ngram" | "regression":
            from selective_autonomy.policy.baselines.policies import Baseline

            return Baseline.load(path)
        case "prompting":
            from selective_autonomy.policy.prompting.policies import load_prompting

            return load_prompting(path, endpoint=endpoint, device=device)
    raise ModelError(f"{path} holds a policy of kind {kind!r}, which this version does not know; train it again")
