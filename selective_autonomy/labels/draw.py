"""Draws for label quality, by the keyed draw of audits: who holds the key can replay it, nobody else foresee it."""

from __future__ import annotations

from selective_autonomy.certify.audit import keyed_uniform


def uniform(key: bytes, *parts: str | int) -> float:
    """A number in [0, 1), fixed by key and parts. CertificateError: the key has fewer than 16 bytes."""
    return keyed_uniform(key, *map(str, parts))


def drawn(key: bytes, *parts: str | int, rate: float) -> bool:
    """Whether this one is drawn, with probability `rate` in [0, 1]; at a higher rate all those of a lower are, too."""
    if not 0 <= rate <= 1:
        raise ValueError(f"a rate lies in [0, 1]; got {rate!r}")
    return uniform(key, *parts) < rate
