"""What tests of several parts share: where the public corpora lie, and a process small enough to read at a glance."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def _corpus(variable: str) -> Path:
    given = os.environ.get(variable)
    if not given:
        pytest.skip(f"{variable} is not set: give the folder with the {variable} corpus to run this test")
    path = Path(given)
    if not path.is_dir():
        pytest.fail(f"{variable}={given} is not a folder; expected the one with the {variable} corpus")
    return path


@pytest.fixture(scope="session")
def star_corpus() -> Path:
    """The folder with STAR, packed or public layout; the test is skipped where STAR is not set."""
    return _corpus("STAR")


@pytest.fixture(scope="session")
def abcd_corpus() -> Path:
    """The folder with ABCD, packed or published layout; the test is skipped where ABCD is not set."""
    return _corpus("ABCD")
