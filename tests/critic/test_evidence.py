from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from desk_world import world

from selective_autonomy.critic.evidence import CATEGORIES, NAMES, Evidence
from selective_autonomy.errors import ModelError
from selective_autonomy.process.actions import TransferChat


def column(x: np.ndarray, name: str) -> np.ndarray:
    return x[:, NAMES.index(name)]


def test_every_row_is_finite_and_has_a_name_for_each_column() -> None:
    w = world()
    x = w.evidence.featurise(w.fit.befores, w.fit.proposals)
    assert x.shape == (len(w.fit.befores), len(NAMES))
    assert np.isfinite(x).all()
    assert len(set(NAMES)) == len(NAMES)
    assert set(CATEGORIES) <= set(NAMES)


def test_no_rows_in_no_rows_out() -> None:
    assert world().evidence.featurise([], []).shape == (0, len(NAMES))


def test_a_row_depends_on_its_own_pair_alone() -> None:
    w = world()
    together = w.evidence.featurise(w.fit.befores[:30], w.fit.proposals[:30])
    alone = [w.evidence.featurise([b], [p])[0] for b, p in zip(w.fit.befores[:30], w.fit.proposals[:30], strict=True)]
    np.testing.assert_array_equal(together, alone)


def test_the_rows_say_what_the_proposals_say() -> None:
    w = world()
    x = w.evidence.featurise(w.fit.befores, w.fit.proposals)
    np.testing.assert_array_equal(column(x, "p_head"), [p.p_head for p in w.fit.proposals])
    np.testing.assert_array_equal(column(x, "arguments"), [len(p.arguments) for p in w.fit.proposals])
    np.testing.assert_array_equal(column(x, "steps_done"), [r.step.index for r in w.fit.replayed])
    tiers = [w.schema.tier(p.action.type).tier == "critical" for p in w.fit.proposals]
    np.testing.assert_array_equal(column(x, "critical"), tiers)
    assert 0 < column(x, "ngram_agrees").mean() <= 1


def test_a_head_that_train_never_did_has_no_support() -> None:
    w = world()
    proposal = w.fit.proposals[0]
    unseen = proposal.model_copy(update={"action": TransferChat(queue="nowhere")})
    x = w.evidence.featurise([w.fit.befores[0]], [unseen])
    assert column(x, "log_head_count")[0] == 0
    assert column(x, "ngram_p")[0] == 0
    assert column(x, "head")[0] == -1


def test_five_thousand_rows_take_less_than_a_second() -> None:
    w = world()
    befores, proposals = (w.fit.befores * 10)[:5000], (w.fit.proposals * 10)[:5000]
    seconds = []
    for _ in range(3):
        started = time.process_time()
        w.evidence.featurise(befores, proposals)
        seconds.append(time.process_time() - started)
    assert min(seconds) < 1


def test_logs_and_proposals_must_be_equally_many() -> None:
    with pytest.raises(ModelError, match="2 logs and 1 proposals"):
        world().evidence.featurise(world().fit.befores[:2], world().fit.proposals[:1])


def test_evidence_survives_saving(tmp_path: Path) -> None:
    w = world()
    w.evidence.save(tmp_path)
    again = Evidence.load(tmp_path)
    pair = (w.fit.befores[:50], w.fit.proposals[:50])
    np.testing.assert_array_equal(again.featurise(*pair), w.evidence.featurise(*pair))


def test_evidence_of_other_columns_is_refused(tmp_path: Path) -> None:
    world().evidence.save(tmp_path)
    data = json.loads((tmp_path / "evidence.json").read_text())
    (tmp_path / "evidence.json").write_text(json.dumps({**data, "names": data["names"][1:]}))
    with pytest.raises(ModelError, match="columns"):
        Evidence.load(tmp_path)
