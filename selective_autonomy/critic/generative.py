"""The generative critic: the policy's own model reads the proposed action and says one token, accept or reject.

Score = softmax over the two logits, as published ("Learning Selective LLM Autonomy from Copilot Feedback", 2026). It
shares the policy's session cache: to judge, it reads the action's tokens and no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from selective_autonomy.critic.by_action import Calibrated, Calibration, types_of
from selective_autonomy.critic.card import read_card, write_card
from selective_autonomy.critic.cross_fitting import checked_labels, held_out, session_folds
from selective_autonomy.critic.verdict_training import Reading, readings, train_verdicts
from selective_autonomy.critic.verdicts import Verdict, base_digest
from selective_autonomy.errors import ModelError
from selective_autonomy.params import GenerativeParams
from selective_autonomy.policy.card import read_card as read_policy_card
from selective_autonomy.policy.protocol import Policy, Proposal
from selective_autonomy.traces.schema import Session

if TYPE_CHECKING:
    from selective_autonomy.policy.causal_lm.policy import CausalLMPolicy

_WEIGHTS = "verdict.safetensors"
_ROWS = "rows_2d"


class GenerativeCritic(Calibrated):
    """Implements `Critic`. Batch equals single up to rounding: proposals of one session are judged in one pass.

    Safe to call from several threads, and while the policy is asked: they take turns.
    """

    kind = "generative"

    def __init__(self, policy: CausalLMPolicy, verdict: Verdict, calibration: Calibration) -> None:
        self._policy, self._verdict, self._calibration = policy, verdict, calibration

    @classmethod
    def fit(
        cls,
        policy: Policy | Path,
        befores: Sequence[Session],
        proposals: Sequence[Proposal],
        accepted_N: ArrayLike,
        params: GenerativeParams,
    ) -> GenerativeCritic:
        """Train on copilot feedback, going on from the policy's weights. Sees: fit only.

        Five verdicts, each blind to a fifth of the *sessions*, score the rows that they did not see; the calibrator is
        fitted on these scores, the verdict that is kept on all rows. All six share each pass over a session's log.

        Raises:
            ModelError: the policy is no causal language model; or as `BoostedCritic.fit`.
        """
        accepted = checked_labels(accepted_N, len(befores))
        fold_N = session_folds([before.session_id for before in befores], params.seed)
        going_on = causal_lm(policy)
        verdict, raw_N = fit_verdict(going_on, befores, proposals, accepted, fold_N, params)
        return cls(going_on, verdict, Calibration.fit(raw_N, types_of(proposals), accepted, fold_N, params.calibration))

    def p_accept(self, befores: Sequence[Session], proposals: Sequence[Proposal]) -> NDArray[np.float64]:
        """`p_accept_N` strictly inside (0, 1)."""
        return self._calibration(judge(self._policy, self._verdict, befores, proposals), types_of(proposals))

    def importances(self) -> dict[str, float]:
        """Empty: what a model reads in a log cannot be told apart."""
        return {}

    def save(self, out: Path) -> None:
        """Write the weights that are its own, the calibration and, last, `critic.json` into `out`."""
        out.mkdir(parents=True, exist_ok=True)
        self._calibration.save(out)
        write_card(out, self.kind, base=save_verdict(self._verdict, self._policy, out))

    @classmethod
    def load(cls, path: Path, policy: Policy | Path) -> GenerativeCritic:
        """Read what `save` wrote.

        Raises:
            ModelError: a file is missing or damaged, or it was trained from another policy.
        """
        going_on = causal_lm(policy)
        return cls(going_on, load_verdict(path, going_on, read_card(path).get("base")), Calibration.load(path))


def causal_lm(policy: Policy | Path) -> CausalLMPolicy:
    """The policy, or that of a folder, as one that a generative critic can go on from.

    Raises:
        ModelError: it is of another kind.
    """
    from selective_autonomy.policy.causal_lm.policy import CausalLMPolicy

    if isinstance(policy, Path):
        kind = read_policy_card(policy)["kind"]
        if kind == "causal_lm":
            return CausalLMPolicy.load(policy, cache_sessions=0)
    else:
        if isinstance(policy, CausalLMPolicy):
            return policy
        kind = type(policy).__name__
    raise ModelError(
        f"got a policy of kind {kind!r}, expected 'causal_lm': a generative critic goes on from the "
        "policy's own weights; choose the critic's kind 'evidence'"
    )


def fit_verdict(
    policy: CausalLMPolicy,
    befores: Sequence[Session],
    proposals: Sequence[Proposal],
    accepted_N: NDArray[np.bool_],
    fold_N: NDArray[np.int64],
    params: GenerativeParams,
) -> tuple[Verdict, NDArray[np.float64]]:
    """The verdict trained on all rows, and `raw_N`: log-odds of each row by one that did not see its fold.

    Raises:
        ModelError: all labels outside a fold are equal.
    """
    held = list(held_out(fold_N, accepted_N))
    with policy.shared() as shared:
        every = readings(shared.prompter, befores, proposals)
        verdicts, raw_MN = train_verdicts(
            shared.lm, shared.keys, every, accepted_N, [np.zeros_like(accepted_N), *held], params
        )
    raw_N = np.empty(accepted_N.size)
    for held_N, blind_N in zip(held, raw_MN[1:], strict=True):
        raw_N[held_N] = blind_N[held_N]
    return verdicts[0], raw_N


def judge(
    policy: CausalLMPolicy, verdict: Verdict, befores: Sequence[Session], proposals: Sequence[Proposal]
) -> NDArray[np.float64]:
    """`raw_N`: log-odds of each proposal; logs that the policy remembers are not read again."""
    raw_N = np.empty(len(befores))
    with policy.shared() as shared, torch.inference_mode():
        every: list[Reading] = readings(shared.prompter, befores, proposals)
        for reading in every:
            raw_N[reading.rows] = (
                verdict.log_odds(shared.lm, shared.keys(reading.ids_T), reading.branches).cpu().numpy()
            )
    return raw_N


def save_verdict(verdict: Verdict, policy: CausalLMPolicy, out: Path) -> str:
    """Write the weights of a verdict; returns the digest of the weights that it goes on from."""
    from safetensors.torch import save_file

    tensors = {_ROWS: verdict.rows_2d, **verdict.own}
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, out / _WEIGHTS)
    with policy.shared() as shared:
        return base_digest(shared.lm)


def load_verdict(path: Path, policy: CausalLMPolicy, base: object) -> Verdict:
    """Read what `save_verdict` wrote, for a policy of the digest `base`.

    Raises:
        ModelError: it is missing or damaged, or of another policy.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path / _WEIGHTS)
        rows_2d = tensors.pop(_ROWS)
    except (OSError, KeyError, SafetensorError) as err:
        raise ModelError(f"{path / _WEIGHTS} holds no verdict: {err!r}; fit the critic again") from err
    with policy.shared() as shared:
        now, device = base_digest(shared.lm), shared.lm.device
    if base != now:
        raise ModelError(f"{path} goes on from weights {base!r}, the policy has {now!r}; fit the critic again")
    return Verdict({name: tensor.to(device) for name, tensor in tensors.items()}, rows_2d.to(device))
