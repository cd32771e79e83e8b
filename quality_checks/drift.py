"""Drift between a reference and a current window, measured by Evidently, judged by effect size.

A column has drifted when its score reaches the stated threshold AND chance does not explain it. Where chance alone
could reach the threshold, the answer is "not enough data", never an all-clear.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

from quality_checks.chance import category_chance, category_score, dealt_windows, number_chance
from quality_checks.drift_frame import DRIFT_COLUMNS, DriftColumn
from selective_autonomy.params import DriftParams

ColumnVerdict = Literal["stable", "drifted", "not_enough_data", "missing", "absent"]
Verdict = Literal["stable", "drifted", "not_enough_data", "incomplete"]

# A category below this share of both windows is counted as "(rare)": hundreds of heads are mostly noise.
RARE_SHARE = 0.01


@dataclass(frozen=True)
class ColumnDrift:
    """One column.

    Args:
        verdict: missing: the column is in one window only, or holds nothing there; absent: in neither.
        score: effect size in the unit of `threshold`; None when it could not be measured.
        chance: the largest score of 100 random deals of the same sessions; None with `score`.
        note: what else is to be known: new categories, one value only, missing values, rows that are needed.
    """

    column: str
    method: str
    threshold: float
    verdict: ColumnVerdict
    score: float | None = None
    chance: float | None = None
    note: str = ""

    @property
    def drifted(self) -> bool:
        return self.verdict == "drifted"


@dataclass(frozen=True)
class DriftResult:
    """The verdict on a window; `snapshot` is Evidently's own JSON ({} when there was nothing to measure).

    incomplete: nothing has drifted, but some column could not be judged; not an all-clear.
    """

    verdict: Verdict
    reason: str
    reference_rows: int
    current_rows: int
    columns: tuple[ColumnDrift, ...] = ()
    snapshot: dict[str, Any] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """Everything but the snapshot, fit for JSON."""
        return {name: value for name, value in asdict(self).items() if name != "snapshot"}


def drift_report(reference: pd.DataFrame, current: pd.DataFrame, params: DriftParams, seed: int) -> DriftResult:
    """Compare two windows with the columns of DRIFT_COLUMNS (and `session_id`, if steps belong to sessions).

    Larger windows are sampled down to `params.max_rows` rows; `seed` fixes the sample and the random deals.
    """
    rows = (len(reference), len(current))
    for name, window in (("reference", reference), ("current", current)):
        if len(window) < params.min_rows:
            reason = f"not enough data: {len(window)} of {params.min_rows} rows in the {name} window"
            return DriftResult("not_enough_data", reason, *rows)
    windows = _Windows.prepare(reference, current, params, seed)
    if not windows.measurable:
        return DriftResult("not_enough_data", "not enough data: no watched column is in both windows", *rows)
    snapshot = json.loads(_evidently(windows, params).json())
    scores = {m["config"]["column"]: float(m["value"]) for m in snapshot["metrics"]}
    deals = dealt_windows(windows.session_of_row, len(windows.reference), np.random.default_rng(seed))
    columns = tuple(_judge(column, windows, scores.get(column.name), deals, params) for column in DRIFT_COLUMNS)
    return DriftResult(*_overall(columns), *rows, columns=columns, snapshot=snapshot)


def drift_html(reference: pd.DataFrame, current: pd.DataFrame, params: DriftParams, seed: int) -> str:
    """Evidently's HTML of the same comparison (3.8 MB: make it when somebody wants to look).

    Raises:
        ValueError: no watched column can be compared.
    """
    windows = _Windows.prepare(reference, current, params, seed)
    if not windows.measurable:
        raise ValueError("no watched column holds values in both windows; ask drift_report for the reasons")
    return str(_evidently(windows, params).get_html_str(as_iframe=False))


@dataclass(frozen=True)
class _Windows:
    """The sampled windows, cleaned for measuring; `new` names categories that the whole reference lacks."""

    reference: pd.DataFrame
    current: pd.DataFrame
    session_of_row: np.ndarray
    measurable: tuple[DriftColumn, ...]
    new: dict[str, list[str]]

    @staticmethod
    def prepare(reference: pd.DataFrame, current: pd.DataFrame, params: DriftParams, seed: int) -> _Windows:
        sampled = [_sample(window, params.max_rows, seed) for window in (reference, current)]
        cleaned = [
            pd.DataFrame({c.name: _clean(window[c.name], c) for c in DRIFT_COLUMNS if c.name in window})
            for window in sampled
        ]
        new = {}
        for column in DRIFT_COLUMNS:
            if column.kind == "category" and all(column.name in window for window in cleaned):
                known = set(_clean(reference[column.name], column).unique())
                new[column.name] = sorted(set(cleaned[1][column.name].unique()) - known)
                _fold_rare(cleaned, column.name)
        measurable = tuple(
            c for c in DRIFT_COLUMNS if all(c.name in window and window[c.name].notna().any() for window in cleaned)
        )
        return _Windows(cleaned[0], cleaned[1], _session_numbers(*sampled), measurable, new)

    def both(self, name: str) -> pd.Series:
        return pd.concat([self.reference[name], self.current[name]], ignore_index=True)


def _sample(window: pd.DataFrame, max_rows: int, seed: int) -> pd.DataFrame:
    """At most `max_rows` rows, in whole sessions (in single rows, if they belong to none or the first is too long).

    Sessions that were cut would count as less dependent than they are when `quality_checks.chance` deals them.
    """
    if len(window) <= max_rows:
        return window
    if "session_id" in window:
        number_N, _ = pd.factorize(window["session_id"], use_na_sentinel=False)
        rank_S = np.random.default_rng(seed).permutation(number_N.max() + 1)
        rank_N = rank_S[number_N]
        sizes_S = np.bincount(rank_N)
        whole = int(np.searchsorted(sizes_S.cumsum(), max_rows, side="right"))
        if whole:
            return window[rank_N < whole]
    return window.sample(n=max_rows, random_state=seed)


def _clean(values: pd.Series, column: DriftColumn) -> pd.Series:
    if column.kind == "category":
        return values.astype("object").where(values.notna(), "(missing)").astype("str")
    numbers = pd.to_numeric(values, errors="coerce").astype("float64").replace([np.inf, -np.inf], np.nan)
    return np.log1p(numbers.clip(lower=0)) if column.scale == "log" else numbers


def _fold_rare(windows: list[pd.DataFrame], name: str) -> None:
    shares = pd.concat([window[name].value_counts(normalize=True) for window in windows], axis=1).max(axis=1)
    kept = set(shares.index[shares >= RARE_SHARE])
    for window in windows:
        window[name] = window[name].where(window[name].isin(kept), "(rare)")


def _session_numbers(reference: pd.DataFrame, current: pd.DataFrame) -> np.ndarray:
    """A number for each session; without `session_id` in both windows, each row stands for itself."""
    if "session_id" not in reference or "session_id" not in current:
        return np.arange(len(reference) + len(current))
    return np.asarray(
        pd.factorize(pd.concat([reference["session_id"], current["session_id"]]), use_na_sentinel=False)[0]
    )


def _evidently(windows: _Windows, params: DriftParams) -> Any:
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    definition = DataDefinition(
        categorical_columns=[c.name for c in windows.measurable if c.kind == "category"],
        numerical_columns=[c.name for c in windows.measurable if c.kind == "number"],
    )
    metrics = [ValueDrift(column=c.name, method=c.method, threshold=_threshold(c, params)) for c in windows.measurable]
    names = [c.name for c in windows.measurable]
    return Report(metrics, include_tests=True).run(
        Dataset.from_pandas(windows.current[names], definition),
        Dataset.from_pandas(windows.reference[names], definition),
    )


def _threshold(column: DriftColumn, params: DriftParams) -> float:
    return params.category_threshold if column.kind == "category" else params.number_threshold


def _judge(
    column: DriftColumn, windows: _Windows, score: float | None, deals: np.ndarray, params: DriftParams
) -> ColumnDrift:
    threshold = _threshold(column, params)
    if column not in windows.measurable:
        held = [column.name in w and bool(w[column.name].notna().any()) for w in (windows.reference, windows.current)]
        where = " and ".join(n for n, there in zip(("reference", "current"), held, strict=True) if not there)
        verdict: ColumnVerdict = "missing" if any(held) else "absent"
        return ColumnDrift(column.name, column.method, threshold, verdict, note=f"no values in {where}")
    if score is None:
        raise RuntimeError(f"Evidently gave no score for column {column.name!r}; expected one for each measured column")
    values = windows.both(column.name)
    present_N = values.notna().to_numpy()
    if column.kind == "category":
        chance = category_chance(pd.factorize(values)[0], deals)
    else:
        scale = max(float(windows.reference[column.name].std(ddof=0)), 0.001)  # Evidently's own floor
        chance = number_chance(values[present_N].to_numpy(), deals[:, present_N], scale)
    notes = []
    if windows.new.get(column.name):
        notes.append(f"new: {', '.join(windows.new[column.name][:10])}")
    if values.nunique() == 1:
        notes.append("one value in both windows")
    verdict, why = _verdict(score, chance, threshold, len(windows.current))
    missing = [float(window[column.name].isna().mean()) for window in (windows.reference, windows.current)]
    if _missing_share_moved(missing, present_N, len(windows.reference), deals, params.category_threshold):
        verdict, why = "drifted", f"missing values went from {missing[0]:.1%} to {missing[1]:.1%}"
    notes += [why] if why else []
    return ColumnDrift(column.name, column.method, threshold, verdict, score, chance, "; ".join(notes))


def _verdict(score: float, chance: float, threshold: float, n_current: int) -> tuple[ColumnVerdict, str]:
    if not np.isfinite(score):
        return "not_enough_data", f"the score is {score}"
    if score >= threshold and score > chance:
        return "drifted", ""
    if chance >= threshold:
        # Chance shrinks with the square root of the rows.
        return (
            "not_enough_data",
            f"chance alone gives {chance:.2f}; about {n_current * (chance / threshold) ** 2:.0f} rows",
        )
    return "stable", ""


def _missing_share_moved(
    missing: list[float], present_N: np.ndarray, n_reference: int, deals: np.ndarray, threshold: float
) -> bool:
    if missing[0] == missing[1]:
        return False
    codes = present_N.astype(np.int64)
    counts = [np.bincount(part, minlength=2) for part in (codes[:n_reference], codes[n_reference:])]
    score = category_score(counts[0], counts[1])
    return score >= threshold and score > category_chance(codes, deals)


def _overall(columns: tuple[ColumnDrift, ...]) -> tuple[Verdict, str]:
    def names(*verdicts: ColumnVerdict) -> str:
        return ", ".join(c.column for c in columns if c.verdict in verdicts)

    drifted, unjudged, absent = names("drifted"), names("not_enough_data", "missing"), names("absent")
    left_out = f"; in neither window: {absent}" if absent else ""
    if drifted:
        also = f"; could not be judged: {unjudged}" if unjudged else ""
        return "drifted", f"drifted: {drifted}{also}{left_out}"
    if unjudged:
        return "incomplete", f"no all-clear; could not be judged: {unjudged}{left_out}"
    return "stable", f"no drift in: {names('stable')}{left_out}"
