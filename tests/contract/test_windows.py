from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from selective_autonomy.contract.windows import Window, fold_windows

BUDGET = 40
_segments = st.lists(st.tuples(st.integers(1, BUDGET // 4), st.booleans()), max_size=40)


def _fold(segments: list[tuple[int, bool]]) -> tuple[list[int], list[bool], tuple[Window, ...]]:
    lengths = [3] + [length for length, _ in segments]
    is_action = [False] + [action for _, action in segments]
    return lengths, is_action, fold_windows(lengths, is_action, BUDGET)


@given(_segments)
def test_every_action_is_prompted_once_with_what_serving_would_show(segments: list[tuple[int, bool]]) -> None:
    lengths, is_action, windows = _fold(segments)
    prompted = {
        index: window.segments[: window.segments.index(index)]
        for window in windows
        for index in window.segments
        if is_action[index] and index >= window.new_from
    }
    assert sorted(prompted) == [i for i, action in enumerate(is_action) if action]
    for index, past in prompted.items():
        served = fold_windows(lengths[:index], is_action[:index], BUDGET)[-1]
        assert past == served.segments


@given(_segments)
def test_a_prompt_fits_the_budget_and_keeps_the_header(segments: list[tuple[int, bool]]) -> None:
    lengths, _, windows = _fold(segments)
    assert sum(lengths[i] for i in windows[-1].segments) <= BUDGET
    for window in windows:
        assert window.segments[0] == 0
        assert sum(lengths[i] for i in window.segments[:-1]) <= BUDGET


@given(_segments)
def test_a_session_that_fits_is_one_window_with_everything(segments: list[tuple[int, bool]]) -> None:
    lengths, is_action, _ = _fold(segments)
    (window,) = fold_windows(lengths, is_action, sum(lengths))
    assert window.segments == tuple(range(len(lengths)))


def test_the_oldest_messages_go_before_any_action() -> None:
    lengths, is_action = [3, 10, 3, 10, 3, 8, 10], [False, False, True, False, True, False, False]
    last = fold_windows(lengths, is_action, BUDGET)[-1]
    assert last.segments == (0, 2, 4, 6)


def test_once_cut_a_window_grows_by_many_steps_before_it_is_cut_again() -> None:
    lengths = [3] + [2] * 200
    windows = fold_windows(lengths, [False] + [True] * 200, BUDGET)
    assert all(len(window.segments) >= 9 for window in windows)
    assert len(windows) <= 200 * 2 // (BUDGET // 2) + 1
