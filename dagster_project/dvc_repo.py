"""DVC at the boundary: reproduce a process's traces, and read what `dvc.lock` says they are."""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from selective_autonomy.errors import TraceError

STAGES = ("import", "split")


def reproduce(root: Path, process_id: str, log: Callable[[str], None]) -> dict[str, str]:
    """Run `dvc repro` for the process's stages; what is up to date is left alone.

    Returns:
        Output path (relative to the root) -> md5, as `dvc.lock` has it now.

    Raises:
        TraceError: DVC or the stage's own command failed; the message ends with its last lines.
    """
    targets = [f"{stage}@{process_id}" for stage in STAGES]
    with (
        _only_one(root),
        subprocess.Popen(
            _dvc("repro", *targets),
            cwd=root,
            env=_environment(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as dvc,
    ):
        assert dvc.stdout is not None
        lines = []
        for line in dvc.stdout:
            lines.append(line.rstrip())
            log(lines[-1])
    if dvc.returncode != 0:
        tail = "\n".join(lines[-15:])
        raise TraceError(f"`dvc repro {' '.join(targets)}` failed with {dvc.returncode}:\n{tail}")
    return locked_hashes(root, process_id)


def changed(root: Path, process_id: str) -> str | None:
    """Why DVC would run the process's stages again; None if all is as `dvc.lock` says. About 1.5 seconds.

    Raises:
        TraceError: DVC cannot tell.
    """
    targets = [f"{stage}@{process_id}" for stage in STAGES]
    with _only_one(root):
        done = subprocess.run(
            _dvc("status", "--json", *targets),
            cwd=root,
            env=_environment(),
            text=True,
            capture_output=True,
            check=False,
        )
    if done.returncode != 0:
        raise TraceError(f"`dvc status {' '.join(targets)}` failed with {done.returncode}:\n{done.stderr[-2000:]}")
    status = json.loads(done.stdout or "{}")
    return f"dvc: {', '.join(sorted(status))} changed" if status else None


def locked_hashes(root: Path, process_id: str) -> dict[str, str]:
    """Output path -> md5 of the process's stages in `dvc.lock`.

    Raises:
        TraceError: a stage is not in `dvc.lock`.
    """
    lock = root / "dvc.lock"
    stages = (yaml.safe_load(lock.read_text(encoding="utf-8")) if lock.exists() else {}).get("stages", {})
    missing = [name for stage in STAGES if (name := f"{stage}@{process_id}") not in stages]
    if missing:
        raise TraceError(f"{lock} has no {missing}; run `dvc repro {' '.join(missing)}` in {root}")
    return {out["path"]: out["md5"] for stage in STAGES for out in stages[f"{stage}@{process_id}"]["outs"]}


def _dvc(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "dvc", *arguments]


def _environment() -> dict[str, str]:
    # The stages call this project's own command, which lies beside the interpreter that runs us.
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}


@contextmanager
def _only_one(root: Path) -> Iterator[None]:
    """Wait for our turn: DVC refuses a second command in one repository instead of waiting."""
    lock = root / ".dvc" / "tmp" / "pipeline.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
