"""The values among which a field's value is chosen, the empty choice included, and where each comes from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from selective_autonomy.policy.values.field_values import is_closed, listed_values
from selective_autonomy.policy.values.reading import Mention, Reading, telling_weights
from selective_autonomy.process.actions import Scalar
from selective_autonomy.process.comparison import comparable
from selective_autonomy.process.schema import FieldSpec

_EARLIER = 3  # earlier values of a field that are offered again
_REMEMBERED = 200_000  # answers of the validator; some 100 bytes each


@dataclass(frozen=True, slots=True)
class Candidate:
    """A value that the field may take, or None: the field is left out.

    `usual`: times that train had it in this field. Ranks count from 0, the latest; -1: not from there. `filled`: in any
    form, `filled_here`: in this one. `next_number`: one more than the field's latest number.
    """

    value: Scalar | None
    key: str = ""
    listed: bool = False
    usual: int = 0
    filled: int = -1
    filled_here: int = -1
    shown: int = -1
    next_number: bool = False
    mention: Mention | None = None


class CandidateSource:
    """Finds the candidates of a field.

    Args:
        usual: "head field" -> {value: times given in train}, none of them personal.
        common: words that many sessions of train hold.
    """

    def __init__(self, usual: Mapping[str, Mapping[Scalar, int]], common: Iterable[str] = ()) -> None:
        self._common = frozenset(common)
        self._usual = {
            key: {comparable(value): (value, times) for value, times in values.items()} for key, values in usual.items()
        }
        self._known = frozenset(key for values in self._usual.values() for key in values)
        self._weights: dict[str, dict[str, float]] = {}
        self._valid: dict[tuple[str, str, type, Scalar], bool] = {}

    def candidates(self, head: str, spec: FieldSpec, log: Reading) -> list[Candidate]:
        """Every candidate once, all of them valid; the empty choice first unless the field is required."""
        key = f"{head} {spec.id}"
        listed = {comparable(value): value for value in listed_values(spec)}
        usual = self._usual.get(key, {})
        form = head.partition(":")[2]
        filled = self._earlier(key, spec, log.filled)
        filled_here = self._earlier(key, spec, (one for one in log.filled if one[0] == form))
        shown = self._earlier(key, spec, log.shown)
        following = self._following(key, spec, filled_here or filled)
        found: dict[str, Scalar] = dict(listed)
        for more in ({k: value for k, (value, _) in usual.items()}, filled, shown, following):
            for k, value in more.items():
                if k in listed or self._is_valid(key, spec, value):
                    found.setdefault(k, value)
        # From schema and train alone: what another case held must not weigh in this one.
        if key not in self._weights:
            self._weights[key] = telling_weights({*listed, *usual})
        if not is_closed(spec.schema_):
            for span in log.spans(self._known, self._common):
                k = comparable(span)
                typed = self._typed(key, spec, span) if k not in found else None
                if typed is not None:
                    found[k] = typed
        ranks = [{k: rank for rank, k in enumerate(values)} for values in (filled, filled_here, shown)]
        result = [] if spec.required else [Candidate(None)]
        result += [
            Candidate(
                value,
                key=k,
                listed=k in listed,
                usual=usual[k][1] if k in usual else 0,
                filled=ranks[0].get(k, -1),
                filled_here=ranks[1].get(k, -1),
                shown=ranks[2].get(k, -1),
                next_number=k in following,
                mention=log.mention(k, self._weights[key]),
            )
            for k, value in found.items()
        ]
        return result

    def weights(self, key: str) -> Mapping[str, float]:
        """Of the field whose candidates were asked for: how much each word tells its values apart."""
        return self._weights.get(key, {})

    def _earlier(
        self, key: str, spec: FieldSpec, entries: Iterable[tuple[str, Mapping[str, Scalar]]]
    ) -> dict[str, Scalar]:
        """The latest different values under the field's id, newest first."""
        values: dict[str, Scalar] = {}
        for _, given in entries:
            if spec.id in given and self._is_valid(key, spec, given[spec.id]):
                values.setdefault(comparable(given[spec.id]), given[spec.id])
            if len(values) == _EARLIER:
                break
        return values

    def _following(self, key: str, spec: FieldSpec, earlier: Mapping[str, Scalar]) -> dict[str, Scalar]:
        latest = next(iter(earlier.values()), None)
        if not isinstance(latest, int) or isinstance(latest, bool):
            return {}
        return {comparable(latest + 1): latest + 1} if self._is_valid(key, spec, latest + 1) else {}

    def _typed(self, key: str, spec: FieldSpec, said: str) -> Scalar | None:
        """What was said as a value of the field: a number where it takes numbers, else the text; None: neither."""
        return next((v for v in (_number(said), said) if v is not None and self._is_valid(key, spec, v)), None)

    def _is_valid(self, key: str, spec: FieldSpec, value: Scalar) -> bool:
        asked = (key, spec.id, type(value), value)
        if asked not in self._valid:
            if len(self._valid) >= _REMEMBERED:
                self._valid.clear()
            self._valid[asked] = bool(spec.validator.is_valid(value))
        return self._valid[asked]


def _number(text: str) -> Scalar | None:
    digits = text.lstrip("$").rstrip("%")
    if not digits.isascii() or not digits.replace(".", "", 1).isdigit():
        return None
    return float(digits) if "." in digits else int(digits)
