"""A committed list of sha256 digests: which parts of a corpus we mean, whatever layout they come in.

One line a part, as `sha256sum` writes it: 64 hex digits, two blanks, a name. For STAR the digest is that of an
object's canonical JSON, so that the packed and the public layout agree; for ABCD that of the file's bytes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from selective_autonomy.errors import CorruptTraceFile, TraceError
from selective_autonomy.process.schema import canonical_json
from selective_autonomy.traces.lines import read_lines
from selective_autonomy.traces.whole import sha256_of, whole_file

_LINE = re.compile(r"([0-9a-f]{64})  (\S+)")


def json_digest(value: Any) -> str:
    """sha256 of a value's canonical JSON (sorted keys, no blanks), in hex."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def file_digests(source: Path, names: Iterable[str]) -> dict[str, str]:
    """name -> sha256 of those files that are in `source`."""
    return {name: sha256_of(source / name) for name in names if (source / name).is_file()}


def read_manifest(path: Path) -> dict[str, str]:
    """name -> sha256.

    Raises:
        CorruptTraceFile: the file is missing, or a line is not a digest and a name, or repeats a name.
    """
    manifest: dict[str, str] = {}
    for number, line in read_lines(path):
        match = _LINE.fullmatch(line)
        if match is None or match.group(2) in manifest:
            raise CorruptTraceFile(path, number, f"got {line[:90]!r}, expected a sha256, two blanks and a new name")
        manifest[match.group(2)] = match.group(1)
    return manifest


def write_manifest(digests: Mapping[str, str], path: Path) -> None:
    """Write a manifest, in the order given; whole or not at all."""
    with whole_file(path) as temporary:
        text = "".join(f"{digest}  {name}\n" for name, digest in digests.items())
        temporary.write_text(text, encoding="utf-8")


def check_manifest(digests: Mapping[str, str], manifest: Mapping[str, str], where: Path) -> int:
    """Raise unless everything in the manifest is there, unaltered.

    Returns:
        How many parts are there that the manifest does not list.

    Raises:
        TraceError: parts are missing or differ; the message counts them and names some.
    """
    missing = [name for name in manifest if name not in digests]
    altered = [name for name in manifest if name in digests and digests[name] != manifest[name]]
    if missing or altered:
        raise TraceError(
            f"{where} is not the corpus that the manifest describes: {len(missing)} parts missing {missing[:3]}, "
            f"{len(altered)} altered {altered[:3]}, of {len(manifest)}; fetch it again from its public home"
        )
    return len(digests.keys() - manifest.keys())
