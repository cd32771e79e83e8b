"""Build the bento, carry it to another home, boot it there without the checkout, and watch what it sends out."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from dagster_project.servers import Server, free_port, running
from selective_autonomy.bundle import DecisionBundle

PROJECT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
TOKEN = "a token of this test"

# The environment has the checkout installed in editable form. A bento that lacks the domain would find it there.
_FORGET_THE_CHECKOUT = """
import sys
sys.meta_path[:] = [f for f in sys.meta_path if "__editable__" not in getattr(f, "__module__", "")]
"""
_STORE_MODEL = """
import json, shutil, sys
import bentoml
tag, bundle, labels = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
with bentoml.models.create(tag, labels=labels) as model:
    shutil.copytree(bundle, model.path_of("bundle"))
"""


def run(command: list[str], *, home: Path, cwd: Path, env: Mapping[str, str] | None = None) -> str:
    """Run a command with `BENTOML_HOME` set; what it printed. Its errors are part of the failure."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, "BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True", **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def build(bundle: Path, version: int, *, home: Path, approved: bool) -> str:
    """Put a bundle into the model store, as a release does, and build its bento; the bento's tag."""
    import json

    loaded = DecisionBundle.load(bundle)
    labels = {
        "process_id": loaded.schema.id,
        "bundle_digest": loaded.digest,
        "certificate_id": loaded.manifest.certificate_id,
        "contract_fingerprint": loaded.manifest.contract_fingerprint,
        "mlflow_version": str(version),
    }
    if approved:
        labels |= {"approved_by": "Ann Lee", "approved_at": "2026-01-02T03:04:05+00:00"}
    model = f"decision_bundle_{loaded.schema.id}:{version}"
    run([sys.executable, "-c", _STORE_MODEL, model, str(bundle), json.dumps(labels)], home=home, cwd=home)
    tag_file = home / "tag"
    script = PROJECT / "bentos/decision/build.py"
    run([sys.executable, str(script), "--model-tag", model, "--out-tag-file", str(tag_file)], home=home, cwd=PROJECT)
    return tag_file.read_text(encoding="utf-8").strip()


def without_checkout(folder: Path) -> dict[str, str]:
    """An environment in which the project is not installed, proven."""
    (folder / "sitecustomize.py").write_text(_FORGET_THE_CHECKOUT, encoding="utf-8")
    env = {"PYTHONPATH": str(folder)}
    probe = subprocess.run(
        [sys.executable, "-c", "import selective_autonomy"], cwd=folder, env={**os.environ, **env}, capture_output=True
    )
    assert b"ModuleNotFoundError" in probe.stderr, "the checkout can still be imported"
    return env


@contextmanager
def serving(
    tag: str, *, home: Path, cwd: Path, ready_path: str = "/readyz", env: Mapping[str, str] | None = None
) -> Iterator[Server]:
    port = free_port()
    with running(
        "decision service",
        [str(BIN / "bentoml"), "serve", tag, "--host", "127.0.0.1", "--port", str(port)],
        url=f"http://127.0.0.1:{port}",
        ready_path=ready_path,
        log=cwd / f"service-{port}.log",
        env={"BENTOML_HOME": str(home), "SELECTIVE_AUTONOMY_TOKEN": TOKEN, **(env or {})},
        cwd=cwd,
    ) as server:
        yield server


def kill_9(server: Server) -> None:
    """End the server and its workers without warning; they are in process sessions of their own."""
    parent = psutil.Process(server.process.pid)
    doomed = [*parent.children(recursive=True), parent]
    assert len(doomed) >= 2, "there is a worker"
    for process in doomed:
        process.kill()
    server.process.wait(10)
    psutil.wait_procs(doomed[:-1], timeout=10)


class Trap:
    """A proxy for everything that wants out of the machine: it counts and hangs up."""

    def __init__(self) -> None:
        self.caught = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def env(self) -> dict[str, str]:
        url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        names = ("http_proxy", "https_proxy", "all_proxy")
        proxies = dict.fromkeys(names, url) | {name.upper(): url for name in names}
        return {**proxies, "no_proxy": "127.0.0.1,localhost", "NO_PROXY": "127.0.0.1,localhost"}

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.caught += 1
            connection.close()

    def close(self) -> None:
        self._socket.close()
