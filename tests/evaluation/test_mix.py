"""The mixing experiment, small: on cases whose late operators do what no early one did."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "contract"))

from parcel_process import PARCEL, do, say, session

from selective_autonomy.errors import SplitError
from selective_autonomy.evaluation.mix import EARLY, MANY, ROWS, Mix
from selective_autonomy.evaluation.mix_sessions import part_sessions
from selective_autonomy.params import CausalLMParams, MixParams, PreferenceParams, load_params
from selective_autonomy.policy.corrections import corrected_steps
from selective_autonomy.process.actions import SendReply, SubmitForm, Wait
from selective_autonomy.traces.schema import Session

PARAMS = MixParams(
    few=0.3,
    many=0.6,
    policy=CausalLMParams(
        hidden=32, layers=2, heads=2, vocabulary=320, context=1024, epochs=40, batch_tokens=400, learning_rate=5e-3,
        warmup=0.1, weight_decay=0.01, lora_rank=0, seed=3,
    ),
    preferences=PreferenceParams(loss="sigmoid", learning_rate=1e-3, epochs=1, batch_pairs=4, seed=3),
)  # fmt: skip


def _case(number: int, *, new_rule: bool) -> Session:
    """A parcel is looked up; where customers have no hurry, operators wait, which no early log shows."""
    return session(
        say(f"my parcel P{100 + number % 7} is late"),
        do(SendReply(template="hello")),
        say("no hurry" if new_rule else "please look"),
        do(Wait() if new_rule else SubmitForm(form="lookup", values={"number": f"P{100 + number % 7}"})),
        session_id=f"case-{number:03}",
    )


TRAIN = [_case(number, new_rule=number >= 24) for number in range(40)]
HELD_OUT = [_case(number, new_rule=True) for number in range(100, 112)]


def test_the_parts_follow_one_another_and_few_is_the_beginning_of_many() -> None:
    parts = part_sessions(TRAIN, HELD_OUT, PARAMS)
    ids = [[s.session_id for s in part] for part in (parts.few, parts.many, parts.later)]
    assert ids[1][: len(ids[0])] == ids[0]
    assert (len(ids[0]), len(ids[1]), len(ids[2])) == (12, 24, 16)
    assert ids[1] + ids[2] == [s.session_id for s in TRAIN]


def test_a_thinned_experiment_keeps_its_spread_over_time() -> None:
    parts = part_sessions(TRAIN, HELD_OUT, PARAMS.model_copy(update={"train_share": 0.5, "held_out_share": 0.25}))
    assert [s.session_id for s in parts.many + parts.later] == [s.session_id for s in TRAIN[::2]]
    assert len(parts.held_out) == 3


def test_an_experiment_with_an_empty_part_is_refused() -> None:
    with pytest.raises(SplitError, match="no few sessions"):
        part_sessions(TRAIN[:2], HELD_OUT, PARAMS)


def test_corrections_teach_what_the_early_logs_do_not_show_and_rows_are_done_once(tmp_path: Path) -> None:
    pytest.importorskip("trl")
    parts = part_sessions(TRAIN, HELD_OUT, PARAMS)
    names = (EARLY, MANY, "many logs + all corrections", "many logs, then DPO")
    rows = [row for row in ROWS if row.name in names]
    mix = Mix(parts, PARCEL, PARAMS, tmp_path)
    said: list[str] = []
    figures = {figure.name: figure for figure in mix.run(rows, say=said.append)}
    assert len(said) == len(rows)
    # The early policy errs at the second step of every late case, and nowhere else.
    assert {frozenset({3})} == set(corrected_steps(mix.corrections()).values())
    early, mixed = figures[EARLY], figures["many logs + all corrections"]
    assert (early.log["loose"].value, early.rejected_hard["loose"].value) == (0.5, 0.0)
    assert early.rejected_hard["loose"].n == len(HELD_OUT)
    assert figures[MANY].rejected_hard["tool"].value == 0.0
    assert (mixed.log_steps, mixed.corrections) == (2 * len(parts.many), len(parts.later))
    assert mixed.rejected_hard["tool"].value > 0.5
    assert mixed.difference_rejected_hard["tool"].value == mixed.rejected_hard["tool"].value
    assert figures["many logs, then DPO"].corrections == len(parts.later)

    again: list[str] = []
    assert list(figures.values()) == Mix(parts, PARCEL, PARAMS, tmp_path).run(rows, say=again.append)
    assert again == []


def test_other_code_or_parameters_make_a_row_anew(tmp_path: Path) -> None:
    parts, early = part_sessions(TRAIN, HELD_OUT, PARAMS), [row for row in ROWS if row.name == EARLY]
    other = PARAMS.model_copy(update={"policy": PARAMS.policy.model_copy(update={"seed": 4})})
    preferred = PARAMS.model_copy(update={"preferences": PARAMS.preferences.model_copy(update={"beta": 0.2})})
    made: list[int] = []
    for params, code in ((PARAMS, "a"), (PARAMS, "a"), (preferred, "a"), (PARAMS, "b"), (other, "b")):
        said: list[str] = []
        Mix(parts, PARCEL, params, tmp_path, code=code).run(early, say=said.append)
        made.append(len(said))
    assert made == [1, 0, 0, 1, 1]


def test_half_of_the_corrections_come_from_the_first_half_of_the_later_sessions(tmp_path: Path) -> None:
    parts = part_sessions(TRAIN, HELD_OUT, PARAMS)
    mix = Mix(parts, PARCEL, PARAMS, tmp_path)
    mix.run([row for row in ROWS if row.name == EARLY])
    half = sorted({c.session_id for c in mix.corrections(0.5)})
    assert half == [s.session_id for s in parts.later[: len(parts.later) // 2]]


def test_the_settings_of_the_experiment_are_readable() -> None:
    params = load_params(Path(__file__).parents[2] / "params.yaml")
    assert params.mix["small"].train_share < params.mix["full"].train_share
