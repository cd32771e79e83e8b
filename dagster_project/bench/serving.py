"""What a decision costs: with the session's cache and without, in other precisions, alternatives together or alone."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from selective_autonomy.contract.pieces import Marker
from selective_autonomy.policy.causal_lm.branches import Branches
from selective_autonomy.policy.causal_lm.policy import CausalLMPolicy
from selective_autonomy.policy.protocol import Proposal
from selective_autonomy.process.actions import head
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.screen import steps

Decide = Callable[[Session], Proposal]


def decisions(session: Session, count: int) -> list[Session]:
    """The logs before each of the session's first `count` steps."""
    return [step.before for step, _ in zip(steps(session), range(count), strict=False)]


def cached_over_uncached(
    cached: CausalLMPolicy, uncached: CausalLMPolicy, sessions: Sequence[Session], count: int
) -> dict[str, Any]:
    """Each decision of growing sessions, timed once with the session's cache and once without, in alternating order.

    `*_median` are medians of the ratios of single decisions; `last_decision`: of the `count`-th decision of each
    session alone. Wall seconds unless named cpu.
    """
    pairs = [
        (place, *_timed_in_turn(cached, uncached, before, flip=place % 2 == 1))
        for session in sessions
        for place, before in enumerate(decisions(session, count), start=1)
    ]
    wall = [a.wall / b.wall for _, a, b in pairs]
    last = [a.wall / b.wall for place, a, b in pairs if place == count]
    typed = {
        name: statistics.median(kept)
        for name, with_arguments in (("with_arguments", True), ("without_arguments", False))
        if (kept := [a.wall / b.wall for _, a, b in pairs if bool(a.proposal.arguments) == with_arguments])
    }
    return {
        "decisions": len(pairs),
        "sessions": len(sessions),
        "steps_a_session": count,
        "cached_over_uncached_median": statistics.median(wall),
        "cached_over_uncached_median_cpu": statistics.median(a.cpu / b.cpu for _, a, b in pairs),
        "cached_over_uncached_last_decision": statistics.median(last),
        "cached_over_uncached_total": sum(a.wall for _, a, _ in pairs) / sum(b.wall for _, _, b in pairs),
        "cached_over_uncached_by_kind": typed,
        "cached_over_uncached_tokens": statistics.median(a.tokens / b.tokens for _, a, b in pairs),
        "passes_a_decision": statistics.mean(a.passes for _, a, _ in pairs),
        "cached_ms_median": 1e3 * statistics.median(a.wall for _, a, _ in pairs),
        "uncached_ms_median": 1e3 * statistics.median(b.wall for _, _, b in pairs),
        "same_action": statistics.mean(a.proposal.action == b.proposal.action for _, a, b in pairs),
    }


def precisions(
    make: Callable[[Any], CausalLMPolicy], model: Any, sessions: Sequence[Session], count: int
) -> dict[str, Any]:
    """bfloat16 and dynamic int8 against float32: time of a cached decision, and how often it is the same one.

    `make` builds a policy of a model. Quantised: linear layers, weights int8, activations on the fly.
    """
    quantised = torch.ao.quantization.quantize_dynamic(copy.deepcopy(model), {torch.nn.Linear}, dtype=torch.qint8)
    others = {"bf16": copy.deepcopy(model).to(torch.bfloat16), "int8": quantised}
    found: dict[str, Any] = {}
    for name, other in others.items():
        plain, lower = make(model), make(other)
        pairs = [
            _timed_in_turn(lower, plain, before, flip=place % 2 == 1)
            for session in sessions
            for place, before in enumerate(decisions(session, count))
        ]
        found[name] = {
            "over_fp32_median": statistics.median(a.wall / b.wall for a, b in pairs),
            "over_fp32_median_cpu": statistics.median(a.cpu / b.cpu for a, b in pairs),
            "same_head": statistics.mean(head(a.proposal.action) == head(b.proposal.action) for a, b in pairs),
            "same_action": statistics.mean(a.proposal.action == b.proposal.action for a, b in pairs),
            "largest_p_head_difference": max(abs(a.proposal.p_head - b.proposal.p_head) for a, b in pairs),
            "decisions": len(pairs),
        }
    return found


def alternatives(policy: CausalLMPolicy, before: Session, repeats: int) -> dict[str, float]:
    """Log-probabilities of all legal heads of one step three ways, as times over the way that is served.

    Served: one row of logits after the prompt, as each head is one token. Otherwise one pass a head over the cached
    prompt, all heads in one batch of it, or one pass a head over the whole prompt.
    """
    names = policy._legal(before)
    ids = [policy._encoder.marker_id(Marker(name)) for name in names]
    with torch.inference_mode():
        _, prefix = policy._prompt(before)
        cut = len(prefix.ids)

        def batched() -> None:
            Branches(policy._model.lm, [prefix.layers] * len(ids), [cut] * len(ids)).step([[i] for i in ids])

        def one_by_one() -> None:
            for i in ids:
                Branches(policy._model.lm, [prefix.layers], [cut]).step([[i]])

        def whole_prompts() -> None:
            for _ in ids:
                policy._forward(prefix.ids, None, [cut])

        def served() -> None:
            policy._forward(prefix.ids, None, [cut])

        seconds = {f.__name__: _median_seconds(f, repeats) for f in (served, batched, one_by_one, whole_prompts)}
    return {
        "heads": len(ids),
        "prompt_tokens": cut,
        "batch_over_one_by_one": seconds["batched"] / seconds["one_by_one"],
        "served_over_whole_prompts": seconds["served"] / seconds["whole_prompts"],
        **{f"{name}_ms": 1e3 * value for name, value in seconds.items()},
    }


class _Timed:
    """One decision: what was proposed, wall and CPU seconds, tokens that the model read for it."""

    def __init__(self, policy: CausalLMPolicy, before: Session) -> None:
        read: list[int] = []
        handles = [
            model.lm.get_input_embeddings().register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].numel()))
            for model in policy._models
        ]
        wall, cpu = time.perf_counter(), time.process_time()
        (self.proposal,) = policy.propose([before])
        self.wall, self.cpu = time.perf_counter() - wall, time.process_time() - cpu
        for handle in handles:
            handle.remove()
        self.tokens, self.passes = sum(read), len(read)


def _timed_in_turn(one: CausalLMPolicy, two: CausalLMPolicy, before: Session, *, flip: bool) -> tuple[_Timed, _Timed]:
    if flip:
        second = _Timed(two, before)
        return _Timed(one, before), second
    return _Timed(one, before), _Timed(two, before)


def _median_seconds(work: Callable[[], None], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)
