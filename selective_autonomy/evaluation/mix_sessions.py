"""Which sessions the mixing experiment learns from, in what order, and which it is measured on."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from selective_autonomy.errors import SplitError
from selective_autonomy.params import MixParams
from selective_autonomy.traces.schema import Session


@dataclass(frozen=True)
class MixSessions:
    """`few` is the beginning of `many`; `later` follows on `many`; `held_out` is in none of them.

    The first three hold the strata one after another, each in time.
    """

    few: list[Session]
    many: list[Session]
    later: list[Session]
    held_out: list[Session]


def part_sessions(train: Sequence[Session], held_out: Sequence[Session], params: MixParams) -> MixSessions:
    """Cut the train sessions in time within each stratum, as the splits are cut; thin out all if `params` asks for it.

    Raises:
        SplitError: a part is empty.
    """
    parts = MixSessions([], [], [], _thinned(sorted(held_out, key=lambda s: s.session_id), params.held_out_share))
    for stratum in _by_stratum(train).values():
        in_time = _thinned(sorted(stratum, key=lambda s: (s.events[0].at, s.session_id)), params.train_share)
        few, many = (math.floor(len(in_time) * share + 1e-9) for share in (params.few, params.many))
        parts.few.extend(in_time[:few])
        parts.many.extend(in_time[:many])
        parts.later.extend(in_time[many:])
    for name in ("few", "many", "later", "held_out"):
        if not getattr(parts, name):
            raise SplitError(
                f"the mixing experiment has no {name} sessions: got {len(train)} train and {len(held_out)} held-out "
                "sessions; give more sessions or larger shares"
            )
    return parts


def first_share(sessions: Sequence[Session], share: float) -> list[Session]:
    """The first `share` of each stratum's sessions, in their order."""
    return [s for stratum in _by_stratum(sessions).values() for s in stratum[: round(len(stratum) * share)]]


def _by_stratum(sessions: Sequence[Session]) -> dict[str, list[Session]]:
    """`labels["stratum"]` ("all" where there is none) -> its sessions, strata in order of their names."""
    strata: dict[str, list[Session]] = defaultdict(list)
    for session in sessions:
        strata[session.labels.get("stratum", "all")].append(session)
    return dict(sorted(strata.items()))


def _thinned(sessions: Sequence[Session], share: float) -> list[Session]:
    """An evenly spaced share of the sessions, in their order."""
    count = round(len(sessions) * share)
    return [sessions[i * len(sessions) // count] for i in range(count)] if count else []
