"""Scores of legal heads by marker, words and place; and what is known of heads that were never trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from parcel_process import PARCEL, do, say, session

from selective_autonomy.contract import Contract
from selective_autonomy.contract.pieces import Marker
from selective_autonomy.errors import ModelError
from selective_autonomy.params import CausalLMParams
from selective_autonomy.policy.causal_lm.base import make_base
from selective_autonomy.policy.causal_lm.loss import choice_loss
from selective_autonomy.policy.causal_lm.model import PolicyModel
from selective_autonomy.policy.causal_lm.scorer import HeadChoices, HeadScorer
from selective_autonomy.policy.causal_lm.tokenizer import Encoder
from selective_autonomy.process.actions import SendReply
from selective_autonomy.process.legality import legal_heads
from selective_autonomy.process.schema import ProcessSchema
from selective_autonomy.traces.screen import derive_screen

_WIDTH = 32
_OPEN = session(say("hello"), do(SendReply(template="hello")), procedures=("track",))
_LEGAL = legal_heads(PARCEL, derive_screen(_OPEN))


def _model(tiny: CausalLMParams, schema: ProcessSchema = PARCEL, **more: object) -> tuple[PolicyModel, Encoder]:
    """An untrained model whose scorer has random weights everywhere, none of them trained."""
    torch.manual_seed(5)
    contract = Contract(schema)
    lm, tokenizer = make_base(tiny, contract, ["hello my parcel is lost"])
    encoder = Encoder(contract, tokenizer)
    scorer = HeadScorer(schema, encoder, width=_WIDTH, **more)
    with torch.no_grad():
        for parameter in scorer.parameters():
            parameter.normal_()
    return PolicyModel(lm, scorer), encoder


@pytest.fixture
def model(tiny: CausalLMParams) -> PolicyModel:
    return _model(tiny)[0].eval()


def _choices(scorer: HeadScorer, *legal: Sequence[str]) -> HeadChoices:
    return HeadChoices.of(
        [scorer.indices(names) for names in legal], [scorer.features.next(_OPEN, names) for names in legal], "cpu"
    )


def _scores(model: PolicyModel, *, named: bool = True) -> torch.Tensor:
    assert model.scorer is not None
    states = torch.linspace(-1, 1, _WIDTH)[None]
    return model.head_scores(states, _choices(model.scorer, _LEGAL), torch.tensor([named]))[0]


def _move_markers(model: PolicyModel, encoder: Encoder, names: Sequence[str]) -> None:
    """Give heads another marker; the words of no head are made of markers, so nothing else changes."""
    with torch.no_grad():
        for name in names:
            model.lm.get_output_embeddings().weight[encoder.marker_id(Marker(name))] += torch.linspace(0, 3, _WIDTH)


def test_every_legal_head_has_a_finite_score_and_padding_has_none(model: PolicyModel) -> None:
    assert model.scorer is not None
    few = _LEGAL[:3]
    with torch.no_grad():
        scores_NK = model.head_scores(torch.randn(2, _WIDTH), _choices(model.scorer, _LEGAL, few))
    assert torch.isfinite(scores_NK[0]).all()
    assert torch.isfinite(scores_NK[1, :3]).all()
    assert (scores_NK[1, 3:] == float("-inf")).all()


def test_an_untrained_marker_adds_nothing_and_a_trained_one_does(tiny: CausalLMParams) -> None:
    model, encoder = _model(tiny)
    assert model.scorer is not None
    model.eval()
    model.scorer.trained_H[model.scorer.indices(["wait"])] = True
    before = _scores(model)
    _move_markers(model, encoder, _LEGAL)
    changed = {name for name, one, two in zip(_LEGAL, before, _scores(model), strict=True) if one != two}
    assert changed == {"wait"}


def test_an_untrained_marker_is_read_by_its_words_alone(tiny: CausalLMParams) -> None:
    model, encoder = _model(tiny)
    assert model.scorer is not None
    model.eval()
    table = model.lm.get_input_embeddings()
    ids = torch.tensor([[encoder.marker_id(Marker("wait")), encoder.marker_id(Marker("send_reply:hello"))]])
    model.scorer.trained_H[model.scorer.indices(["wait"])] = True
    with torch.no_grad():
        before = table(ids)[0]
        table.weight[ids[0]] += 1.0
        after = table(ids)[0]
    torch.testing.assert_close(after[0], before[0] + 1.0)
    torch.testing.assert_close(after[1], before[1])


def test_where_the_procedure_is_unknown_only_markers_that_every_case_may_use_count(tiny: CausalLMParams) -> None:
    model, encoder = _model(tiny)
    assert model.scorer is not None
    model.eval()
    model.scorer.trained_H.fill_(True)
    known, unknown = _scores(model), _scores(model, named=False)
    _move_markers(model, encoder, _LEGAL)
    own = {name for name in _LEGAL if model.scorer.features.procedures_of(name)}
    assert own
    for before, named, expected in ((known, True, set(_LEGAL)), (unknown, False, set(_LEGAL) - own)):
        after = _scores(model, named=named)
        assert {name for name, one, two in zip(_LEGAL, before, after, strict=True) if one != two} == expected


def test_a_procedure_is_known_once_a_head_of_its_own_was_trained(model: PolicyModel) -> None:
    scorer = model.scorer
    assert scorer is not None
    assert not scorer.knows(("track",))
    scorer.trained_H[scorer.indices(["send_reply:hello", "wait"])] = True
    assert not scorer.knows(("track",))
    scorer.trained_H[scorer.indices(["send_reply:found"])] = True
    assert scorer.knows(("track",))
    assert not scorer.knows(("refund",))
    assert not scorer.knows(("track", "refund"))


def test_names_are_dropped_for_whole_batches_as_the_seed_has_it(tiny: CausalLMParams) -> None:
    model, encoder = _model(tiny, unnamed=0.5)
    scorer = model.scorer
    assert scorer is not None
    model.train()

    def draws() -> list[torch.Tensor]:
        torch.manual_seed(11)
        found = []
        for _ in range(40):
            scorer.draw_names()
            found.append(_scores(model).detach())
        return found

    one, two = draws(), draws()
    assert all(map(torch.equal, one, two))
    kinds = {tuple(scores.tolist()) for scores in one}
    assert len(kinds) == 2
    _move_markers(model, encoder, [name for name in _LEGAL if scorer.features.procedures_of(name)])
    unmoved = [torch.equal(before, after) for before, after in zip(one, draws(), strict=True)]
    assert 8 < sum(unmoved) < 32


def test_nothing_is_dropped_where_no_share_is_asked_for(tiny: CausalLMParams) -> None:
    model, _ = _model(tiny)
    assert model.scorer is not None
    model.train()
    first = _scores(model)
    for _ in range(20):
        model.scorer.draw_names()
        assert torch.equal(_scores(model), first)


@pytest.mark.parametrize("sentences", [False, True], ids=["own words", "sentences"])
def test_a_saved_scorer_gives_equal_scores(sentences: bool, tiny: CausalLMParams, tmp_path: Path) -> None:
    heads = len(Contract(PARCEL).heads)
    given = np.random.default_rng(0).normal(size=(heads, 7)).astype(np.float32) if sentences else None
    model, encoder = _model(tiny, sentences=given)
    assert model.scorer is not None
    model.eval()
    model.scorer.trained_H[::2] = True
    model.scorer.save(tmp_path)
    loaded = HeadScorer.load(tmp_path, PARCEL, encoder, width=_WIDTH)
    assert torch.equal(_scores(PolicyModel(model.lm, loaded).eval()), _scores(model))


def test_a_scorer_that_is_missing_damaged_or_foreign_is_refused(tiny: CausalLMParams, tmp_path: Path) -> None:
    model, encoder = _model(tiny)
    assert model.scorer is not None
    with pytest.raises(ModelError, match="train it again"):
        HeadScorer.load(tmp_path, PARCEL, encoder, width=_WIDTH)
    model.scorer.save(tmp_path)
    with pytest.raises(ModelError, match="holds no scorer of this policy"):
        HeadScorer.load(tmp_path, PARCEL, encoder, width=_WIDTH + 1)
    larger = PARCEL.model_copy(update={"queues": ("second line", "third line")})
    with pytest.raises(ModelError, match="holds no scorer of this policy"):
        HeadScorer.load(tmp_path, larger, _model(tiny, larger)[1], width=_WIDTH)
    file = tmp_path / "scorer.safetensors"
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(ModelError, match="holds no scorer of this policy"):
        HeadScorer.load(tmp_path, PARCEL, encoder, width=_WIDTH)


def test_the_gradient_reaches_features_words_types_and_markers(tiny: CausalLMParams) -> None:
    model, _ = _model(tiny)
    scorer = model.scorer
    assert scorer is not None
    model.train()
    scorer.draw_names()
    states = torch.randn(1, _WIDTH, requires_grad=True)
    scores = model.head_scores(states, _choices(scorer, _LEGAL))
    choice_loss(scores, torch.tensor([2]), torch.tensor([1.0]), smoothing=0.1).backward()
    reached = {name for name, p in scorer.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert {"to_output.weight", "types.weight", "of_features.weight", "of_state.weight", "join.weight"} <= reached
    table = model.lm.get_output_embeddings().weight
    assert table.grad is not None
    assert table.grad[scorer._ids_H[scorer.indices(_LEGAL)]].abs().sum(dim=1).min() > 0
    assert table.grad[scorer._words].abs().sum() > 0  # tied: the words are read from the same table
    assert states.grad is not None
    assert torch.isfinite(states.grad).all()


def test_the_choice_loss_is_the_cross_entropy_among_legal_heads() -> None:
    scores = torch.tensor([[1.0, 2.0, float("-inf")], [0.5, -1.0, 3.0]], requires_grad=True)
    targets, weights = torch.tensor([1, 0]), torch.tensor([1.0, 0.5])
    first = np.log(np.exp(1) + np.exp(2)) - 2
    second = np.log(np.exp(0.5) + np.exp(-1) + np.exp(3)) - 0.5
    assert choice_loss(scores, targets, weights).item() == pytest.approx(first + 0.5 * second, rel=1e-5)


def test_smoothing_spreads_over_legal_heads_alone_and_keeps_the_gradient_finite() -> None:
    scores = torch.tensor([[1.0, 2.0, float("-inf")]], requires_grad=True)
    target, weight = torch.tensor([1]), torch.tensor([1.0])
    log_z = np.log(np.exp(1) + np.exp(2))
    loss = choice_loss(scores, target, weight, smoothing=0.2)
    assert loss.item() == pytest.approx(0.8 * (log_z - 2) + 0.2 * ((log_z - 1) + (log_z - 2)) / 2, rel=1e-5)
    loss.backward()
    assert scores.grad is not None
    assert torch.isfinite(scores.grad).all()
    assert scores.grad[0, 2] == 0
    even = torch.zeros(1, 3)
    assert choice_loss(even, target, weight, smoothing=0.3).item() == pytest.approx(np.log(3))
