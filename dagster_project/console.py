"""The pipeline on a terminal: one line an asset with its seconds, and a bar for what is running."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from dagster_project.resources.progress import Progress


class ConsoleProgress(Progress):
    """Shows a Dagster run as it happens. Use as a context manager around the run; `on_event` listens to it.

    Where the output is no terminal there is no bar; the lines of assets stay, and long stages say how far they
    are every 15 seconds.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(every_seconds=15.0)
        self.console = console
        self.seconds: dict[str, float] = {}
        self.errors: dict[str, str] = {}
        self._why: dict[str, str] = {}
        self._started: dict[str, float] = {}
        self._task: TaskID | None = None
        self._bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", style="dim"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> ConsoleProgress:
        self._bars.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._bars.stop()

    def show(self, log: logging.Logger, stage: str, done: int, total: int, note: str = "") -> None:
        if self._task is not None:
            self._bars.update(self._task, completed=done, total=total, note=escape(note))
        super().show(log, stage, done, total, note)

    def plan(self, why: Mapping[str, str]) -> None:
        """Assets that run next and why; other steps (checks) are shown only when they fail."""
        self._why = dict(why)

    def say_skipped(self, assets: Sequence[str]) -> None:
        for asset in assets:
            self.console.print(f"  [dim]·[/] {asset:<18} [dim]up to date[/]")

    def on_event(self, entry: Any) -> None:
        """Take one entry of Dagster's event log."""
        event = entry.dagster_event
        if event is None:
            self._note(entry.user_message)
        elif event.is_step_start:
            self._started[event.step_key] = time.monotonic()
            self._begin(event.step_key)
        elif event.event_type_value == "ASSET_CHECK_EVALUATION":
            self._check(event.asset_check_evaluation_data)
        elif event.is_step_success:
            self._end(event.step_key, "[green]✓[/]")
        elif event.is_step_failure:
            self.errors[event.step_key] = _what_went_wrong(event.step_failure_data.error)
            self._end(event.step_key, "[red]✗[/]")

    def _begin(self, step: str) -> None:
        self._drop_task()
        if step not in self._why:
            return
        why = self._why[step]
        self._task = self._bars.add_task(step, total=None, note=why)
        if self._bars.disable:
            self.console.print(f"  [dim]… {step} ({why})[/]")

    def _note(self, message: str) -> None:
        # Between assets Dagster says at length what it will not run because of a failure; that was shown already.
        if self._task is None or not message.strip():
            return
        if self._bars.disable:
            self.console.print(f"    [dim]{escape(message)}[/]")
        else:
            self._bars.update(self._task, note=escape(message.strip().splitlines()[0][:80]))

    def _check(self, evaluation: Any) -> None:
        if evaluation.passed:
            return
        stops = evaluation.blocking and evaluation.severity.value == "ERROR"
        colour, word = ("red", "check failed") if stops else ("yellow", "check warns")
        said = f": {evaluation.description}" if evaluation.description else ""
        self.console.print(f"    [{colour}]{word}[/] {evaluation.check_name}[dim]{escape(said)}[/]")

    def _end(self, step: str, mark: str) -> None:
        self._drop_task()
        self.seconds[step] = time.monotonic() - self._started.get(step, time.monotonic())
        if step in self._why or step in self.errors:
            self.console.print(f"  {mark} {step:<18} {self.seconds[step]:7.1f} s")
        if step in self.errors:
            self.console.print(f"    [red]{escape(self.errors[step])}[/]")

    def _drop_task(self) -> None:
        if self._task is not None:
            self._bars.remove_task(self._task)
            self._task = None


def _what_went_wrong(error: Any) -> str:
    """The innermost message without Dagster's wrapping and without the name of its class."""
    while error is not None and error.cause is not None:
        error = error.cause
    if error is None:
        return "failed without a message; the event log has more"
    name, _, message = error.message.strip().partition(": ")
    return message if name.endswith(error.cls_name or name) and message else error.message.strip()
