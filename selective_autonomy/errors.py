"""The one error tree.

    SelectiveAutonomyError
    ├── TraceError(ValueError)          a log cannot be read or contradicts its schema
    │   └── CorruptTraceFile            ... and the file and line are known
    ├── ProcessError(ValueError)        a process schema is wrong, or an action names what it lacks
    │   └── IllegalAction               the action may not be done on this screen
    ├── ContractError(ValueError)       text or tokens do not follow the rendering contract
    ├── SplitError(ValueError)          a session is on two sides, or a side is empty
    ├── ModelError(RuntimeError)        a base model cannot be used, or training went wrong
    │   └── NoProposal                  a model was asked and gave no usable answer for this step
    ├── CertificateError(ValueError)    scores, labels or splits a certificate must not be built on
    ├── BundleError(ValueError)         a decision bundle is incomplete, altered or of another contract
    ├── ApprovalRefused(RuntimeError)   a release lacks evidence, an approver or a matching digest
    ├── DeskError(RuntimeError)         the desk refused or could not do what was asked
    │   ├── StaleScreen                 the screen is not the one that the action was meant for
    │   └── DeskUnreachable             no answer; whether the action was done is unknown
    └── StoreError(RuntimeError)        feedback or events could not be made durable

Who raises, who handles: domain functions raise; adapters translate third-party errors once, at the
boundary, with `raise ... from err`; the service turns `ValueError` leaves into 4xx answers with
`code` and everything else into Defer(internal_error). Messages say what failed, what was got, what was
expected, and what to do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

NoProposalReason = Literal["timeout", "unreachable", "refused", "unreadable", "illegal"]


class SelectiveAutonomyError(Exception):
    """Base of every error this project raises on purpose. `code` is the stable reason code."""

    code = "selective_autonomy_error"


class TraceError(SelectiveAutonomyError, ValueError):
    code = "bad_trace"


class CorruptTraceFile(TraceError):
    """A trace file that cannot be read. `line` is 1-based; 0 when the file as a whole is bad."""

    code = "corrupt_trace_file"

    def __init__(self, path: Path, line: int, why: str) -> None:
        self.path, self.line, self.why = path, line, why
        where = f"{path}, line {line}" if line else str(path)
        super().__init__(f"{where}: {why}")


class ProcessError(SelectiveAutonomyError, ValueError):
    code = "bad_process_schema"


class IllegalAction(ProcessError):
    """An action that the process schema or the screen does not allow. `field` names the culprit."""

    code = "illegal_action"

    def __init__(self, why: str, *, field: str | None = None) -> None:
        self.field = field
        super().__init__(why)


class ContractError(SelectiveAutonomyError, ValueError):
    code = "contract_mismatch"


class SplitError(SelectiveAutonomyError, ValueError):
    code = "bad_split"


class ModelError(SelectiveAutonomyError, RuntimeError):
    code = "model_error"


class NoProposal(ModelError):
    """No usable answer for one step: a person works it. `reason` is what went wrong, for counting."""

    code = "no_proposal"

    def __init__(self, why: str, *, reason: NoProposalReason) -> None:
        self.reason = reason
        super().__init__(why)


class CertificateError(SelectiveAutonomyError, ValueError):
    code = "bad_certificate"


class BundleError(SelectiveAutonomyError, ValueError):
    code = "bad_bundle"


class ApprovalRefused(SelectiveAutonomyError, RuntimeError):
    code = "approval_refused"


class DeskError(SelectiveAutonomyError, RuntimeError):
    code = "desk_error"


class StaleScreen(DeskError):
    code = "stale_screen"


class DeskUnreachable(DeskError):
    code = "desk_unreachable"


class StoreError(SelectiveAutonomyError, RuntimeError):
    code = "store_error"
