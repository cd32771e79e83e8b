"""The copilot stage on disk: one row a judged step, with the proposal itself, so that nothing is replayed twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from selective_autonomy.errors import CertificateError, CorruptTraceFile
from selective_autonomy.evaluation.replay import Judgement, ReplayedStep
from selective_autonomy.policy.protocol import Proposal
from selective_autonomy.process.actions import head
from selective_autonomy.process.schema import ProcessSchema
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.screen import steps
from selective_autonomy.traces.splits import Split
from selective_autonomy.traces.store import whole_file

if TYPE_CHECKING:
    import pandas as pd

    from selective_autonomy.runtime.worked import WorkedCase

# What a certificate counts as wrong, by feedback source; it stands in the certificate as its loss.
LOSSES = {
    "desk": "the operator corrected the proposal, and not merely because of another taste",
    "log_tool": "the operator chose another form, reply, control or free text",
    "log_strict": "the operator did another action",
}
ADJUDICATED_LOSS = "the proposal is truly wrong: the operator rejected it, and an adjudicator confirmed that"


@dataclass(frozen=True)
class JudgedStep:
    """A logged step, the policy's proposal in its place, and an operator's answer to it."""

    replayed: ReplayedStep
    judgement: Judgement
    split: Split

    @property
    def wrong(self) -> bool:
        """Corrected, other than as "acceptable, but I prefer another": taste is no error."""
        return self.judgement.verdict == "correct" and self.judgement.reason != "acceptable"

    def counts_as_wrong(self, *, adjudicated: bool) -> bool:
        """What critic and certificate learn: the operator's verdict, or only what an adjudicator confirmed of it.

        Raises:
            CertificateError: adjudication is asked for, and this source of feedback does not know the truth.
        """
        if not adjudicated:
            return self.wrong
        if self.judgement.truly_wrong is None:
            raise CertificateError(
                f"session {self.replayed.session_id!r} has a step nobody adjudicated, yet params.yaml asks for "
                "`certificate: adjudicated`; record `truly_wrong` with the feedback, or set it to false"
            )
        return self.wrong and self.judgement.truly_wrong

    @property
    def before(self) -> Session:
        return self.replayed.step.before

    @property
    def proposal(self) -> Proposal:
        return self.replayed.proposal


def judged_in(case: WorkedCase, split: Split) -> list[JudgedStep]:
    """The proposals that were judged while a case was worked, with what happened before each; in order of the steps."""
    return [
        JudgedStep(ReplayedStep(logged, done.decided.proposal), done.judgement, split)
        for logged, done in zip(steps(case.desk_log), case.steps, strict=True)
        if done.decided is not None and done.decided.proposal is not None and done.judgement is not None
    ]


def judged_table(judged: Iterable[JudgedStep], schema: ProcessSchema) -> pd.DataFrame:
    """One row a judged step: what the feedback suite checks (FEEDBACK_COLUMNS), and what restores it."""
    import pandas as pd

    rows = []
    for one in judged:
        step, proposal, judgement = one.replayed.step, one.proposal, one.judgement
        rows.append(
            {
                "session_id": one.replayed.session_id,
                "index": step.index,
                "split": one.split,
                "at": step.session.events[step.position].at,
                "operator_id": step.session.operator_id,
                "procedures": ", ".join(step.session.procedures),
                "logged_head": head(step.action),
                "head": head(proposal.action),
                "action_type": proposal.action.type,
                "tier": schema.tier(proposal.action.type).tier,
                "p_head": proposal.p_head,
                "log_prob": proposal.log_prob,
                "entropy": proposal.entropy,
                "legal_count": proposal.legal_count,
                "accepted": judgement.verdict == "accept",
                "reason": judgement.reason,
                "seconds": judgement.seconds,
                "truly_wrong": judgement.truly_wrong,
                "wrong": one.wrong,
                "proposal": proposal.model_dump_json(),
            }
        )
    return pd.DataFrame(rows)


def write_judged(table: pd.DataFrame, path: Path) -> None:
    """Write rows of `judged_table`; whole or not at all."""
    with whole_file(path) as temporary:
        table.to_parquet(temporary, index=False)


def read_judged(path: Path, sessions: Mapping[Split, Sequence[Session]]) -> list[JudgedStep]:
    """The judged steps of the given splits' sessions, in file order.

    Raises:
        CorruptTraceFile: the file cannot be read, or names a step that its session does not have.
    """
    import pandas as pd

    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as err:
        raise CorruptTraceFile(path, 0, f"not a whole Parquet file ({err}); replay the copilot stage again") from err
    steps_of = {s.session_id: (list(steps(s)), split) for split, group in sessions.items() for s in group}
    judged = []
    for number, row in enumerate(table.to_dict("records"), start=1):
        if row["session_id"] not in steps_of:
            continue
        logged, split = steps_of[row["session_id"]]
        if row["index"] >= len(logged) or row["split"] != split:
            raise CorruptTraceFile(
                path, number, f"row {number} does not fit its session; replay the copilot stage again"
            )
        judged.append(
            JudgedStep(
                ReplayedStep(logged[row["index"]], Proposal.model_validate_json(row["proposal"])),
                Judgement(
                    verdict="accept" if row["accepted"] else "correct",
                    reason=row["reason"] if pd.notna(row["reason"]) else None,
                    seconds=row["seconds"] if pd.notna(row["seconds"]) else None,
                    truly_wrong=bool(row["truly_wrong"]) if pd.notna(row["truly_wrong"]) else None,
                ),
                split,
            )
        )
    return judged


def critical_steps(path: Path, schema: ProcessSchema, sessions: Mapping[Split, Sequence[Session]]) -> list[JudgedStep]:
    """The judged steps whose proposal is critical: the ones a gate decides on, so the ones to learn and certify on."""
    judged = read_judged(path, sessions)
    return [one for one in judged if schema.tier(one.proposal.action.type).tier == "critical"]
