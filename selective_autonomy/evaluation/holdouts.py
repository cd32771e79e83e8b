"""What a policy is trained on and measured on, so that what is measured was never seen: sessions, operators, processes.

The plain hold-out is the split itself. Two ask how much of the accuracy is the operators' habits or the processes' own
traces: whole operators, or every session of some procedures, are kept out of training and measured on. The last one is
the split that a corpus was published with, to compare with what others report on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from selective_autonomy.errors import SplitError
from selective_autonomy.params import HoldoutParams
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.splits import Split

HoldoutName = Literal["none", "operators", "processes", "published"]
HOLDOUTS: tuple[HoldoutName, ...] = get_args(HoldoutName)


@dataclass(frozen=True)
class HeldOut:
    """Sessions to train on and sessions to measure on; neither is empty and no session is in both.

    `procedures`: those that no train session has open, where that is what the hold-out is about.
    """

    name: HoldoutName
    train: list[Session]
    test: list[Session]
    procedures: tuple[str, ...] = ()


def hold_out(
    name: HoldoutName, sessions: Sequence[Session], splits: Mapping[str, Split], params: HoldoutParams | None
) -> HeldOut:
    """Training and measured sessions of a hold-out, each in the order given. Sessions without a split take no part.

    "none": train and test split. "operators", "processes": the train split without the held-out operators or
    procedures, against all of *their* sessions, whichever split those are in. A procedure is held out with every
    session that has it open, also beside others; what the schema says of it (graph, forms, reply texts) may be read.
    "published": the sessions that bear the labels of either side, whichever of our own splits they are in.

    Raises:
        SplitError: `params` names nothing to hold out, a side would be empty, or an operator would be on both.
    """
    split = [session for session in sessions if session.session_id in splits]
    if name == "none":
        train = [s for s in split if splits[s.session_id] == "train"]
        return _checked(HeldOut(name, train, [s for s in split if splits[s.session_id] == "test"]))
    if name == "published":
        sides = params.published if params else None
        if sides is None:
            raise SplitError("no published split is described; name published under holdouts of the process")
        train, test = ([s for s in split if side.items() <= s.labels.items()] for side in (sides.train, sides.test))
        return _checked(HeldOut(name, train, test))
    apart = _apart(name, params or HoldoutParams())
    train = [s for s in split if splits[s.session_id] == "train" and not apart(s)]
    procedures = params.procedures if params and name == "processes" else ()
    held = _checked(HeldOut(name, train, [s for s in split if apart(s)], procedures))
    both = {s.operator_id for s in held.train} & {s.operator_id for s in held.test}
    if name == "operators" and both:
        raise SplitError(
            f"{len(both)} operators would be trained and measured on, e.g. {sorted(both)[:3]}; hold out operators by "
            "their ids, or by a label that all sessions of an operator share"
        )
    return held


def _apart(name: HoldoutName, params: HoldoutParams) -> Callable[[Session], bool]:
    """Whether a session is held out."""
    if name == "processes" and params.procedures:
        procedures = set(params.procedures)
        return lambda session: bool(procedures & set(session.procedures))
    if name == "operators" and (params.operators or params.operator_labels):
        ids, labels = set(params.operators), params.operator_labels.items()
        return lambda session: session.operator_id in ids or (bool(labels) and labels <= session.labels.items())
    asked = "procedures" if name == "processes" else "operators or operator_labels"
    raise SplitError(f"nothing to hold out for {name!r}; name {asked} under holdouts of the process in params.yaml")


def _checked(held: HeldOut) -> HeldOut:
    for side, sessions in (("train", held.train), ("measured", held.test)):
        if not sessions:
            raise SplitError(
                f"hold-out {held.name!r} leaves no {side} sessions ({len(held.train)} to train on, {len(held.test)} to "
                "measure); check what holdouts of the process name in params.yaml, or give more traces"
            )
    return held
