"""The bridge to BentoML: an approved version into its model store, with its identity, and the bento built by path."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from dagster_project.registry.approval import Approval
from dagster_project.registry.models import fetch_bundle, model_name, version_uri
from dagster_project.registry.tracking import Tracking
from selective_autonomy.errors import ApprovalRefused, BundleError

BUILD = Path(__file__).resolve().parents[1] / "bentos" / "decision" / "build.py"


def export_bundle(tracking: Tracking, approval: Approval, home: Path) -> str:
    """Copy the approved version from the registry into the model store under `home`; returns its exact tag.

    BentoML's own import from MLflow leaves labels empty; these carry the registry's identity into the service.

    Raises:
        ApprovalRefused: the registry's bundle is not the approved one.
    """
    import shutil

    import bentoml
    from bentoml._internal.models.model import ModelStore  # the store of a given home, not the process's one
    from bentoml.exceptions import NotFound

    from selective_autonomy.bundle import DecisionBundle

    tag = f"{model_name(approval.process_id)}:{approval.version}"
    labels = {
        "process_id": approval.process_id,
        "bundle_digest": approval.bundle_digest,
        "mlflow_model": model_name(approval.process_id),
        "mlflow_version": str(approval.version),
        "mlflow_uri": version_uri(approval.process_id, approval.version),
        "approved_by": approval.approved_by,
        "approved_at": approval.approved_at.isoformat(),
        "approval_reason": approval.reason,
    }
    (home / "models").mkdir(parents=True, exist_ok=True)
    store = ModelStore(home / "models")
    try:
        if store.get(tag).info.labels == labels:
            return tag
        store.delete(tag)
    except NotFound:
        pass
    with tempfile.TemporaryDirectory() as folder:
        bundle = fetch_bundle(tracking, approval.process_id, approval.version, Path(folder))
        digest = DecisionBundle.load(bundle).digest
        if digest != approval.bundle_digest:
            raise ApprovalRefused(
                f"{tag} holds bundle {digest!r}, approved was {approval.bundle_digest!r}; approve it anew"
            )
        with bentoml.models.create(tag, labels=labels, _model_store=store) as model:
            shutil.copytree(bundle, model.path_of("bundle"))
    return tag


def build_bento(model_tag: str, home: Path, log: Callable[[str], None]) -> str:
    """Build the bento of the model in a process of its own (`bentos` is no import of ours); returns its tag.

    Raises:
        BundleError: the build failed; the message ends with its last lines.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "tag"
        done = subprocess.run(
            [sys.executable, str(BUILD), "--model-tag", model_tag, "--out-tag-file", str(out)],
            env={**os.environ, "BENTOML_HOME": str(home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        log(done.stdout.strip()[-2000:])
        if done.returncode != 0:
            raise BundleError(f"building the bento of {model_tag} failed:\n{done.stdout[-2000:]}")
        return out.read_text(encoding="utf-8").strip()
