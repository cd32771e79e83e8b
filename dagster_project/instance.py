"""Where Dagster remembers: one persistent instance under the state folder, telemetry off."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from selective_autonomy.errors import StoreError

if TYPE_CHECKING:
    from dagster import DagsterInstance

# One run at a time in a pool: DVC locks its repository, and training wants the machine for itself. Counted by
# run, not by step: a step slot of a killed run would block every later one until a daemon freed it.
DAGSTER_YAML = """\
telemetry:
  enabled: false
concurrency:
  pools:
    granularity: run
    default_limit: 1
"""
# The same instance, opened by the command line: capturing a step's output would take the terminal away from the
# progress bar. The UI's own runs keep their captured output.
COMMAND_LINE_YAML = (
    DAGSTER_YAML
    + """\
compute_logs:
  module: dagster._core.storage.noop_compute_log_manager
  class: NoOpComputeLogManager
"""
)


def open_instance(state: Path) -> DagsterInstance:
    """Open, and on first use create, the instance at `state`/dagster. SQLite; about one second the first time.

    Raises:
        StoreError: the folder cannot be made or written.
    """
    from dagster import DagsterInstance

    home = (state / "dagster").resolve()
    try:
        home.mkdir(parents=True, exist_ok=True)
        for name, text in (("dagster.yaml", DAGSTER_YAML), ("command_line.yaml", COMMAND_LINE_YAML)):
            config = home / name
            if not config.exists() or config.read_text(encoding="utf-8") != text:
                config.write_text(text, encoding="utf-8")
    except OSError as err:
        raise StoreError(f"cannot set up Dagster's home {home}: {err}; give a writable --state folder") from err
    return DagsterInstance.from_config(str(home), "command_line.yaml")
