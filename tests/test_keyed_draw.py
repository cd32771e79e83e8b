"""The keyed draw: uniform, replayable, foreseen by nobody without the key, and refused where it could prove nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import kstest

from selective_autonomy.errors import CertificateError
from selective_autonomy.keyed_draw import digest, drawn, uniform

KEY = bytes(range(32))


def test_draws_are_uniform_and_know_nothing_of_each_other() -> None:
    u = np.array([uniform(KEY, "audit", f"session {n // 5}", str(n % 5)) for n in range(20_000)])
    assert kstest(u, "uniform").pvalue > 0.01
    assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 0.03
    other = np.array([uniform(KEY, "probe", f"session {n // 5}", str(n % 5)) for n in range(20_000)])
    assert abs(np.corrcoef(u, other)[0, 1]) < 0.03


def test_a_draw_is_replayable_needs_the_key_and_tells_its_parts_apart() -> None:
    assert uniform(KEY, "s", "1") == uniform(KEY, "s", "1")
    others = [uniform(KEY[::-1], "s", "1"), uniform(KEY, "s1"), uniform(KEY, "", "s", "1"), uniform(KEY, "s", "1", "")]
    assert len({uniform(KEY, "s", "1"), *others}) == 5


def test_draws_come_at_their_rate_and_a_higher_rate_keeps_those_of_a_lower() -> None:
    few = {i for i in range(6_000) if drawn(KEY, str(i), rate=0.05)}
    more = {i for i in range(6_000) if drawn(KEY, str(i), rate=0.2)}
    assert few < more
    assert len(few) / 6_000 == pytest.approx(0.05, abs=3 * math.sqrt(0.05 * 0.95 / 6_000))
    assert not any(drawn(KEY, str(i), rate=0.0) for i in range(1000))
    assert all(drawn(KEY, str(i), rate=1.0) for i in range(1000))
    with pytest.raises(ValueError, match="rate"):
        drawn(KEY, "1", rate=1.1)


@pytest.mark.parametrize("key", [b"", b"short"])
def test_a_key_that_can_be_guessed_is_refused(key: bytes) -> None:
    with pytest.raises(CertificateError, match="16"):
        digest(key, "audit", "s")
    with pytest.raises(CertificateError, match="no parts"):
        digest(KEY)
