"""What prompting costs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Usage:
    """What was spent so far: tokens that a model read (those it still knew not counted) and wrote, seconds it took."""

    tokens_read: int = 0
    tokens_written: int = 0
    seconds: float = 0.0
