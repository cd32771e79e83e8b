"""Evidence files: `docs/benchmarks/<name>.json`, made by one command, read by every table that quotes a number."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def write_evidence(root: Path, name: str, *, command: str, seed: int, seconds: float, results: dict[str, Any]) -> Path:
    """Write one evidence file and return its path.

    `results` holds numbers, or `{"value", "low", "high", "n"}` for a figure with an interval; a number that is not
    finite (a risk of nothing) becomes null.
    """
    path = root / "docs" / "benchmarks" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    evidence = {
        "command": command,
        "commit": commit(root),
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "machine": machine(),
        "seed": seed,
        "seconds": round(seconds, 1),
        "results": _finite(results),
    }
    unfinished = path.with_suffix(".json.part")
    unfinished.write_text(json.dumps(evidence, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    unfinished.replace(path)
    return path


def _finite(value: Any) -> Any:
    match value:
        case dict():
            return {key: _finite(one) for key, one in value.items()}
        case list() | tuple():
            return [_finite(one) for one in value]
        case float() if not math.isfinite(value):
            return None
    return value


def commit(root: Path) -> str:
    """The git commit of the code, with `+changes` where tracked files differ from it; "unknown" outside git."""
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=True)
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no", "--", ":!docs/benchmarks"],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip()[:12] + ("+changes" if changed.stdout.strip() else "")


def machine() -> str:
    """Cores and processor family, no host name."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return f"{os.cpu_count()} cores, {model}, Python {platform.python_version()}"
