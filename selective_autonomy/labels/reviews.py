"""A review: what one operator said about one proposal. Several of one proposal are what reliability is told from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Review(NamedTuple):
    """`item`: the proposal, by any id. `says_wrong`: corrected, and not merely because of another taste."""

    item: str
    operator_id: str
    says_wrong: bool


def by_item(reviews: Iterable[Review]) -> dict[str, dict[str, bool]]:
    """Item -> operator -> said wrong, in order of first appearance. An operator's last word on an item counts."""
    found: dict[str, dict[str, bool]] = {}
    for item, operator_id, says_wrong in reviews:
        found.setdefault(item, {})[operator_id] = bool(says_wrong)
    return found
