"""Start servers, wait until they answer, and stop them with everything they started."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from selective_autonomy.errors import SelectiveAutonomyError

STOP_SECONDS = 10.0


class ServerFailed(SelectiveAutonomyError, RuntimeError):
    """A server ended, or did not answer in time. The message holds the end of its log."""

    code = "server_failed"


@dataclass(frozen=True)
class Server:
    name: str
    url: str
    log: Path
    process: subprocess.Popen[bytes]


def free_port() -> int:
    """A TCP port that is free on loopback now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(
    name: str,
    command: Sequence[str],
    *,
    url: str,
    ready_path: str,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    ready_seconds: float = 90.0,
) -> Iterator[Server]:
    """Run a server for the length of the block, in a process session of its own.

    Args:
        url: where it listens; `ready_path` beneath it must answer 200 before the block is entered.
        env: added to the environment.

    Raises:
        ServerFailed: its port is taken, it ended early or did not answer within `ready_seconds`.
    """
    _check_port_is_free(name, url)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as sink:
        process = subprocess.Popen(
            list(command),
            stdout=sink,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            start_new_session=True,
        )
    server = Server(name, url, log, process)
    try:
        _wait_ready(server, ready_path, ready_seconds)
        yield server
    finally:
        _stop(process)


def _check_port_is_free(name: str, url: str) -> None:
    """Another server on the port would answer in this one's place."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError as err:
            raise ServerFailed(f"{name} cannot listen on {url}: {err}; stop what listens there") from err


def _wait_ready(server: Server, path: str, seconds: float) -> None:
    import httpx  # 0.1 s; the command line's help does not need it

    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        if server.process.poll() is not None:
            raise ServerFailed(
                f"{server.name} ended with {server.process.returncode} before it answered:\n{_tail(server.log)}"
            )
        try:
            if httpx.get(server.url + path, timeout=2.0).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise ServerFailed(f"{server.name} did not answer {path} within {seconds:.0f} s:\n{_tail(server.log)}")


def _tail(log: Path, lines: int = 25) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the server and everything it started: asked first, then made to.

    Some servers put their workers into process sessions of their own, where a signal to the group does not reach
    them; so the whole tree is noted before the first signal.
    """
    import psutil

    try:
        tree = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    except psutil.NoSuchProcess:
        tree = []
    for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        for member in tree if sig == signal.SIGKILL else tree[-1:]:
            with suppress(psutil.NoSuchProcess):
                member.send_signal(sig)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        _, tree = psutil.wait_procs(tree, timeout=STOP_SECONDS if process.poll() is not None else 0)
        if not tree:
            return
