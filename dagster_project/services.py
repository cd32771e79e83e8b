"""The servers of this project and how each is started: Dagster UI, MLflow UI, the decision service."""

from __future__ import annotations

import json
import sys
from contextlib import AbstractContextManager
from pathlib import Path

from dagster_project.servers import Server, free_port, running

BIN = Path(sys.executable).parent


def dagster_ui(state: Path, root: Path, *, port: int = 3000) -> AbstractContextManager[Server]:
    """Dagster's web server and daemon over the definitions, on the persistent instance."""
    return running(
        "Dagster UI",
        [str(BIN / "dagster"), "dev", "-m", "dagster_project.definitions", "-h", "127.0.0.1", "-p", str(port)],
        url=f"http://127.0.0.1:{port}",
        ready_path="/server_info",
        log=state / "logs" / "dagster.log",
        env={"DAGSTER_HOME": str(state / "dagster")},
        cwd=root,
    )


def mlflow_ui(state: Path, tracking_uri: str, *, port: int = 5000) -> AbstractContextManager[Server]:
    """MLflow's server over the tracking store, with one worker and no job runner (5 s instead of 20 to start)."""
    return running(
        "MLflow UI",
        [
            str(BIN / "mlflow"), "server", "--backend-store-uri", tracking_uri,
            "--default-artifact-root", str(state / "mlartifacts"), "--serve-artifacts",
            "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        ],
        url=f"http://127.0.0.1:{port}",
        ready_path="/health",
        log=state / "logs" / "mlflow.log",
        env={"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
    )  # fmt: skip


def latest_bento(state: Path, process_id: str) -> str | None:
    """The tag of the process's last built bento; None if there is none."""
    from dagster_project.resources.workspace import ProcessPaths

    built = ProcessPaths(Path(), state, process_id).bento
    return str(json.loads(built.read_text(encoding="utf-8"))["bento"]) if built.exists() else None


def decision_service(
    state: Path, bento_tag: str, *, token: str, port: int | None = None
) -> AbstractContextManager[Server]:
    """A built bento, booted from the local store on loopback, bearer token required."""
    port = port or free_port()
    return running(
        "decision service",
        [str(BIN / "bentoml"), "serve", bento_tag, "--host", "127.0.0.1", "--port", str(port)],
        url=f"http://127.0.0.1:{port}",
        ready_path="/readyz",
        log=state / "logs" / "service.log",
        env={"BENTOML_HOME": str(state / "bentoml"), "SELECTIVE_AUTONOMY_TOKEN": token, "OMP_WAIT_POLICY": "PASSIVE"},
        cwd=state,
    )
