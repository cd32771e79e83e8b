from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from selective_autonomy.contract.windows import Part, Window, fold_windows

BUDGET = 40
HEADER = Part("header", 3)
_lengths = st.integers(1, BUDGET // 4)
_parts = st.one_of(
    st.builds(Part, st.sampled_from(["customer", "action"]), _lengths),
    st.builds(Part, st.just("screen"), _lengths, st.frozensets(st.sampled_from(["form:a", "form:b", "screen"]))),
)
_logs = st.lists(_parts, max_size=40).map(lambda parts: [HEADER, *parts])


@given(_logs)
def test_every_action_is_prompted_once_with_what_serving_would_show(parts: list[Part]) -> None:
    prompted = {
        index: window.segments[: window.segments.index(index)]
        for window in fold_windows(parts, BUDGET)
        for index in window.segments
        if parts[index].kind == "action" and index >= window.new_from
    }
    assert sorted(prompted) == [i for i, part in enumerate(parts) if part.kind == "action"]
    for index, past in prompted.items():
        assert past == fold_windows(parts[:index], BUDGET)[-1].segments


@given(_logs)
def test_a_prompt_fits_the_budget_and_keeps_the_header(parts: list[Part]) -> None:
    windows = fold_windows(parts, BUDGET)
    assert sum(parts[i].length for i in windows[-1].segments) <= BUDGET
    for window in windows:
        assert window.segments[0] == 0
        assert sum(parts[i].length for i in window.segments[:-1]) <= BUDGET


@given(_logs)
def test_a_session_that_fits_is_one_window_with_everything(parts: list[Part]) -> None:
    (window,) = fold_windows(parts, sum(part.length for part in parts))
    assert window.segments == tuple(range(len(parts)))


def _state(parts: list[Part], until: int) -> set[int]:
    """The screen updates before `until` that still show something: the state of the forms."""
    return {
        i
        for i in range(1, until)
        if parts[i].shows - frozenset().union(*(later.shows for later in parts[i + 1 : until]))
    }


@given(_logs)
def test_form_state_is_kept_as_long_as_any_customer_text_is(parts: list[Part]) -> None:
    for window in fold_windows(parts, BUDGET)[1:]:
        at_cut = window.new_from - 1  # the segment that did not fit
        kept = set(window.segments)
        if any(parts[i].kind == "customer" for i in kept if i < at_cut):
            assert _state(parts, at_cut + 1) - {at_cut} <= kept | _dropped_before(parts, window)


def _dropped_before(parts: list[Part], window: Window) -> set[int]:
    """What an earlier cut had left out already: it does not come back."""
    earlier = fold_windows(parts[: window.new_from - 1], BUDGET)[-1].segments
    return set(range(window.new_from - 1)) - set(earlier)


def test_what_goes_goes_in_the_order_that_is_promised() -> None:
    say, do, show = Part("customer", 5), Part("action", 5), Part("screen", 5, frozenset({"form:a"}))
    parts = [HEADER, say, show, do, say, show, do, say]
    assert _kept(parts, new=Part("action", 3)) == (0, 5, 7)  # older messages, what is shown no more, actions
    assert _kept(parts, new=Part("action", 10)) == (0, 5)  # then the last message; the form's state stays
    assert _kept(parts, new=Part("screen", 10, frozenset({"form:a"}))) == (0, 7)  # unless the new one replaces it
    assert _kept(parts, new=Part("customer", 3)) == (0, 5, 6)  # a new message is the one to be answered


def _kept(parts: list[Part], *, new: Part) -> tuple[int, ...]:
    kept = fold_windows([*parts, new], BUDGET)[-1].segments
    assert kept[-1] == len(parts)
    return kept[:-1]


def test_once_cut_a_window_grows_by_many_steps_before_it_is_cut_again() -> None:
    parts = [HEADER, *[Part("action", 2)] * 200]
    windows = fold_windows(parts, BUDGET)
    assert all(len(window.segments) >= 9 for window in windows)
    assert len(windows) <= 200 * 2 // (BUDGET // 2) + 1
