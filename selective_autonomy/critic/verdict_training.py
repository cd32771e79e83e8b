"""Train verdicts on feedback: several models at once, which differ in what they may see, over one pass of each log."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from selective_autonomy.critic.verdicts import Branch, Keys, Verdict
from selective_autonomy.errors import ModelError
from selective_autonomy.params import GenerativeParams
from selective_autonomy.policy.causal_lm.prompts import Prompter
from selective_autonomy.policy.protocol import Proposal
from selective_autonomy.traces.schema import Session

_BATCH_SESSIONS = 8  # about a hundred proposals in one optimiser step
_CLIP_NORM = 1.0
_WEIGHT_DECAY = 0.01


@dataclass(frozen=True)
class Reading:
    """A log, `ids_T`, and what was proposed along it: `rows` of the feedback and their branches."""

    ids_T: NDArray[np.int32]
    rows: list[int]
    branches: list[Branch]


def readings(prompter: Prompter, befores: Sequence[Session], proposals: Sequence[Proposal]) -> list[Reading]:
    """Each (log before the step, proposal) as a branch, those of one session off one log as far as windows allow.

    Raises:
        ModelError: the two differ in length.
    """
    if len(befores) != len(proposals):
        raise ModelError(f"got {len(befores)} logs and {len(proposals)} proposals; give one log a proposal")
    logs = [np.array(prompter.encode(before).windows[-1].ids, dtype=np.int32) for before in befores]
    of_session: dict[str, list[Reading]] = {}
    # The longest log first: the prompt of a step begins with those of the steps before it.
    for row in sorted(range(len(befores)), key=lambda n: -len(logs[n])):
        ids_T, known = logs[row], of_session.setdefault(befores[row].session_id, [])
        branch = Branch(len(ids_T), (prompter.operator_id, *prompter.encode_action(proposals[row].action)))
        found = next((one for one in known if np.array_equal(one.ids_T[: len(ids_T)], ids_T)), None)
        if found is None:
            found = Reading(ids_T, [], [])
            known.append(found)
        found.rows.append(row)
        found.branches.append(branch)
    return [reading for known in of_session.values() for reading in known]


def train_verdicts(
    lm: Any,
    keys: Callable[[NDArray[np.int32]], Keys],
    every: Sequence[Reading],
    accepted_N: NDArray[np.bool_],
    hidden_MN: Sequence[NDArray[np.bool_]],
    params: GenerativeParams,
) -> tuple[list[Verdict], NDArray[np.float64]]:
    """M verdicts, and `raw_MN`: the log-odds of every row by each of them.

    Args:
        lm: in evaluation mode; it is read and stays as it is.
        keys: from a log to its keys and values.
        hidden_MN: the rows that each verdict must not learn from; rows of one reading are hidden together.
    """
    verdicts = [Verdict.begin(lm, params.layers, params.seed) for _ in hidden_MN]
    learns_MR = [[not hidden_N[reading.rows].any() for reading in every] for hidden_N in hidden_MN]
    optimisers = [_optimiser(verdict, params) for verdict in verdicts]
    right = torch.from_numpy(accepted_N.astype(np.float32)).to(lm.device)
    rng = np.random.default_rng(params.seed)
    batches = [
        order[at : at + _BATCH_SESSIONS]
        for order in (rng.permutation(len(every)) for _ in range(params.epochs))
        for at in range(0, len(every), _BATCH_SESSIONS)
    ]
    for step, batch in enumerate(batches):
        rate = params.learning_rate * (1 + math.cos(math.pi * step / len(batches))) / 2
        rows = sum(len(every[place].rows) for place in batch)
        for place in batch:
            with torch.no_grad():
                prefix = keys(every[place].ids_T)
            for verdict, learns_R in zip(verdicts, learns_MR, strict=True):
                if learns_R[place]:
                    raw_B = verdict.log_odds(lm, prefix, every[place].branches)
                    loss = torch.nn.functional.binary_cross_entropy_with_logits(
                        raw_B, right[every[place].rows], reduction="sum"
                    )
                    torch.autograd.backward(loss / rows)
        for verdict, optimiser in zip(verdicts, optimisers, strict=True):
            _step(verdict, optimiser, rate)
    for verdict in verdicts:
        for parameter in verdict.parameters:
            parameter.requires_grad_(False)
    raw_MN = np.empty((len(verdicts), accepted_N.size))
    with torch.no_grad():
        for reading in every:
            prefix = keys(reading.ids_T)
            for raw_N, verdict in zip(raw_MN, verdicts, strict=True):
                raw_N[reading.rows] = verdict.log_odds(lm, prefix, reading.branches).cpu().numpy()
    return verdicts, raw_MN


def _optimiser(verdict: Verdict, params: GenerativeParams) -> torch.optim.Optimizer:
    for parameter in verdict.parameters:
        parameter.requires_grad_(True)
    return torch.optim.AdamW(verdict.parameters, lr=params.learning_rate, weight_decay=_WEIGHT_DECAY)


def _step(verdict: Verdict, optimiser: torch.optim.Optimizer, rate: float) -> None:
    """One step, unless no session of the batch taught this verdict anything."""
    if verdict.rows_2d.grad is None:
        return
    torch.nn.utils.clip_grad_norm_(verdict.parameters, _CLIP_NORM)
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
