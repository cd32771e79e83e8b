"""A keyed draw: who holds the key can replay it, who does not cannot foresee it."""

from __future__ import annotations

import hashlib
import hmac

from selective_autonomy.process.schema import canonical_json


def uniform(key: bytes, *parts: str | int) -> float:
    """A number in [0, 1), fixed by key and parts (HMAC-SHA256, the first 53 bits); as good as random without the key.

    Parts are told apart: ("ab", "c") and ("a", "bc") are two draws, and so are 1 and "1".
    """
    digest = hmac.new(key, canonical_json(list(parts)).encode(), hashlib.sha256).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def drawn(key: bytes, *parts: str | int, rate: float) -> bool:
    """Whether this one is drawn, with probability `rate` in [0, 1]; at a higher rate all those of a lower are, too."""
    if not 0 <= rate <= 1:
        raise ValueError(f"a rate lies in [0, 1]; got {rate!r}")
    return uniform(key, *parts) < rate
