"""A made-up crew whose confusion is known, and the reviews it gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from selective_autonomy.labels.reviews import Review


@dataclass(frozen=True)
class Crew:
    """Operators `op-0`, `op-1`, ...; `truth`: item -> truly wrong."""

    reviews: list[Review]
    truth: dict[str, bool]
    sensitivity: dict[str, float]
    false_alarm: dict[str, float]


def crew(seed: int, *, items: int = 1500, operators: int = 12, each: int = 3, wrong: float = 0.2) -> Crew:
    """Every item is judged by `each` operators, drawn by chance, who err independently given the truth."""
    rng = np.random.default_rng(seed)
    sensitivity, false_alarm = rng.uniform(0.6, 0.95, operators), rng.uniform(0.02, 0.15, operators)
    truth_I = rng.random(items) < wrong
    who_IE = np.argsort(rng.random((items, operators)), axis=1)[:, :each]
    says_IE = rng.random((items, each)) < np.where(truth_I[:, None], sensitivity[who_IE], false_alarm[who_IE])
    names = [f"op-{w}" for w in range(operators)]
    return Crew(
        reviews=[
            Review(f"item-{i}", names[w], bool(says))
            for i in range(items)
            for w, says in zip(who_IE[i], says_IE[i], strict=True)
        ],
        truth={f"item-{i}": bool(truth) for i, truth in enumerate(truth_I)},
        sensitivity=dict(zip(names, sensitivity.tolist(), strict=True)),
        false_alarm=dict(zip(names, false_alarm.tolist(), strict=True)),
    )
