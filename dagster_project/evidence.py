"""Evidence files: `docs/benchmarks/<name>.json`, made by one command, read by every table that quotes a number."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from selective_autonomy.errors import SelectiveAutonomyError

# Levels of `process.comparison` -> how evidence files call their figures.
FIGURE_NAMES = {"loose": "action_loose", "strict": "action_strict"}
# Results that another command than the file's own measured: dotted key -> that command, its commit, date, seconds.
ADDED = "added"


class EvidenceDamaged(SelectiveAutonomyError, ValueError):
    """An evidence file is there and cannot be read, so nothing is put into it."""

    code = "evidence_damaged"


def write_evidence(root: Path, name: str, *, command: str, seed: int, seconds: float, results: dict[str, Any]) -> Path:
    """Write one evidence file and return its path.

    `results` holds numbers, or `{"value", "low", "high", "n"}` for a figure with an interval; a number that is not
    finite (a risk of nothing) becomes null. What `add_evidence` put into the file stays, with its own provenance,
    unless `results` has it too.

    Raises:
        EvidenceDamaged: there is a file already, and it cannot be read.
    """
    path = root / "docs" / "benchmarks" / f"{name}.json"
    old = _read(path)["results"] if path.exists() else {}
    results = _finite(results)
    for key, provenance in old.get(ADDED, {}).items():
        if _at(results, key) is None:
            _put(results, key, _at(old, key))
            results.setdefault(ADDED, {})[key] = provenance
    evidence = {
        "command": command,
        "commit": commit(root),
        "date": _now(),
        "machine": machine(),
        "seed": seed,
        "seconds": round(seconds, 1),
        "results": results,
    }
    return _write(path, evidence)


def add_evidence(root: Path, name: str, *, command: str, seed: int, seconds: float, results: Mapping[str, Any]) -> Path:
    """Put figures that one command measured into an evidence file, beside those of its own command.

    Args:
        results: dotted key -> value, e.g. "policy.unseen_operators"; what stood there is replaced, entry by entry where
            both are mappings. Which command, commit and date each is from is kept under `results.added`.

    Raises:
        EvidenceDamaged: the file is there and cannot be read.
    """
    path = root / "docs" / "benchmarks" / f"{name}.json"
    if not path.exists():
        write_evidence(root, name, command=command, seed=seed, seconds=seconds, results={})
    evidence = _read(path)
    merged = evidence["results"]
    for key, value in results.items():
        _put(merged, key, _finite(value))
        provenance = {"command": command, "commit": commit(root), "date": _now(), "machine": machine()}
        merged.setdefault(ADDED, {})[key] = {**provenance, "seed": seed, "seconds": round(seconds, 1)}
    return _write(path, evidence)


def figures_as_evidence(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Figures under the names that evidence files have for them."""
    return {FIGURE_NAMES.get(name, name): figure for name, figure in figures.items()}


def _read(path: Path) -> dict[str, Any]:
    """An evidence file.

    Raises:
        EvidenceDamaged: it cannot be read.
    """
    try:
        evidence = json.loads(path.read_text(encoding="utf-8"))
        dict(evidence["results"])
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise EvidenceDamaged(f"{path} is not an evidence file ({err!r}); restore it from git or delete it") from err
    return dict(evidence)


def _at(results: Mapping[str, Any], key: str) -> Any:
    """The value at a dotted key; None where there is none."""
    found: Any = results
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _put(results: dict[str, Any], key: str, value: Any) -> None:
    *above, last = key.split(".")
    for part in above:
        results = results.setdefault(part, {})
    there = results.get(last)
    results[last] = {**there, **value} if isinstance(there, dict) and isinstance(value, dict) else value


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _write(path: Path, evidence: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
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
