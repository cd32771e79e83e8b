from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from desk_world import world

from selective_autonomy.critic.operator_habits import NAMES, OperatorHabits
from selective_autonomy.errors import ModelError
from selective_autonomy.policy.baselines.ngram import situation_of
from selective_autonomy.process.actions import head
from selective_autonomy.traces.screen import steps


def test_an_operator_nobody_knows_has_no_habits() -> None:
    train = world().train
    habits = OperatorHabits.fit(train)
    row = dict(
        zip(NAMES, habits.row("nobody", situation_of(train[0].before(1)), ["wait", "transfer_chat:x"]), strict=True)
    )
    assert row["operator_steps"] == row["operator_steps_here"] == 0
    assert row["operator_lift"] == pytest.approx(0.0)
    assert row["operator_lift_here"] == pytest.approx(0.0)


def test_what_an_operator_does_more_often_than_others_is_lifted() -> None:
    first = world().train[0]
    step = next(iter(steps(first)))
    done, before = head(step.action), situation_of(step.before)
    others = [s.model_copy(update={"operator_id": f"other-{n}"}) for n, s in enumerate(world().train[1:60])]
    fan = [first.model_copy(update={"operator_id": "fan", "session_id": f"again-{n}"}) for n in range(30)]
    habits = OperatorHabits.fit([*others, *fan])
    place = NAMES.index("operator_lift_here")
    assert habits.row("fan", before, [done])[place] >= habits.row("other-1", before, [done])[place]
    never = habits.row("fan", before, ["submit_form:never"])
    assert never[NAMES.index("operator_share_here")] < 0.01
    assert np.isfinite(never).all()


def test_habits_survive_saving_and_a_damaged_file_is_refused(tmp_path: Path) -> None:
    habits = OperatorHabits.fit(world().train[:40])
    habits.save(tmp_path)
    situation = situation_of(world().train[0].before(1))
    operator = world().train[0].operator_id
    assert OperatorHabits.load(tmp_path).row(operator, situation, ["wait"]) == habits.row(operator, situation, ["wait"])
    (tmp_path / "operator_habits.json").write_text('{"version": 9}')
    with pytest.raises(ModelError, match="version 9"):
        OperatorHabits.load(tmp_path)
    (tmp_path / "operator_habits.json").unlink()
    with pytest.raises(ModelError, match="fit the critic again"):
        OperatorHabits.load(tmp_path)
