"""Which proposals other operators judge too, and who: a keyed draw, so that what is shared was chosen by chance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from selective_autonomy.frozen import Frozen
from selective_autonomy.keyed_draw import drawn, uniform


class SecondReview(Frozen):
    """A step (`session_id`, `index`) whose proposal the `operators` are to judge; `probability` is that of the draw."""

    session_id: str
    index: int
    operators: tuple[str, ...]
    probability: float


def second_reviews(
    steps: Iterable[tuple[str, int, str]], crew: Sequence[str], *, key: bytes, rate: float, colleagues: int = 2
) -> list[SecondReview]:
    """The steps drawn from (session id, index, operator id), each by itself with probability `rate`.

    Two colleagues: with the first verdict that is three, the fewest that tell who errs without any known truth.

    Args:
        crew: who may be asked; never whose step it is. Fewer than `colleagues` others: all of them.
    """
    return [
        SecondReview(
            session_id=session_id,
            index=index,
            operators=chosen(crew, session_id, index, key=key, count=colleagues, but=operator_id),
            probability=rate,
        )
        for session_id, index, operator_id in steps
        if drawn(key, "second review", session_id, str(index), rate=rate)
    ]


def chosen(
    crew: Sequence[str], session_id: str, index: int, *, key: bytes, count: int, but: str = ""
) -> tuple[str, ...]:
    """`count` operators of the crew by a keyed draw for this step, all equally likely; not `but`."""
    others = sorted(set(crew) - {but}, key=lambda name: uniform(key, "colleague", session_id, str(index), name))
    return tuple(others[:count])
