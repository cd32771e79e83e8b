from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from desk_world import PARAMS, world
from pydantic import ValidationError
from small_policy import GENERATIVE, rows, untrained

from selective_autonomy.critic.kinds import fit_critic, load_critic
from selective_autonomy.critic.protocol import Critic
from selective_autonomy.errors import ModelError
from selective_autonomy.params import (
    CriticParams,
    EvidenceParams,
    GenerativeParams,
    PolicyProbabilityParams,
    ProcessParams,
    StackedParams,
    load_params,
)

ROOT = Path(__file__).parents[2]

KINDS: list[CriticParams] = [
    PolicyProbabilityParams(seed=1),
    PARAMS,
    GENERATIVE,
    StackedParams(evidence=PARAMS, generative=GENERATIVE, seed=1),
]


def fitted(params: CriticParams) -> Critic:
    w, fit = world(), rows(12)
    return fit_critic(w.train, w.schema, fit.befores, fit.proposals, fit.accepted, params, policy=untrained())


@pytest.mark.parametrize("params", KINDS, ids=lambda params: params.kind)
def test_every_kind_scores_after_loading_as_it_did_before(params: CriticParams, tmp_path: Path) -> None:
    critic, asked = fitted(params), rows(16)
    critic.save(tmp_path)
    again = load_critic(tmp_path, policy=untrained())
    p = critic.p_accept(asked.befores, asked.proposals)
    assert np.all((p > 0) & (p < 1))
    np.testing.assert_array_equal(again.p_accept(asked.befores, asked.proposals), p)
    np.testing.assert_array_equal(again.cuts(10), critic.cuts(10))
    assert (again.kind, again.calibration) == (params.kind, critic.calibration)
    assert np.all(np.diff(critic.cuts(10)) < 0)
    assert sum(critic.importances().values() or [1.0]) == pytest.approx(1)
    assert critic.p_accept([], []).shape == (0,)


@pytest.mark.parametrize("params", KINDS, ids=lambda params: params.kind)
def test_every_kind_refuses_feedback_of_one_class(params: CriticParams) -> None:
    w, fit = world(), rows(12)
    with pytest.raises(ModelError, match="both accepted and corrected"):
        fit_critic(w.train, w.schema, fit.befores, fit.proposals, np.ones(len(fit.befores)), params, policy=untrained())


@pytest.mark.parametrize("params", KINDS, ids=lambda params: params.kind)
def test_every_kind_is_the_same_for_the_same_feedback(params: CriticParams) -> None:
    asked = rows(3)
    first, second = (fitted(params).p_accept(asked.befores, asked.proposals) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("params", KINDS[2:], ids=lambda params: params.kind)
def test_a_critic_that_reads_with_the_policys_model_needs_one_that_has_one(params: CriticParams) -> None:
    w, fit = world(), rows(12)
    with pytest.raises(ModelError, match="expected 'causal_lm'"):
        fit_critic(w.train, w.schema, fit.befores, fit.proposals, fit.accepted, params, policy=w.policy)


@pytest.mark.parametrize("params", KINDS[2:], ids=lambda params: params.kind)
def test_a_critic_is_refused_beside_another_policy(params: CriticParams, tmp_path: Path) -> None:
    fitted(params).save(tmp_path)
    with pytest.raises(ModelError, match="fit the critic again"):
        load_critic(tmp_path, policy=untrained(seed=4))


@pytest.mark.parametrize("card", [None, "", "[]", '{"kind": "oracle"}'])
def test_a_folder_that_names_no_known_kind_holds_no_critic(tmp_path: Path, card: str | None) -> None:
    world().critic.save(tmp_path)
    (tmp_path / "critic.json").unlink()
    if card is not None:
        (tmp_path / "critic.json").write_text(card)
    with pytest.raises(ModelError):
        load_critic(tmp_path, policy=untrained())


@pytest.mark.parametrize("name", ["verdict.safetensors", "critic.txt", "calibrator.json", "critic.json"])
def test_a_stacked_critic_with_a_damaged_part_is_refused(tmp_path: Path, name: str) -> None:
    fitted(KINDS[3]).save(tmp_path)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:9])
    with pytest.raises(ModelError):
        load_critic(tmp_path, policy=untrained())


def test_a_critic_of_params_yaml_states_its_kind() -> None:
    critic = ProcessParams.model_fields["critic"]
    assert critic.is_required()
    rest = json.loads(PARAMS.model_dump_json(exclude={"kind"}))
    with pytest.raises(ValidationError, match="critic"):
        ProcessParams.model_validate({"source": "desk", "critic": rest})


def test_a_critic_that_knows_who_is_asked_may_not_learn_from_adjudicated_labels() -> None:
    desk = load_params(ROOT / "params.yaml").process("broadband")
    assert desk.certificate.adjudicated
    assert isinstance(desk.critic, EvidenceParams)
    knowing = desk.critic.model_copy(update={"operator_habits": True})
    stacked = StackedParams(evidence=knowing, generative=GenerativeParams(seed=1), seed=1)
    for critic in (knowing, stacked):
        with pytest.raises(ValueError, match="set operator_habits: false"):
            ProcessParams.model_validate({**desk.model_dump(), "critic": critic.model_dump()})
    raw = {
        **desk.model_dump(),
        "critic": knowing.model_dump(),
        "certificate": {**desk.certificate.model_dump(), "adjudicated": False},
    }
    assert ProcessParams.model_validate(raw).critic == knowing
