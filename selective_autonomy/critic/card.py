"""The card of a fitted critic, `critic.json`: written last, so a folder without it is no critic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from selective_autonomy.errors import ModelError

CARD = "critic.json"


def write_card(out: Path, kind: str, **more: Any) -> None:
    """Write `critic.json`: the kind, and what else the kind needs to be loaded. Whole or not."""
    partial = (out / CARD).with_suffix(".partial")
    partial.write_text(json.dumps({"kind": kind, **more}, indent=1), encoding="utf-8")
    partial.replace(out / CARD)


def read_card(path: Path) -> dict[str, Any]:
    """The card of a critic's folder.

    Raises:
        ModelError: there is none, or it cannot be read.
    """
    try:
        card: dict[str, Any] = json.loads((path / CARD).read_text(encoding="utf-8"))
        str(card["kind"])
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise ModelError(f"{path} holds no fitted critic: {err!r}; fit the critic, or give its folder") from err
    return card
