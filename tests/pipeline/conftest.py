"""Pipeline tests: the real Dagster, MLflow on SQLite, DVC and BentoML, on a tiny process in a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from project import make_project

from dagster_project.registry.tracking import Tracking

# Put into every Python process of a run, children included: each says that it started, and whom it calls.
GUARD = """\
import os, sys
def _watch(event, args):
    if event == "socket.connect" and isinstance(args[1], tuple):
        _say("connect", args[1][0])
    elif event == "socket.getaddrinfo":
        _say("resolve", args[0])
def _say(what, whom):
    with open(os.environ["CALLS_LOG"], "a") as log:
        log.write(f"{what} {whom}\\n")
_say("started", os.path.basename(sys.argv[0]) if hasattr(sys, "argv") and sys.argv else "python")
sys.addaudithook(_watch)
"""


@dataclass(frozen=True)
class Loop:
    """A project whose whole loop was run once from the command line. `calls`: what the guard saw."""

    root: Path
    state: Path
    output: str
    calls: list[str]

    @property
    def tracking(self) -> Tracking:
        return Tracking.local(self.state)


@pytest.fixture(scope="session")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    """About 30 seconds, once a test session. Tests may read it; those that change it take a copy."""
    root = make_project(tmp_path_factory.mktemp("bank"))
    guard, log = tmp_path_factory.mktemp("guard"), root / "calls.log"
    (guard / "sitecustomize.py").write_text(GUARD, encoding="utf-8")
    done = subprocess.run(
        [str(Path(sys.executable).with_name("selective-autonomy")), "pipeline", "run", "bank"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(guard), "CALLS_LOG": str(log), "OMP_WAIT_POLICY": "PASSIVE"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return Loop(root, root / ".state", done.stdout, log.read_text(encoding="utf-8").splitlines())
