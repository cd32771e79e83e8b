"""The pipeline: Dagster definitions, the model registry and the command line. Thin; the work is in the domain."""

from __future__ import annotations

import os

from dagster_project.telemetry import switch_off

switch_off(os.environ)
