"""Decision bundles as versions of one registered model a process: names, registration, download."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dagster_project.registry.tracking import Tracking
from selective_autonomy.errors import ApprovalRefused, BundleError
from selective_autonomy.frozen import Frozen
from selective_autonomy.traces.schema import Session

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

Alias = Literal["candidate", "approved"]
# What it takes to load a bundle. Named here so that MLflow does not spend seconds guessing.
REQUIREMENTS = ("selective-autonomy", "mlflow", "torch", "transformers", "lightgbm", "pandas")


class RegisteredBundle(Frozen):
    """A version in the registry. `validation_status` is "passed", or "failed: " and the checks that failed."""

    process_id: str
    version: int
    bundle_digest: str
    validation_status: str
    run_id: str

    @property
    def name(self) -> str:
        return model_name(self.process_id)


def model_name(process_id: str) -> str:
    """The registered model of a process."""
    return f"decision_bundle_{process_id}"


def alias_uri(process_id: str, alias: Alias) -> str:
    """The version an alias points to at this moment."""
    return f"models:/{model_name(process_id)}@{alias}"


def version_uri(process_id: str, version: int) -> str:
    """One version, for ever the same."""
    return f"models:/{model_name(process_id)}/{version}"


def register_bundle(
    tracking: Tracking,
    run_id: str,
    process_id: str,
    bundle: Path,
    bundle_digest: str,
    example: Session,
    *,
    failing_checks: list[str],
    tags: Mapping[str, str],
) -> RegisteredBundle:
    """Log the bundle in the current run and register it; it becomes `candidate` only if no check failed.

    Args:
        example: an open session; becomes the model's input example.
        failing_checks: blocking checks that do not hold; recorded, and approval is refused because of them.
        tags: what else the version carries (Dagster run, DVC hashes, certificate, splits).
    """
    import mlflow
    import pandas as pd

    client = tracking.client()
    info = mlflow.pyfunc.log_model(
        name="decision_bundle",
        python_model=str(Path(__file__).with_name("pyfunc.py")),
        artifacts={"bundle": str(bundle)},
        signature=_signature(),
        input_example=pd.DataFrame({"session": [example.model_dump_json()]}),
        pip_requirements=[f"{name}=={installed_version(name)}" for name in REQUIREMENTS],
        metadata={"bundle_digest": bundle_digest},
    )
    status = f"failed: {', '.join(failing_checks)}" if failing_checks else "passed"
    own = {"process": process_id, "bundle_digest": bundle_digest, "validation_status": status}
    # Made with its tags, in one call: no moment at which a version stands there without its status.
    version = client.create_model_version(
        _registered_model(client, process_id),
        source=info.model_uri,
        run_id=run_id,
        model_id=info.model_id,
        tags={**tags, **own},
    )
    registered = RegisteredBundle(
        process_id=process_id,
        version=int(version.version),
        bundle_digest=bundle_digest,
        validation_status=status,
        run_id=run_id,
    )
    if not failing_checks:
        client.set_registered_model_alias(registered.name, "candidate", str(registered.version))
    return registered


def _registered_model(client: MlflowClient, process_id: str) -> str:
    from mlflow.exceptions import MlflowException

    name = model_name(process_id)
    try:
        client.create_registered_model(name, description=f"Decision bundles of the process {process_id}")
    except MlflowException as err:
        if err.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return name


def find_version(tracking: Tracking, process_id: str, version: int) -> ModelVersion:
    """A registered version.

    Raises:
        ApprovalRefused: there is no such version; the message lists those that there are.
    """
    from mlflow.exceptions import MlflowException

    client = tracking.client()
    try:
        return client.get_model_version(model_name(process_id), str(version))
    except MlflowException as err:
        if err.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        there = sorted(int(v.version) for v in client.search_model_versions(f"name = '{model_name(process_id)}'"))
        raise ApprovalRefused(
            f"{model_name(process_id)} has no version {version}; expected one of {there}"
            + ("" if there else f"; run `selective-autonomy pipeline run {process_id}` first")
        ) from err


def fetch_bundle(tracking: Tracking, process_id: str, version: int, into: Path) -> Path:
    """Download one version's bundle; returns the bundle's folder, not yet verified (`DecisionBundle.load` does).

    Raises:
        BundleError: the version holds no bundle.
    """
    import mlflow

    tracking.client()
    into.mkdir(parents=True, exist_ok=True)
    model = Path(mlflow.artifacts.download_artifacts(version_uri(process_id, version), dst_path=str(into)))
    folders = [path for path in (model / "artifacts").glob("*") if path.is_dir()]
    if len(folders) != 1:
        raise BundleError(
            f"{version_uri(process_id, version)} holds {len(folders)} folders of artifacts, expected the bundle alone; "
            "register a version by `selective-autonomy pipeline run`"
        )
    return folders[0]


def _signature():  # type: ignore[no-untyped-def] # the return type lives in mlflow, which is imported late
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, Schema

    return ModelSignature(
        inputs=Schema([ColSpec("string", "session")]),
        outputs=Schema(
            [
                ColSpec("string", "outcome"),
                ColSpec("string", "reason", required=False),
                ColSpec("string", "action", required=False),
                ColSpec("double", "p_accept", required=False),
                ColSpec("double", "threshold", required=False),
                ColSpec("string", "certificate_id", required=False),
                ColSpec("string", "bundle_digest", required=False),
            ]
        ),
    )
