"""The service is no installed package: it lives in a bento. Tests of its parts import it from the project's root."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

if TYPE_CHECKING:
    from small_bundle import Made


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    from small_bundle import make_bundle

    return make_bundle(tmp_path_factory.mktemp("made"))
