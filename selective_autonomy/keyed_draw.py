"""A keyed draw: who holds the key can replay it, who does not cannot foresee it."""

from __future__ import annotations

import hmac
import math

from selective_autonomy.errors import CertificateError

_LEAST_KEY_BYTES = 16  # a shorter secret can be found by trying


def digest(key: bytes, *parts: str) -> str:
    """64 hex digits fixed by key and parts (HMAC-SHA256): what is kept of a draw, so that it can be replayed.

    Begin with the purpose ("audit", "probe", ...), so that draws for different purposes know nothing of each other.

    Raises:
        CertificateError: the key has fewer than 16 bytes, or there are no parts.
    """
    if not parts:
        raise CertificateError("a keyed draw needs a purpose and what is drawn for; got no parts")
    if len(key) < _LEAST_KEY_BYTES:
        raise CertificateError(
            f"the key of the draw has {len(key)} bytes, expected at least {_LEAST_KEY_BYTES}; make one with "
            "`python -c 'import secrets; print(secrets.token_hex(32))'` and keep it from those who are drawn"
        )
    # Lengths first: ("ab", "c") and ("a", "bc") are different draws.
    encoded = [part.encode() for part in parts]
    message = b"".join(len(part).to_bytes(8, "big") + part for part in encoded)
    return hmac.digest(key, message, "sha256").hex()


def as_uniform(hex_digits: str) -> float:
    """The first 53 bits of a digest as a number in [0, 1): every one of them is a float."""
    return math.ldexp(int(hex_digits[:16], 16) >> 11, -53)


def uniform(key: bytes, *parts: str) -> float:
    """A number in [0, 1), fixed by key and parts: uniform, and independent over different parts, without the key."""
    return as_uniform(digest(key, *parts))


def drawn(key: bytes, *parts: str, rate: float) -> bool:
    """Whether this one is drawn, with probability `rate` in [0, 1]; at a higher rate all those of a lower are, too."""
    if not 0 <= rate <= 1:
        raise ValueError(f"a rate lies in [0, 1]; got {rate!r}")
    return uniform(key, *parts) < rate
