from __future__ import annotations

import pytest

from selective_autonomy.desk.embedded import EmbeddedDesk
from selective_autonomy.desk.simulate import simulate_sessions
from selective_autonomy.traces.schema import Session

SEED = 20


@pytest.fixture
def desk() -> EmbeddedDesk:
    return EmbeddedDesk(SEED)


@pytest.fixture(scope="session")
def sessions() -> list[Session]:
    """Enough for the calibration test: 600 to train on, 150 to test on."""
    return simulate_sessions(SEED, 750)
