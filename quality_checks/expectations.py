"""Every expectation as plain data: what is checked, and what happens when it fails.

Importing this costs no Great Expectations (2.9 s): the orchestrator declares one check per expectation from
`expectation_names` when it loads. `quality_checks.suite_run` turns the specifications into suites.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Suite = Literal["sessions", "steps", "feedback", "coverage"]
Severity = Literal["error", "warning"]
Effect = Literal["quarantine", "set_aside", "report", "block"]


@dataclass(frozen=True)
class Given:
    """An argument that is known when the suite runs: a field of ValidationParams, or "process_id" / "version"."""

    name: str


@dataclass(frozen=True)
class ExpectationSpec:
    """One expectation.

    Args:
        kind: class name in `great_expectations.expectations`; `arguments` are its keyword arguments.
        effect: quarantine: a failing row's session (or feedback row) is bad and goes no further; set_aside: it
            is kept apart but expected, and not bad; report: it is counted and goes on; block: a statement
            about the table as a whole, and nothing downstream may run while it fails.
        detail: column of the checked table that says more about a failing row.
    """

    suite: Suite
    name: str
    effect: Effect
    description: str
    kind: str
    arguments: Mapping[str, object]
    detail: str | None = None

    @property
    def severity(self) -> Severity:
        return "error" if self.effect in ("quarantine", "block") else "warning"

    @property
    def blocking(self) -> bool:
        return self.effect == "block"


def _holds(suite: Suite, name: str, effect: Effect, description: str, detail: str | None = None) -> ExpectationSpec:
    """A claim that was computed for every row: the column `name` must be True."""
    arguments = {"column": name, "value_set": [True]}
    return ExpectationSpec(suite, name, effect, description, "ExpectColumnValuesToBeInSet", arguments, detail)


SESSION_COLUMNS = (
    "session_id",
    "process_id",
    "process_version",
    "operator_id",
    "started_at",
    "status",
    "n_steps",
    "operator_share",
)
STEP_COLUMNS = ("session_row", "session_id", "index", "at", "action_type", "head", "seconds", "operator_id")
FEEDBACK_COLUMNS = (
    "session_id",
    "index",
    "head",
    "action_type",
    "tier",
    "accepted",
    "reason",
    "seconds",
    "truly_wrong",
    "p_head",
)

# Checked on every session that could be read.
SESSION_ROWS = (
    ExpectationSpec(
        "sessions",
        "sessions_have_every_column",
        "block",
        "the sessions table has the columns that later stages read",
        "ExpectTableColumnsToMatchSet",
        {"column_set": list(SESSION_COLUMNS), "exact_match": False},
    ),
    ExpectationSpec(
        "sessions",
        "session_id_is_given",
        "quarantine",
        "the session id is not empty",
        "ExpectColumnValueLengthsToBeBetween",
        {"column": "session_id", "min_value": 1},
    ),
    _holds("sessions", "session_id_is_unambiguous", "quarantine", "no two different logs carry one session id"),
    _holds(
        "sessions",
        "log_is_no_copy",
        "quarantine",
        "no earlier session has the same log; the first of several copies goes on",
        "copy_of",
    ),
    ExpectationSpec(
        "sessions",
        "process_is_the_expected_one",
        "quarantine",
        "the session belongs to the process it is validated against",
        "ExpectColumnValuesToBeInSet",
        {"column": "process_id", "value_set": [Given("process_id")]},
        "process_id",
    ),
    ExpectationSpec(
        "sessions",
        "process_version_is_current",
        "report",
        "the session was worked under the version of the process schema it is validated against",
        "ExpectColumnValuesToBeInSet",
        {"column": "process_version", "value_set": [Given("version")]},
        "process_version",
    ),
    _holds(
        "sessions",
        "procedures_are_known",
        "quarantine",
        "every procedure open in the session is in the process schema",
        "unknown_procedures",
    ),
    _holds(
        "sessions",
        "operator_id_is_a_pseudonym",
        "quarantine",
        "the operator id is given and is neither an e-mail address nor a name with blanks",
    ),
    _holds("sessions", "finished_session_has_a_step", "quarantine", "a complete session has at least one step"),
    _holds("sessions", "events_are_in_time_order", "quarantine", "no event is earlier than the one before it"),
    _holds("sessions", "no_event_is_in_the_future", "quarantine", "no event is later than the time of validation"),
    ExpectationSpec(
        "sessions",
        "no_gap_is_absurd",
        "quarantine",
        "no two neighbouring events are further apart than max_gap_hours",
        "ExpectColumnValuesToBeBetween",
        {"column": "longest_gap_hours", "max_value": Given("max_gap_hours")},
        "longest_gap_hours",
    ),
    _holds(
        "sessions",
        "feedback_answers_a_shown_proposal",
        "quarantine",
        "each logged feedback answers a proposal that was shown before it, and answers it once",
    ),
    _holds("sessions", "logged_correction_has_a_reason", "report", "each logged correction says why"),
    ExpectationSpec(
        "sessions",
        "outcome_is_complete",
        "set_aside",
        "the session was worked to its end; early disconnects and open sessions are kept apart, not bad",
        "ExpectColumnValuesToBeInSet",
        {"column": "status", "value_set": ["complete"]},
        "status",
    ),
)

STEP_ROWS = (
    ExpectationSpec(
        "steps",
        "steps_have_every_column",
        "block",
        "the steps table has the columns that later stages read",
        "ExpectTableColumnsToMatchSet",
        {"column_set": list(STEP_COLUMNS), "exact_match": False},
    ),
    ExpectationSpec(
        "steps",
        "step_is_counted_once",
        "quarantine",
        "a session has each step index once",
        "ExpectCompoundColumnsToBeUnique",
        {"column_list": ["session_row", "index"]},
    ),
    _holds(
        "steps",
        "every_action_is_legal",
        "quarantine",
        "the action may be done on the screen as it stood before the step",
        "why_illegal",
    ),
    _holds(
        "steps",
        "free_text_holds_no_personal_data",
        "quarantine",
        "no e-mail, phone, card or bank account number, and no value of a PII field, in what the operator wrote",
        "personal_data",
    ),
)

# Checked on what goes on after quarantine: coverage of what the policy would be trained on.
COVERAGE = (
    ExpectationSpec(
        "coverage",
        "a_good_session_is_left",
        "block",
        "at least one session goes on",
        "ExpectTableRowCountToBeBetween",
        {"min_value": 1},
    ),
    ExpectationSpec(
        "coverage",
        "there_are_enough_operators",
        "report",
        "at least min_operators operators worked the good sessions",
        "ExpectColumnUniqueValueCountToBeBetween",
        {"column": "operator_id", "min_value": Given("min_operators")},
    ),
    ExpectationSpec(
        "coverage",
        "no_operator_dominates",
        "report",
        "no operator holds more than max_operator_share of the good sessions",
        "ExpectColumnMaxToBeBetween",
        {"column": "operator_share", "max_value": Given("max_operator_share")},
    ),
)
# Checked on one row a procedure of the schema; failing rows are procedures.
PROCEDURE_ROWS = (
    ExpectationSpec(
        "coverage",
        "every_procedure_has_enough_sessions",
        "report",
        "each procedure of the schema is open in at least min_sessions_per_procedure good sessions",
        "ExpectColumnValuesToBeBetween",
        {"column": "n_sessions", "min_value": Given("min_sessions_per_procedure")},
        "n_sessions",
    ),
)
# Checked on one row a judged session or unreadable raw row; sessions that were set aside are not among them.
BAD_SHARE = (
    ExpectationSpec(
        "sessions",
        "few_sessions_are_bad",
        "block",
        "the share of quarantined and unreadable sessions among all that were not set aside is within max_bad_share",
        "ExpectColumnMeanToBeBetween",
        {"column": "is_bad", "max_value": Given("max_bad_share")},
    ),
)


def _feedback(
    name: str, effect: Effect, description: str, kind: str, detail: str | None = None, **arguments: object
) -> ExpectationSpec:
    return ExpectationSpec("feedback", name, effect, description, kind, arguments, detail)


FEEDBACK_ROWS = (
    _feedback(
        "feedback_has_every_column",
        "block",
        "the feedback table has the columns that the critic reads",
        "ExpectTableColumnsToMatchSet",
        column_set=list(FEEDBACK_COLUMNS),
        exact_match=False,
    ),
    _feedback(
        "feedback_names_its_session",
        "quarantine",
        "the session id is given",
        "ExpectColumnValuesToNotBeNull",
        column="session_id",
    ),
    _feedback(
        "each_step_is_judged_once",
        "quarantine",
        "one judgement for each step of a session",
        "ExpectCompoundColumnsToBeUnique",
        column_list=["session_id", "index"],
    ),
    _feedback(
        "verdict_is_given", "quarantine", "accepted is given", "ExpectColumnValuesToNotBeNull", column="accepted"
    ),
    _feedback(
        "verdict_is_accept_or_correct",
        "quarantine",
        "accepted is true or false",
        "ExpectColumnValuesToBeInSet",
        column="accepted",
        value_set=[True, False],
    ),
    _feedback("tier_is_given", "quarantine", "the tier is given", "ExpectColumnValuesToNotBeNull", column="tier"),
    _feedback(
        "tier_is_known",
        "quarantine",
        "the tier is routine or critical",
        "ExpectColumnValuesToBeInSet",
        column="tier",
        value_set=["routine", "critical"],
    ),
    _feedback(
        "p_head_is_given",
        "quarantine",
        "the policy's probability is given and is a number",
        "ExpectColumnValuesToNotBeNull",
        column="p_head",
    ),
    _feedback(
        "p_head_is_a_probability",
        "quarantine",
        "the policy's probability is in [0, 1]",
        "ExpectColumnValuesToBeBetween",
        column="p_head",
        min_value=0.0,
        max_value=1.0,
    ),
    _feedback(
        "seconds_are_not_negative",
        "quarantine",
        "operator seconds, where they are known, are at least 0",
        "ExpectColumnValuesToBeBetween",
        column="seconds",
        min_value=0.0,
    ),
    _feedback(
        "reason_is_known",
        "quarantine",
        "a reason, where there is one, is one of the four",
        "ExpectColumnValuesToBeInSet",
        column="reason",
        value_set=["wrong", "acceptable", "environment", "other"],
    ),
    _holds("feedback", "correction_has_a_reason", "report", "corrected feedback says why"),
)
# Checked on the feedback rows that are left; `accepted_number` is 1 for accept, 0 for correct.
FEEDBACK_TABLE = (
    _feedback(
        "there_is_feedback", "block", "at least one judgement is left", "ExpectTableRowCountToBeBetween", min_value=1
    ),
    _feedback(
        "few_feedback_rows_are_bad",
        "block",
        "the share of quarantined feedback rows is within max_bad_share",
        "ExpectColumnMeanToBeBetween",
        column="bad_share",
        max_value=Given("max_bad_share"),
    ),
    _feedback(
        "both_verdicts_occur",
        "block",
        "there is accepted and corrected feedback; a critic cannot be fitted to one class",
        "ExpectColumnUniqueValueCountToBeBetween",
        column="accepted_number",
        min_value=2,
        max_value=2,
    ),
    _feedback(
        "accept_share_is_plausible",
        "report",
        "the share of accepted proposals is within [min_accept_share, max_accept_share]",
        "ExpectColumnMeanToBeBetween",
        column="accepted_number",
        min_value=Given("min_accept_share"),
        max_value=Given("max_accept_share"),
    ),
)

TRACE_EXPECTATIONS = (*SESSION_ROWS, *STEP_ROWS, *COVERAGE, *PROCEDURE_ROWS, *BAD_SHARE)
FEEDBACK_EXPECTATIONS = (*FEEDBACK_ROWS, *FEEDBACK_TABLE)


def expectation_names() -> list[tuple[Suite, str, Severity, bool]]:
    """(suite, name, severity, blocking) of every expectation of traces and feedback; names are unique."""
    return [(s.suite, s.name, s.severity, s.blocking) for s in (*TRACE_EXPECTATIONS, *FEEDBACK_EXPECTATIONS)]
