"""What is left out when a session is longer than the context, by a rule that training and serving share.

A window is a stretch of steps that see the same past. It grows by whole segments, so prompts inside a
window are prefixes of one another. When the next segment would not fit, a new window begins and segments
are dropped until half of the budget is free again (a half, so that the next drop is far away and most steps
stay prefix-stable): oldest first, and in this order

1. what the customer said, but for the last message, which is the one to be answered;
2. screen updates that show nothing any more, since later ones replaced all they showed;
3. operator actions;
4. the customer's last message;
5. the state of the forms, that is what the screen still shows, and of that only what does not fit by itself.

The header, which names the process and the procedures, stays. The rule is a fold over the log: it never
looks ahead, so a step is prompted alike in training and serving.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["header", "customer", "screen", "action"]


@dataclass(frozen=True, slots=True)
class Part:
    """A segment as far as windows go: `length` in tokens; `shows`: what a screen update sets, e.g. "form:refund"."""

    kind: Kind
    length: int
    shows: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Window:
    """Segment indices of one sequence, header first. Actions from `new_from` on are prompted in this window."""

    segments: tuple[int, ...]
    new_from: int


def fold_windows(parts: Sequence[Part], budget: int) -> tuple[Window, ...]:
    """Cut a session into windows; one window if it fits. The last one is the prompt of an open session.

    Args:
        parts: the session's segments, header first; none longer than a quarter of `budget`.
        budget: tokens that a prompt may have.
    """
    windows: list[Window] = []
    kept, total, new_from = [0], parts[0].length, 1
    for index in range(1, len(parts)):
        if total + parts[index].length > budget:
            # An action was chosen on the old prompt: it is the old window's last step, and context from here on.
            closing = (*kept, index) if parts[index].kind == "action" else tuple(kept)
            windows.append(Window(closing, new_from))
            kept = _drop(kept, parts, index, budget // 2 - parts[index].length)
            total, new_from = sum(parts[i].length for i in kept), index + 1
        kept.append(index)
        total += parts[index].length
    return (*windows, Window(tuple(kept), new_from))


def _drop(kept: list[int], parts: Sequence[Part], new: int, room: int) -> list[int]:
    """What of `kept` goes on beside the segment `new`, within `room` tokens."""
    total = sum(parts[i].length for i in kept)
    ranks = _ranks(kept, parts, new)
    dropped: set[int] = set()
    for index in sorted(kept[1:], key=lambda i: (ranks[i], i)):
        if total <= room:
            break
        dropped.add(index)
        total -= parts[index].length
    return [i for i in kept if i not in dropped]


def _ranks(kept: Sequence[int], parts: Sequence[Part], new: int) -> dict[int, int]:
    """Place of each kept segment in the order of the module's head; lower ranks go first."""
    ranks: dict[int, int] = {}
    said_later, shown_later = parts[new].kind == "customer", set(parts[new].shows)
    for index in reversed(kept[1:]):
        match parts[index].kind:
            case "customer":
                ranks[index] = 1 if said_later else 4
                said_later = True
            case "screen":
                ranks[index] = 2 if shown_later.issuperset(parts[index].shows) else 5
                shown_later |= parts[index].shows
            case _:
                ranks[index] = 3
    return ranks
