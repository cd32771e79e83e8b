"""The service is no installed package: it lives in a bento. Tests of its parts import it from the project's root."""

from __future__ import annotations

import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))
