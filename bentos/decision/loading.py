"""From the bento to the one bundle it was built for, or to the reason why it must not decide."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import bentoml

from selective_autonomy.bundle import DecisionBundle
from selective_autonomy.gate import DeferReason

logger = logging.getLogger(__name__)

# The name under which a bento knows the exact model it was built for (`build.py` writes it into bento.yaml).
ALIAS = "decision_bundle"
# Where in the stored model the bundle's files are.
FOLDER = "bundle"


@dataclass(frozen=True)
class Served:
    """What this service serves.

    `refusal`: why every decision is a Defer; None when the bundle may decide. `bundle` is None when it could not
    be used at all. `version` is the registry's.
    """

    bundle: DecisionBundle | None
    process_id: str
    version: str
    refusal: DeferReason | None


def load_served() -> Served:
    """Load and verify the bundle that this bento was built for. Fails closed: never raises for a bad bundle.

    Refused are: a bundle whose files do not match its digests, whose digest or process is not the one that was
    registered, whose golden cases decide otherwise here than when they were recorded (`contract_mismatch`), and one
    that nobody has approved (`not_approved`).

    Raises:
        bentoml.exceptions.NotFound: the bento was not built for a bundle (use build.py), or its model is missing.
    """
    model = bentoml.models.get(ALIAS)
    labels = model.info.labels
    bundle, refusal = verified(Path(model.path_of(FOLDER)), labels)
    return Served(
        bundle=bundle,
        process_id=labels.get("process_id") or "unknown",
        version=labels.get("mlflow_version") or str(model.tag.version),
        refusal=refusal,
    )


def verified(folder: Path, labels: Mapping[str, str]) -> tuple[DecisionBundle | None, DeferReason | None]:
    """The bundle in `folder`, if it can be used at all, and why it may not decide, if it may not."""
    try:
        bundle = DecisionBundle.load(folder)
        mismatches = bundle.golden_mismatches()
    except Exception:  # whatever is wrong with it, the service answers, and defers
        logger.exception("the bundle cannot be used; everything is deferred")
        return None, "contract_mismatch"
    for name, got in (("bundle_digest", bundle.digest), ("process_id", bundle.schema.id)):
        if labels.get(name) != got:
            mismatches = [*mismatches, f"{name} is {got!r}, registered was {labels.get(name)!r}"]
    if mismatches:
        logger.error("the bundle is not what was registered; everything is deferred: %s", "; ".join(mismatches))
        return bundle, "contract_mismatch"
    if not labels.get("approved_by") or not labels.get("approved_at"):
        logger.error("the bundle was approved by nobody; everything is deferred")
        return bundle, "not_approved"
    return bundle, None
