"""Several processes that train one policy: started by torchrun as a user would, on the parcel desk, with gloo."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from parcel_process import PARCEL
from safetensors.torch import load_file

from selective_autonomy.params import CausalLMParams
from selective_autonomy.policy.causal_lm.team import shares
from selective_autonomy.policy.causal_lm.training import train_causal_lm
from selective_autonomy.policy.training import TrainingProgress
from selective_autonomy.process.schema import save_process
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.splits import write_splits
from selective_autonomy.traces.store import write_sessions

_PROJECT = Path(__file__).parents[2]


class _Killed(BaseException):
    """The process went away."""


@pytest.fixture(scope="module")
def short(tiny: CausalLMParams) -> CausalLMParams:
    return tiny.model_copy(update={"epochs": 1})


@pytest.fixture(scope="module")
def desk(cases: list[Session], short: CausalLMParams, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a project whose pipeline has validated and split the parcel desk's traces."""
    root = tmp_path_factory.mktemp("desk")
    params = yaml.safe_load((_PROJECT / "params.yaml").read_text(encoding="utf-8"))
    params["processes"] = {"parcel": {**params["processes"]["star"], "policy": short.model_dump()}}
    (root / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    stages = root / ".state" / "pipeline" / "parcel"
    for folder in (root / "data" / "canonical" / "parcel", stages / "validated", stages / "splits"):
        folder.mkdir(parents=True)
    save_process(PARCEL, root / "data" / "canonical" / "parcel" / "process.yaml")
    write_sessions(cases, stages / "validated" / "sessions.parquet")
    write_splits({case.session_id: "train" for case in cases}, stages / "splits" / "splits.parquet")
    return root


def _torchrun(desk: Path, out: Path) -> None:
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
        *("-m", "dagster_project.train", "parcel", "--root", str(desk), "--out", str(out)),
    ]
    paths = f"{_PROJECT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    done = subprocess.run(command, cwd=desk, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "by 2 processes" in done.stdout


def _assert_same_policy(one: Path, two: Path) -> None:
    first, second = load_file(one / "model.safetensors"), load_file(two / "model.safetensors")
    assert first.keys() == second.keys()
    moved = max(float((first[name] - second[name]).abs().max()) for name in first)
    size = max(float(weights.abs().max()) for weights in first.values())
    assert moved < 0.02 * size


def test_two_processes_train_the_policy_that_one_trains(
    desk: Path, cases: list[Session], short: CausalLMParams, tmp_path: Path
) -> None:
    alone = train_causal_lm(cases, PARCEL, short, tmp_path / "one")
    _torchrun(desk, tmp_path / "two")
    together = json.loads((tmp_path / "two" / "policy.json").read_text(encoding="utf-8"))["training"]
    assert together["tokens"] == alone.tokens
    assert together["losses"] == pytest.approx(alone.losses, rel=5e-3)
    _assert_same_policy(tmp_path / "one", tmp_path / "two")
    assert not (tmp_path / "two" / "checkpoint.pt").exists()


def test_a_run_that_one_process_began_goes_on_with_two(
    desk: Path, cases: list[Session], short: CausalLMParams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("selective_autonomy.policy.causal_lm.training._CHECKPOINT_STEPS", 3)

    def killed_after_five(progress: TrainingProgress) -> None:
        if progress.step == 5:
            raise _Killed

    with pytest.raises(_Killed):
        train_causal_lm(cases, PARCEL, short, tmp_path / "went on", on_step=killed_after_five)
    whole = train_causal_lm(cases, PARCEL, short, tmp_path / "whole")
    _torchrun(desk, tmp_path / "went on")
    report = json.loads((tmp_path / "went on" / "policy.json").read_text(encoding="utf-8"))["training"]
    assert report["resumed_at"] == 3
    assert report["losses"][:3] == list(whole.losses[:3])
    assert report["losses"][3:] == pytest.approx(whole.losses[3:], rel=5e-3)
    _assert_same_policy(tmp_path / "whole", tmp_path / "went on")


def test_a_batch_is_shared_out_whole_and_evenly() -> None:
    assert shares([9, 8, 7, 6, 5], 2) == [[9, 7, 5], [8, 6]]
    assert shares([9], 3) == [[9], [], []]
    loads = [sum(part) for part in shares(list(range(100)), 4)]
    assert sum(loads) == sum(range(100))
    assert max(loads) - min(loads) < 100
