"""Drift verdicts: effect sizes, never an all-clear without data, every odd window named."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wasserstein_distance

from quality_checks.chance import category_score
from quality_checks.drift import ColumnDrift, DriftResult, drift_html, drift_report
from quality_checks.drift_frame import DRIFT_COLUMNS, drift_frame
from selective_autonomy.params import DriftParams
from selective_autonomy.traces.schema import Session

# What Evidently's own imports are warned about is not ours to mend.
pytestmark = [
    pytest.mark.filterwarnings("ignore:numpy.core is deprecated"),
    pytest.mark.filterwarnings("ignore:.*deprecated class 'DependencyKwarg'"),
    pytest.mark.filterwarnings("ignore:Call to deprecated function 'Dependency'"),
]
PARAMS = DriftParams(max_rows=5000, min_rows=200, category_threshold=0.15, number_threshold=0.2)
HEADS = [f"send_reply:r{i}" for i in range(20)]


def window(rows: int, seed: int, *, slower: float = 1.0, heads: list[str] = HEADS) -> pd.DataFrame:
    """`rows` steps of a steady desk, ten a session, all columns but p_accept."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(heads, rows)
    return pd.DataFrame(
        {
            "session_id": [f"{seed}-{i // 10}" for i in range(rows)],
            "action_type": [h.partition(":")[0] for h in chosen],
            "head": chosen,
            "procedure": rng.choice(["a", "b", "c"], rows),
            "accepted": rng.random(rows) < 0.8,
            "position": np.arange(rows) % 10,
            "text_length": rng.poisson(60, rows),
            "seconds": slower * rng.lognormal(2.5, 1.0, rows),
            "p_head": rng.beta(5, 2, rows),
        }
    )


def column(result: DriftResult, name: str) -> ColumnDrift:
    return next(c for c in result.columns if c.column == name)


@pytest.mark.parametrize("rows", [1000, 5000, 20_000])
def test_a_steady_desk_does_not_drift_at_any_sample_size(rows: int) -> None:
    result = drift_report(window(20_000, 1), window(rows, 2), PARAMS, seed=0)
    assert result.verdict == "stable"
    assert "in neither window: p_accept" in result.reason


@pytest.mark.parametrize("rows", [300, 1000, 20_000])
def test_a_slower_desk_drifts_at_every_sample_size(rows: int) -> None:
    result = drift_report(window(20_000, 1), window(rows, 2, slower=2.0), PARAMS, seed=0)
    assert result.verdict == "drifted"
    assert [c.column for c in result.columns if c.drifted] == ["seconds"]
    assert column(result, "seconds").score == pytest.approx(0.69, abs=0.12)  # 0.64 longer in log(1 + x), sigma 0.93


def test_false_alarms_are_rare_on_small_windows() -> None:
    verdicts = [drift_report(window(3000, 1), window(250, seed), PARAMS, seed=0).verdict for seed in range(10, 20)]
    assert verdicts.count("drifted") <= 1
    assert "stable" not in verdicts, "250 rows over 20 heads cannot show a distance of 0.15"


def test_too_few_rows_are_never_an_all_clear() -> None:
    result = drift_report(window(1000, 1), window(40, 2), PARAMS, seed=0)
    assert result.verdict == "not_enough_data"
    assert result.reason == "not enough data: 40 of 200 rows in the current window"
    assert (result.columns, result.snapshot) == ((), {})


@pytest.mark.parametrize("side", [0, 1])
def test_an_empty_window_is_named(side: int) -> None:
    windows = [window(1000, 1), window(1000, 2)]
    windows[side] = windows[side].iloc[:0]
    result = drift_report(windows[0], windows[1], PARAMS, seed=0)
    assert result.verdict == "not_enough_data"
    assert result.reason.startswith("not enough data: 0 of 200 rows")


def test_a_column_that_one_window_lacks_is_no_all_clear() -> None:
    result = drift_report(window(2000, 1), window(2000, 2).drop(columns="head"), PARAMS, seed=0)
    assert result.verdict == "incomplete"
    assert column(result, "head").verdict == "missing"
    assert column(result, "head").note == "no values in current"
    assert "head" in result.reason


def test_windows_without_a_watched_column_cannot_be_compared() -> None:
    bare = pd.DataFrame({"colour": ["red"] * 500})
    assert drift_report(bare, bare, PARAMS, seed=0).verdict == "not_enough_data"
    with pytest.raises(ValueError, match="no watched column"):
        drift_html(bare, bare, PARAMS, seed=0)


def test_a_new_category_is_named_and_drifts_when_it_is_common() -> None:
    result = drift_report(window(3000, 1), window(3000, 2, heads=[*HEADS, *["wait"] * 5]), PARAMS, seed=0)
    assert column(result, "head").drifted
    assert column(result, "head").note == "new: wait"
    assert column(result, "action_type").drifted


def test_one_class_in_both_windows_is_stable_and_says_so() -> None:
    windows = [window(2000, seed).assign(accepted=True) for seed in (1, 2)]
    accepted = column(drift_report(*windows, PARAMS, seed=0), "accepted")
    assert (accepted.verdict, accepted.score, accepted.note) == ("stable", 0.0, "one value in both windows")


def test_one_class_only_in_the_current_window_drifts() -> None:
    result = drift_report(window(2000, 1), window(2000, 2).assign(accepted=True), PARAMS, seed=0)
    assert column(result, "accepted").drifted


def test_values_that_go_missing_are_drift() -> None:
    current = window(2000, 2)
    current.loc[::5, "p_head"] = np.nan
    p_head = column(drift_report(window(2000, 1), current, PARAMS, seed=0), "p_head")
    assert p_head.drifted
    assert p_head.note == "missing values went from 0.0% to 20.0%"


def test_a_column_without_any_value_is_missing() -> None:
    result = drift_report(window(2000, 1), window(2000, 2).assign(p_head=np.inf), PARAMS, seed=0)
    assert column(result, "p_head").verdict == "missing"
    assert result.verdict == "incomplete"


def test_the_same_seed_gives_the_same_result() -> None:
    windows = window(20_000, 1), window(20_000, 2, slower=1.1)
    first, again, other = (drift_report(*windows, PARAMS, seed=seed) for seed in (5, 5, 6))
    assert first.summary() == again.summary()
    assert first.summary() != other.summary()
    assert (first.reference_rows, first.current_rows) == (20_000, 20_000)


def test_scores_are_those_of_the_stated_methods() -> None:
    reference, current = window(3000, 1), window(4000, 2, slower=1.5)
    result = drift_report(reference, current, PARAMS, seed=0)
    logs = [np.log1p(w["seconds"]) for w in (reference, current)]
    assert column(result, "seconds").score == pytest.approx(wasserstein_distance(*logs) / logs[0].std(ddof=0))
    counts = [w["procedure"].value_counts().reindex(["a", "b", "c"]).to_numpy() for w in (reference, current)]
    assert column(result, "procedure").score == pytest.approx(category_score(*counts))


def test_every_column_states_method_threshold_and_chance() -> None:
    result = drift_report(window(2000, 1), window(2000, 2), PARAMS, seed=0)
    assert [c.column for c in result.columns] == [c.name for c in DRIFT_COLUMNS]
    assert {c.method for c in result.columns} == {"jensenshannon", "wasserstein"}
    assert {c.threshold for c in result.columns if c.method == "wasserstein"} == {0.2}
    assert all(c.chance >= 0 for c in result.columns if c.verdict != "absent")
    assert json.loads(json.dumps(result.summary()))["verdict"] == result.verdict
    assert len(json.dumps(result.snapshot)) < 20_000


def test_dependent_steps_do_not_pass_for_drift() -> None:
    """All steps of a session are alike here, so 600 rows are worth 60: chance must know."""

    def alike(seed: int) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        return window(600, seed).assign(p_head=np.repeat(rng.random(60), 10))

    results = [column(drift_report(alike(1), alike(seed), PARAMS, seed=0), "p_head") for seed in range(20, 26)]
    assert sum(c.drifted for c in results) <= 1
    rows_alone = [
        column(drift_report(*(w.drop(columns="session_id") for w in (alike(1), alike(s))), PARAMS, seed=0), "p_head")
        for s in range(20, 26)
    ]
    assert sum(c.drifted for c in rows_alone) > sum(c.drifted for c in results)


def test_evidently_html_is_made_on_demand() -> None:
    assert "<html" in drift_html(window(500, 1), window(500, 2), PARAMS, seed=0)


def test_a_window_of_sessions_becomes_a_table_of_steps(session: Callable[..., Session]) -> None:
    sessions = [session(), session()]
    feedback = pd.DataFrame({"session_id": ["s0"], "index": [1], "accepted": [True], "p_head": [0.7]})
    table = drift_frame(sessions, feedback)
    assert len(table) == 8
    assert table["head"].tolist()[:4] == [
        "send_reply:greet",
        "submit_form:lookup",
        "send_reply:tell",
        "close_chat:timer",
    ]
    assert table["procedure"].tolist()[::4] == ["balance+card", "balance"]
    assert table["text_length"].tolist() == [len("Hi, ann@example.org here")] * 8
    assert table["p_head"].notna().tolist() == [False, True, *[False] * 6]
    assert drift_frame([], feedback).empty
