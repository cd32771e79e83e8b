"""Where long stages say how far they are: Dagster's log, or, for the command line, a bar as well."""

import logging
import time


class Progress:
    """Says how far a stage is, at most every `every_seconds` and at its end; the UI shows the lines as they come."""

    def __init__(self, every_seconds: float = 10.0) -> None:
        self.every_seconds = every_seconds
        self._said_at: dict[str, float] = {}

    def show(self, log: logging.Logger, stage: str, done: int, total: int, note: str = "") -> None:
        """Report `done` of `total` units of `stage`; `note` is what else is worth seeing (a loss)."""
        now = time.monotonic()
        if done >= total or now - self._said_at.get(stage, float("-inf")) >= self.every_seconds:
            self._said_at[stage] = now
            log.info(f"{stage}: {done} of {total}{', ' + note if note else ''}")
