"""What an importer gives back: sessions, the process schema they live under, and an honest report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from selective_autonomy.frozen import Frozen
from selective_autonomy.process.actions import head
from selective_autonomy.process.schema import ProcessSchema, save_process
from selective_autonomy.traces.conformance import illegal_steps
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.screen import steps
from selective_autonomy.traces.store import write_sessions
from selective_autonomy.traces.whole import whole_directory

MAX_EXAMPLES = 20


class IllegalSteps(Frozen):
    """Steps that the process schema does not allow, for one reason. `examples`: "session, step index: message"."""

    count: int = Field(ge=1)
    examples: tuple[str, ...] = Field(min_length=1, max_length=MAX_EXAMPLES)


class ImportReport(Frozen):
    """What came in, and what did not.

    Args:
        sessions: how many, and how they ended (`sessions_by_status`), with `complete` and at least one step.
        steps_by_type: operator actions by action type, over all sessions.
        not_represented: what the source holds that the sessions do not, with counts.
        illegal: by head, the steps that are not legal under the derived process schema.
        notes: decisions taken about odd data, in sentences.
    """

    process_id: str
    source: str
    sessions: int = Field(ge=0)
    sessions_by_status: dict[str, int]
    sessions_by_stratum: dict[str, int]
    complete_with_step: int = Field(ge=0)
    steps: int = Field(ge=0)
    steps_by_type: dict[str, int]
    complete_steps: int = Field(ge=0)
    operators: int = Field(ge=0)
    not_represented: dict[str, int] = Field(default_factory=dict)
    illegal: dict[str, IllegalSteps] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def illegal_count(self) -> int:
        return sum(reason.count for reason in self.illegal.values())


@dataclass(frozen=True)
class ImportResult:
    """Sessions in order of the source, their process schema, and the report."""

    sessions: tuple[Session, ...]
    schema: ProcessSchema
    report: ImportReport


def conclude(
    sessions: Sequence[Session],
    schema: ProcessSchema,
    *,
    source: str,
    not_represented: Mapping[str, int] | None = None,
    notes: Sequence[str] = (),
    on_session: Callable[[], None] | None = None,
) -> ImportResult:
    """Check every step of every session against the schema, count everything, and bind it together.

    `on_session` is called after each session, for progress.
    """
    by_type: Counter[str] = Counter()
    complete_with_step = complete_steps = 0
    illegal: dict[str, list[str]] = {}
    counts: Counter[str] = Counter()
    for session in sessions:
        n_steps = 0
        for step in steps(session):
            by_type[step.action.type] += 1
            n_steps += 1
        if session.outcome.status == "complete" and n_steps:
            complete_with_step += 1
            complete_steps += n_steps
        for step, why in illegal_steps(session, schema):
            reason = f"{head(step.action)}: {why.field or 'case closed'}"
            counts[reason] += 1
            examples = illegal.setdefault(reason, [])
            if len(examples) < MAX_EXAMPLES:
                examples.append(f"{session.session_id}, step {step.index}: {why}")
        if on_session is not None:
            on_session()
    report = ImportReport(
        process_id=schema.id,
        source=source,
        sessions=len(sessions),
        sessions_by_status=dict(sorted(Counter(s.outcome.status for s in sessions).items())),
        sessions_by_stratum=dict(sorted(Counter(s.labels.get("stratum", "all") for s in sessions).items())),
        complete_with_step=complete_with_step,
        steps=by_type.total(),
        steps_by_type=dict(sorted(by_type.items())),
        complete_steps=complete_steps,
        operators=len({session.operator_id for session in sessions}),
        not_represented={what: n for what, n in sorted((not_represented or {}).items()) if n},
        illegal={
            reason: IllegalSteps(count=counts[reason], examples=tuple(examples))
            for reason, examples in sorted(illegal.items())
        },
        notes=tuple(notes),
    )
    return ImportResult(sessions=tuple(sessions), schema=schema, report=report)


def save_import(result: ImportResult, out: Path) -> str:
    """Write `sessions.parquet`, `process.yaml` and `import_report.json` into `out`, all or nothing.

    Returns:
        sha256 of `sessions.parquet`, in hex.
    """
    with whole_directory(out) as directory:
        digest = write_sessions(result.sessions, directory / "sessions.parquet")
        save_process(result.schema, directory / "process.yaml")
        report = result.report.model_dump_json(indent=2) + "\n"
        (directory / "import_report.json").write_text(report, encoding="utf-8")
    return digest
