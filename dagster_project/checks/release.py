"""The claims a release stands on: the blocking checks of everything that a decision bundle is made from."""

from dagster_project.checks.certificate import certificate_follows_from_its_evidence
from dagster_project.checks.expectations import FEEDBACK_CHECKS, TRACE_CHECKS
from dagster_project.checks.splits import SPLIT_CHECK
from dagster_project.conventions import process_check

GOLDEN_CHECK = process_check(
    "golden_decisions_are_repeated",
    "decision_bundle",
    "the saved bundle, loaded again, takes every golden decision as it was recorded",
    blocking=True,
)
BEFORE_BUNDLE = (*TRACE_CHECKS, SPLIT_CHECK, *FEEDBACK_CHECKS, *certificate_follows_from_its_evidence.check_specs)
RELEASE_CHECKS = (*BEFORE_BUNDLE, GOLDEN_CHECK)
