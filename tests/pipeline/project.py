"""A user's own project in a folder: params.yaml, dvc.yaml, and JSON-lines traces of the tiny bank."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml
from tiny_bank import tiny_schema, tiny_sessions

from selective_autonomy.process.schema import save_process
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.store import write_jsonl

BANK = {
    "source": "jsonl",
    "split": {"train": 0.4, "fit": 0.25, "calibrate": 0.2, "test": 0.15},
    "feedback": "log_tool",
    "policy": {
        "kind": "causal_lm", "base": "scratch", "hidden": 32, "layers": 1, "heads": 2, "vocabulary": 400,
        "context": 512, "epochs": 2, "batch_tokens": 2048, "learning_rate": 0.01, "warmup": 0.1, "weight_decay": 0.0,
        "lora_rank": 0, "seed": 1,
    },
    "critic": {"kind": "evidence", "trees": 20, "leaves": 4, "learning_rate": 0.1, "min_leaf": 5, "seed": 1},
    "certificate": {"alpha": 0.2, "alpha_session": None, "delta": 0.1, "cuts": 5},
}  # fmt: skip
PARAMS = {
    "telemetry": False,
    "processes": {"bank": BANK},
    "validation": {
        "max_bad_share": 0.05, "max_gap_hours": 48, "min_operators": 3, "max_operator_share": 0.5,
        "min_sessions_per_procedure": 5, "min_accept_share": 0.1, "max_accept_share": 0.99,
    },
    "drift": {"max_rows": 500, "min_rows": 20, "category_threshold": 0.3, "number_threshold": 0.5},
}  # fmt: skip
DVC = """\
stages:
  import:
    foreach: [bank]
    do:
      cmd: selective-autonomy traces import ${item}
      deps: ["data/raw/${item}"]
      outs: ["data/canonical/${item}"]
  split:
    foreach: [bank]
    do:
      cmd: selective-autonomy traces split ${item}
      deps: ["data/canonical/${item}"]
      params: ["processes.${item}.split"]
      outs: ["data/splits/${item}.parquet"]
"""


def make_project(root: Path, sessions: Sequence[Session] | None = None) -> Path:
    """Write the project; 120 sessions unless others are given."""
    root.mkdir(parents=True, exist_ok=True)
    write_params(root)
    (root / "dvc.yaml").write_text(DVC, encoding="utf-8")
    raw = root / "data" / "raw" / "bank"
    save_process(tiny_schema(), raw / "process.yaml")
    write_jsonl(tiny_sessions(120) if sessions is None else sessions, raw / "sessions.jsonl")
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "--quiet"], cwd=root, check=True)
    return root


def write_params(root: Path, **bank: object) -> None:
    """Write params.yaml with some of the bank's fields replaced."""
    params = {**PARAMS, "processes": {"bank": {**BANK, **bank}}}
    (root / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
