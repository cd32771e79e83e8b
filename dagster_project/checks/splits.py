"""No session is on two sides, and every side holds sessions: a leak here would make every later number a lie."""

from collections.abc import Mapping, Sequence

import dagster as dg

from dagster_project.conventions import process_check
from selective_autonomy.errors import SplitError
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.splits import Split, check_splits

SPLIT_CHECK = process_check(
    "no_session_is_on_two_sides",
    "splits",
    "train, fit, calibrate and test share no session and no logged case, and none is empty",
    blocking=True,
)


def split_result(splits: Mapping[str, Split], sessions: Sequence[Session]) -> dg.AssetCheckResult:
    try:
        check_splits(splits, sessions)
    except SplitError as err:
        return dg.AssetCheckResult(check_name=SPLIT_CHECK.name, passed=False, description=str(err))
    return dg.AssetCheckResult(check_name=SPLIT_CHECK.name, passed=True)
