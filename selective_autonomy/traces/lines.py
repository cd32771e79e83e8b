"""Lines of a text file, plain or xz: where reading breaks, the error names the file and the line."""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from selective_autonomy.errors import CorruptTraceFile


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (1-based number, text without its end) of every line. An empty file yields nothing.

    Raises:
        CorruptTraceFile: the file is missing, not UTF-8, or an xz stream that is damaged or cut off;
            `line` is the line that could not be read.
    """
    number = 0
    try:
        with lzma.open(path, "rt", encoding="utf-8") if path.suffix == ".xz" else path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                yield number, line.rstrip("\n")
    except (lzma.LZMAError, EOFError) as err:
        raise CorruptTraceFile(
            path, number + 1, f"the xz stream is damaged or cut off ({err}); fetch it again"
        ) from err
    except UnicodeDecodeError as err:
        raise CorruptTraceFile(path, number + 1, f"not UTF-8 text ({err}); expected UTF-8 JSON") from err
    except OSError as err:
        raise CorruptTraceFile(path, number, f"cannot be read ({err.strerror}); check the path") from err


def read_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (1-based line, JSON object) of a JSON-lines file.

    Raises:
        CorruptTraceFile: as `read_lines`, or a line is empty, is not JSON, or is not an object.
    """
    for number, line in read_lines(path):
        yield number, parse_object(line, path, number)


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object that a whole file holds.

    Raises:
        CorruptTraceFile: the file is missing, not UTF-8, not JSON, or not an object.
    """
    try:
        return parse_object(path.read_text(encoding="utf-8"), path, 0)
    except UnicodeDecodeError as err:
        raise CorruptTraceFile(path, 0, f"not UTF-8 text ({err}); expected UTF-8 JSON") from err
    except OSError as err:
        raise CorruptTraceFile(path, 0, f"cannot be read ({err.strerror}); check the path") from err


def parse_object(text: str, path: Path, line: int) -> dict[str, Any]:
    """The JSON object in `text`, which came from `line` of `path` (0: the file as a whole).

    Raises:
        CorruptTraceFile: it is not JSON, or not an object.
    """
    try:
        value = json.loads(text)
    except json.JSONDecodeError as err:
        at = line or err.lineno
        raise CorruptTraceFile(path, at, f"not JSON ({err.msg} at column {err.colno}); got {text[:60]!r}") from err
    if not isinstance(value, dict):
        raise CorruptTraceFile(path, line, f"got a JSON {type(value).__name__}, expected an object")
    return value
