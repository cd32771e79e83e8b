"""What is left out when a session is longer than the context, by a rule that training and serving share.

A window is a stretch of steps that see the same past. It grows by whole segments, so prompts inside a
window are prefixes of one another. When the next segment would not fit, a new window begins: customer
messages and screen updates are dropped, oldest first, then actions, until half of the budget is free
again (a half, so that the next drop is far away and most steps stay prefix-stable). The header stays.
The rule is a fold over the log: it never looks ahead, so a step is prompted alike in training and serving.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Window:
    """Segment indices of one sequence, header first. Actions from `new_from` on are prompted in this window."""

    segments: tuple[int, ...]
    new_from: int


def fold_windows(lengths: Sequence[int], is_action: Sequence[bool], budget: int) -> tuple[Window, ...]:
    """Cut a session into windows; one window if it fits. The last one is the prompt of an open session.

    Args:
        lengths: tokens of each segment, header first; none above a quarter of `budget`.
        is_action: which segments are operator actions.
        budget: tokens that a prompt may have.
    """
    windows: list[Window] = []
    kept, total, new_from = [0], lengths[0], 1
    for index in range(1, len(lengths)):
        if total + lengths[index] > budget:
            # An action was chosen on the old prompt: it is the old window's last step, and context from here on.
            closing = (*kept, index) if is_action[index] else tuple(kept)
            windows.append(Window(closing, new_from))
            kept = _drop(kept, lengths, is_action, budget // 2 - lengths[index])
            total, new_from = sum(lengths[i] for i in kept), index + 1
        kept.append(index)
        total += lengths[index]
    return (*windows, Window(tuple(kept), new_from))


def _drop(kept: list[int], lengths: Sequence[int], is_action: Sequence[bool], room: int) -> list[int]:
    total = sum(lengths[i] for i in kept)
    dropped: set[int] = set()
    for index in (*(i for i in kept[1:] if not is_action[i]), *(i for i in kept[1:] if is_action[i])):
        if total <= room:
            break
        dropped.add(index)
        total -= lengths[index]
    return [i for i in kept if i not in dropped]
