"""JSON Schemas of what others write or read: sessions and process schemas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from selective_autonomy.process.schema import ProcessSchema
from selective_autonomy.traces.schema import Session

PUBLISHED: dict[str, type[BaseModel]] = {"session": Session, "process": ProcessSchema}


def json_schema(name: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of "session" or "process"."""
    schema = PUBLISHED[name].model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def schema_text(name: str) -> str:
    """The published text: indented, keys sorted, so that a change is a small diff."""
    return json.dumps(json_schema(name), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def stale_schemas(directory: Path) -> list[Path]:
    """Published files that are missing or differ from what the code says; empty when all is well."""
    paths = {directory / f"{name}.schema.json": schema_text(name) for name in PUBLISHED}
    return [p for p, text in paths.items() if not p.is_file() or p.read_text(encoding="utf-8") != text]


def publish_schemas(directory: Path) -> list[Path]:
    """Write every schema as `<name>.schema.json`; returns the paths."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in PUBLISHED:
        path = directory / f"{name}.schema.json"
        path.write_text(schema_text(name), encoding="utf-8")
        paths.append(path)
    return paths
