"""Raw JSONL rows to sessions; a row that cannot be read is kept with its reasons, never dropped."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import ValidationError

from quality_checks.results import UnreadableRow
from selective_autonomy.traces.schema import Session


def parse_raw(rows: Iterable[str]) -> tuple[list[Session], list[UnreadableRow]]:
    """Read one session from each row of JSONL text.

    Blank rows hold nothing and are skipped; line numbers count them.

    Returns:
        The sessions in order, and every row that is no session with one reason for each wrong field.
    """
    sessions, unreadable = [], []
    for line, text in enumerate(rows, start=1):
        if not text.strip():
            continue
        try:
            sessions.append(Session.model_validate_json(text))
        except ValidationError as err:
            reasons = tuple(
                f"{'.'.join(map(str, problem['loc'])) or 'row'}: {problem['msg']}"
                for problem in err.errors(include_url=False, include_context=False, include_input=False)
            )
            unreadable.append(UnreadableRow(line, text.rstrip("\r\n"), reasons))
    return sessions, unreadable
