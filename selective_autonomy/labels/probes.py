"""Planted probes: proposals whose truth is known, shown among real ones, so that answers can be checked.

Where a probe stands is a keyed draw: replayable by who holds the key, not to be foreseen by who is asked. A probe is an
adjudicated proposal shown again, or a right one that was made wrong (`perturbed`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from selective_autonomy.certify.binomial import upper_limit
from selective_autonomy.evaluation.intervals import Figure, binomial_interval
from selective_autonomy.frozen import Frozen
from selective_autonomy.keyed_draw import drawn, uniform
from selective_autonomy.process.actions import Scalar, SendReply, SubmitForm, TransferChat, UIAction
from selective_autonomy.process.schema import FieldSpec, ProcessSchema

T = TypeVar("T")


class Probe(Frozen):
    """One drawn step: `probability` is that of the draw, kept for whoever weighs by it. `index`: of the step."""

    session_id: str
    index: int
    probability: float


def planted(steps: Iterable[tuple[str, int]], *, key: bytes, rate: float) -> list[Probe]:
    """The steps (session id, index) at which a probe is shown, each drawn by itself with probability `rate`."""
    return [
        Probe(session_id=session_id, index=index, probability=rate)
        for session_id, index in steps
        if drawn(key, "probe", session_id, str(index), rate=rate)
    ]


def perturbed(action: UIAction, schema: ProcessSchema, *, key: bytes, parts: Sequence[str]) -> UIAction | None:
    """A right action with one value changed to another that the schema admits, or another queue; None if it has none.

    It is wrong if the action was right and only that value is right for the field: so not for free text. Which value,
    and to what, is a keyed draw over `parts`.
    """
    if isinstance(action, TransferChat):
        queues = [queue for queue in schema.queues if queue != action.queue]
        return TransferChat(queue=_pick(queues, key, parts)) if queues else None
    if isinstance(action, SubmitForm):
        fields, values = schema.forms_by_id[action.form].fields, action.values
    elif isinstance(action, SendReply):
        fields, values = schema.replies_by_id[action.template].slots, action.slots
    else:
        return None
    options = {
        field.id: others for field in fields if field.id in values and (others := _others(field, values[field.id]))
    }
    if not options:
        return None
    name = _pick(sorted(options), key, [*parts, "field"])
    changed = {**values, name: _pick(options[name], key, [*parts, "value"])}
    if isinstance(action, SubmitForm):
        return action.model_copy(update={"values": changed})
    return action.model_copy(update={"slots": changed})


class ProbeAnswers(Frozen):
    """How probes were answered: `caught` of the `wrong` and `alarmed` of the `right` ones were called wrong."""

    caught: int = 0
    wrong: int = 0
    alarmed: int = 0
    right: int = 0

    @property
    def sensitivity(self) -> Figure:
        """P(says wrong | truly wrong) with its exact 95 % interval; nan in [0, 1] without a probe."""
        return binomial_interval(self.caught, self.wrong)

    @property
    def false_alarm(self) -> Figure:
        """P(says wrong | truly right) with its exact 95 % interval; nan in [0, 1] without a probe."""
        return binomial_interval(self.alarmed, self.right)

    def least_sensitivity(self, delta: float) -> float:
        """Clopper–Pearson lower limit: below the true sensitivity except with probability delta. 0.0 without a probe.

        Assumption: probes are answered independently, and as proposals of their kind would be.
        """
        return 1 - float(upper_limit(self.wrong - self.caught, self.wrong, delta))

    def most_false_alarm(self, delta: float) -> float:
        """Clopper–Pearson upper limit: above the true false-alarm rate except with probability delta."""
        return float(upper_limit(self.alarmed, self.right, delta))


def probe_answers(answers: Iterable[tuple[str, bool, bool]]) -> tuple[ProbeAnswers, dict[str, ProbeAnswers]]:
    """The crew's counts and each operator's, from (operator id, truly wrong, said wrong).

    The crew's limits take operators together: they hold for the mix of operators that answered the probes.
    """
    counts: dict[str, list[int]] = {}
    for operator_id, truly_wrong, says_wrong in answers:
        mine = counts.setdefault(operator_id, [0, 0, 0, 0])
        at = 0 if truly_wrong else 2
        mine[at] += bool(says_wrong)
        mine[at + 1] += 1
    crew = [sum(column) for column in zip(*counts.values(), strict=True)] or [0, 0, 0, 0]
    return _answers(crew), {name: _answers(mine) for name, mine in sorted(counts.items())}


def _answers(counts: Sequence[int]) -> ProbeAnswers:
    caught, wrong, alarmed, right = counts
    return ProbeAnswers(caught=caught, wrong=wrong, alarmed=alarmed, right=right)


def _others(field: FieldSpec, value: Scalar) -> list[Scalar]:
    """Values that could be mistaken for this one: the other choices, or one digit changed."""
    if field.choices is not None:
        return [choice for choice in field.choices if choice != value]
    text = str(value)
    digits = [at for at, character in enumerate(text) if character.isdigit()]
    changed = [f"{text[:at]}{(int(text[at]) + 1) % 10}{text[at + 1 :]}" for at in digits]
    same_kind: list[Scalar] = [type(value)(one) if isinstance(value, int | float) else one for one in changed]
    return [one for one in same_kind if one != value and field.admits(one)]


def _pick(options: Sequence[T], key: bytes, parts: Sequence[str]) -> T:
    return options[int(uniform(key, "perturb", *parts) * len(options))]
