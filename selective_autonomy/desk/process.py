"""Where the embedded desk's data lies, and its frozen version."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from selective_autonomy.process.schema import ProcessSchema, load_process

# The desk is the yardstick: set once from STAR's statistics (docs/desk.md), then frozen. Any change of its
# wording, flows, people or constants is a new version, and old results stay reported on the old one.
DESK_VERSION = "1"
DATA_DIR = Path(__file__).resolve().parents[2] / "data"


@cache
def load_desk_process(data_dir: Path = DATA_DIR) -> ProcessSchema:
    """The process schema `broadband` of the embedded desk, read once per folder.

    Raises:
        ProcessError: the file is missing or breaks the schema.
    """
    return load_process(data_dir / "processes" / "broadband.yaml")
