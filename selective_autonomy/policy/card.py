"""The card of a trained policy, `policy.json`: written last, so a folder without it is no policy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from selective_autonomy.errors import ModelError
from selective_autonomy.params import PolicyParams
from selective_autonomy.process.schema import ProcessSchema

CARD = "policy.json"


def write_card(out: Path, params: PolicyParams, schema: ProcessSchema, **more: Any) -> None:
    """Write `policy.json`: kind, process, parameters, and what else the kind wants to say of itself. Whole or not."""
    content = {
        "kind": params.kind,
        "process": {"id": schema.id, "version": schema.version},
        "params": params.model_dump(mode="json"),
        **more,
    }
    partial = (out / CARD).with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=2), encoding="utf-8")
    partial.replace(out / CARD)


def read_card(path: Path) -> dict[str, Any]:
    """The card of a policy's folder.

    Raises:
        ModelError: there is none, or it cannot be read.
    """
    try:
        card: dict[str, Any] = json.loads((path / CARD).read_text(encoding="utf-8"))
        card["kind"], card["params"]
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise ModelError(f"{path} holds no trained policy: {err!r}; run the training, or give its folder") from err
    return card
