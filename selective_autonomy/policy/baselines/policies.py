"""The cheap policies: heads by a model of this folder, fields by usual values. What a trained policy has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from selective_autonomy.errors import ModelError
from selective_autonomy.params import MajorityParams, NgramParams, RegressionParams
from selective_autonomy.policy.baselines.counted_heads import CountedHeads
from selective_autonomy.policy.baselines.ngram import HeadNgram
from selective_autonomy.policy.baselines.regression import RegressionHeads
from selective_autonomy.policy.card import read_card, write_card
from selective_autonomy.policy.composed import ComposedPolicy
from selective_autonomy.policy.values.usual import UsualValues
from selective_autonomy.process.schema import ProcessSchema, load_process, save_process
from selective_autonomy.traces.schema import Session

BaselineParams = MajorityParams | NgramParams | RegressionParams
_params: TypeAdapter[BaselineParams] = TypeAdapter(Annotated[BaselineParams, Field(discriminator="kind")])
_SCHEMA, _VALUES = "process.yaml", "values.json"


class Baseline(ComposedPolicy):
    """A cheap policy, made by `fit`. The counted ones ("majority", "ngram") load in milliseconds."""

    heads: CountedHeads | RegressionHeads
    values: UsualValues

    def __init__(self, params: BaselineParams, heads: CountedHeads | RegressionHeads, values: UsualValues) -> None:
        super().__init__(heads, values)
        self.params = params

    @classmethod
    def fit(cls, train: Sequence[Session], schema: ProcessSchema, params: BaselineParams) -> Baseline:
        """Fit heads and count values on the train sessions.

        Raises:
            ModelError: they hold no operator action; for the regression, fewer than two different heads.
        """
        heads: CountedHeads | RegressionHeads
        if isinstance(params, RegressionParams):
            heads = RegressionHeads.fit(train, schema, rounds=params.rounds)
        else:
            heads = CountedHeads(schema, HeadNgram.fit(train), params.kind)
        return cls(params, heads, UsualValues.fit(train, schema))

    def save(self, out: Path) -> None:
        """Write the policy into the folder `out`: schema, heads, values, and the card last."""
        out.mkdir(parents=True, exist_ok=True)
        save_process(self.heads.schema, out / _SCHEMA)
        self.heads.save(out)
        self.values.save(out / _VALUES)
        write_card(out, self.params, self.heads.schema)

    @classmethod
    def load(cls, path: Path) -> Baseline:
        """Read what `save` wrote. Nothing in the folder is run.

        Raises:
            ProcessError: the schema is missing or wrong.
            ModelError: the card, the heads or the values are missing, damaged, or of another kind of policy.
        """
        card = read_card(path)
        try:
            params = _params.validate_python(card["params"])
        except ValidationError as err:
            raise ModelError(f"{path} holds no cheap policy: {err}; train it again") from err
        schema = load_process(path / _SCHEMA)
        heads: CountedHeads | RegressionHeads
        if isinstance(params, RegressionParams):
            heads = RegressionHeads.load(path, schema)
        else:
            heads = CountedHeads.load(path, schema, params.kind)
        return cls(params, heads, UsualValues.load(path / _VALUES, schema))
